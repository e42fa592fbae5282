"""Genuine exports of the anomalib library, made by `genuine.py`: our score against anomalib's own engine.

Weights are random and the pictures synthetic; the code that fitted, normalised and exported is anomalib's.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edge.cli import main

ROOT = os.environ.get("ADCLIP_ANOMALIB", "")
EXPORTS = sorted(Path(ROOT).glob("*/*/expected.json")) if ROOT else []
WHY = "set ADCLIP_ANOMALIB to the folder that tests/export/onnx_import/genuine.py has filled"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not EXPORTS, reason=WHY),
    pytest.mark.filterwarnings("default"),
]

SAME_PIXELS = 1e-4
"""On pictures of the network's own size, which nobody resamples."""

RESAMPLED = 0.1
"""On other pictures. Pillow rounds to 8 bits after the resize, torchvision does not, and the limits of an
untrained network magnify that: Dinomaly's scores here span 0.02 on values of 1."""


def name(expected: Path) -> str:
    return f"{expected.parent.parent.name}/{expected.parent.name}"


@pytest.mark.parametrize("form", ["as exported", "fixed"])
@pytest.mark.parametrize("expected", EXPORTS, ids=name)
def test_our_score_is_anomalibs(
    expected: Path, form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = expected.parent if form == "as exported" else expected.parent / "fixed"
    metadata = expected.parent / "metadata.json"
    given = ["--metadata", str(metadata)] if metadata.is_file() else []
    model = folder / "weights" / "onnx" / "model.onnx"
    code = main(["export", "onnx", str(model), *given, "--out", str(tmp_path / "bundle")])
    told = capfd.readouterr()
    if name(expected) == "2.7.0/Dfm" and form == "as exported":
        assert code == 2
        assert "2 pictures at a time" in told.err
        return
    assert code == 0, told.err
    wanted = json.loads(expected.read_text())
    figures = {}
    for kind, pictures, allowed in (
        ("ready", expected.parent / "ready", SAME_PIXELS),
        ("pictures", expected.parent.parent / "pictures", RESAMPLED),
    ):
        assert main(["infer", str(tmp_path / "bundle"), str(pictures), "--json"]) == 0
        figures[kind] = largest_difference(told_reference(capfd.readouterr().out), wanted[kind], allowed)
    print(f"{name(expected)}, {form}: {figures}")  # noqa: T201 - the figures of the run, shown by -rA


def told_reference(out: str) -> dict[str, dict[str, Any]]:
    """The reference judgement of each picture by its name."""
    return {Path(line["path"]).name: line["reference"] for line in map(json.loads, out.splitlines())}


def largest_difference(
    found: dict[str, dict[str, Any]], wanted: dict[str, dict[str, Any]], allowed: float
) -> float:
    """Of the normalised scores; labels must be equal wherever that difference cannot turn them."""
    assert set(found) == set(wanted)
    errors = {picture: abs(found[picture]["score"] - wanted[picture]["score"]) for picture in wanted}
    assert max(errors.values()) <= allowed, errors
    clear = [picture for picture in wanted if abs(wanted[picture]["score"] - 0.5) > allowed]
    assert all(found[picture]["bad"] == wanted[picture]["bad"] for picture in clear)
    return max(errors.values())


@pytest.mark.parametrize("variant", ["unvalidated", "no_normalization", "no_pre_processor"])
def test_forms_that_are_refused_with_advice(
    variant: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models = sorted(Path(ROOT).glob(f"*/Padim/{variant}/weights/onnx/model.onnx"))
    assert models
    advice = {"no_pre_processor": "--imagenet"}.get(variant, "--without-limits")
    for model in models:
        arguments = ["export", "onnx", str(model), "--force", "--out", str(tmp_path / "bundle")]
        assert main(arguments) == 2
        assert advice in capfd.readouterr().err
        assert main([*arguments, advice]) == 0
