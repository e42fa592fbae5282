"""An imported bundle inspects parts in the daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.timeout(90)
def test_the_daemon_judges_with_an_imported_bundle(
    contract: ModuleType,
    export: Callable[..., tuple[int, str]],
    infer: Callable[[], dict[str, Any]],
    picture: Path,
    tmp_path: Path,
) -> None:
    model = contract.anomalib_1x(tmp_path / "model.onnx", "patchcore", size=(64, 80), crop=(12, 8, 56, 48))
    assert export(model, "--metadata", contract.metadata(tmp_path / "metadata.json")) == (0, "")
    score = infer()["score"]
    station = {
        "station": "import",
        "bundle": str(tmp_path / "bundle"),
        "camera": {"backend": "replay", "source": str(picture.parent), "timing": "fast"},
        "decision": {"score": score * 1.001},
        "gate": {"travel_ms": 1500, "pulse_ms": 10},
        "outputs": {
            "backend": "recorder",
            "lines": {"reject": {"start": False, "stop": False, "crash": True, "stall": True}},
        },
        "records": {"directory": str(tmp_path / "records"), "keep_frames": "all"},
        "status_file": str(tmp_path / "status.json"),
    }
    (tmp_path / "station.yaml").write_text(yaml.safe_dump(station))
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "run", "--config", str(tmp_path / "station.yaml")],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "status.json").read_text())["counts"]["verdicts"] == 1
    assert "1 verdicts = 1 passed" in done.stderr
