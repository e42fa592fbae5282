"""Files built to the contract of anomalib's exporters, and the command that imports them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge.cli import main


@pytest.fixture(scope="session")
def contract() -> ModuleType:
    """The builders of `contract.py`; skips without onnx and onnxscript. torch is not needed."""
    pytest.importorskip("onnxscript", reason="importing needs onnxscript, which is not installed here")
    spec = importlib.util.spec_from_file_location("onnx_contract", Path(__file__).with_name("contract.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def export(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run `adclip export onnx` into tmp_path/bundle: exit code, and what went to stderr on one line."""

    def run(model: Path, *options: object) -> tuple[int, str]:
        code = main(["export", "onnx", str(model), *map(str, options), "--out", str(tmp_path / "bundle")])
        return code, " ".join(capfd.readouterr().err.split())

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture with fine structure, 100 x 90 px."""
    random = np.random.default_rng(4)
    path = tmp_path / "part.png"
    Image.fromarray(random.integers(0, 256, (90, 100, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def infer(tmp_path: Path, picture: Path, capfd: pytest.CaptureFixture[str]) -> Callable[[], dict[str, Any]]:
    """What `adclip infer --json` says about `picture` with tmp_path/bundle."""

    def run() -> dict[str, Any]:
        assert main(["infer", str(tmp_path / "bundle"), str(picture), "--json"]) == 0
        told: dict[str, Any] = json.loads(capfd.readouterr().out)
        return told

    return run
