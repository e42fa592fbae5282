"""Bundles with and without an FP16 graph, and one whose FP16 graph needs help."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript, which is not installed here")

import torch

from edge.config import OnnxRuntimeConfig
from edge.errors import BundleError
from edge.golden import check_golden
from edge.manifest import MODEL_FP16, HalfPrecision
from edge.runner import open_runner
from export import bundle_from_anomalyclip
from export.anomalyclip import AnomalyClipSettings
from export.bundle_from_anomalyclip import export_anomalyclip
from export.bundle_from_network import Wish

if TYPE_CHECKING:
    from export.bundle_from_anomalyclip import Exported

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SETTINGS = AnomalyClipSettings(image_size=36, dpam=3, features=(2, 4), sigma=2.0)


def test_both_graphs_decide_alike(exported: Exported) -> None:
    bundle = exported.bundle
    assert bundle.manifest.precisions == ("fp32", "fp16")
    assert bundle.manifest.fp16 == HalfPrecision()
    for precision in bundle.manifest.precisions:
        runner = open_runner(bundle, OnnxRuntimeConfig(threads=1, precision=precision))
        result = check_golden(bundle, runner)
        assert result.passed
        assert result.score_difference > 0
        runner.close()


def test_the_fp16_graph_is_half_the_size(exported: Exported) -> None:
    sizes = {name: (exported.bundle.folder / name).stat().st_size for name in exported.bundle.manifest.files}
    assert 0.4 < sizes[MODEL_FP16] / sizes["model.fp32.onnx"] < 0.65


def test_fp32_only(model_files, tmp_path: Path) -> None:
    made = export_anomalyclip(
        model_files.clip, model_files.checkpoint, SETTINGS, tmp_path / "b", wish=Wish(fp16=False)
    )
    assert made.bundle.manifest.precisions == ("fp32",)
    assert not (tmp_path / "b" / MODEL_FP16).exists()
    assert made.written.stored is None


def test_a_block_that_overflows_is_kept_in_fp32(
    random_entries, architecture, random_prompts, tmp_path: Path
) -> None:
    entries = {name: tensor.float() for name, tensor in random_entries(architecture).items()}
    block = "visual.transformer.resblocks.2.mlp"
    entries[f"{block}.c_fc.weight"] *= 0
    entries[f"{block}.c_fc.bias"] += 3e6
    entries[f"{block}.c_proj.weight"] /= 3e6
    torch.save(entries, tmp_path / "clip.pt")
    torch.save({"prompt_learner": random_prompts(entries)}, tmp_path / "epoch_1.pth")
    steps: list[str] = []
    made = export_anomalyclip(
        tmp_path / "clip.pt", tmp_path / "epoch_1.pth", SETTINGS, tmp_path / "b", report=steps.append
    )
    assert made.bundle.manifest.fp16 == HalfPrecision(fp32_blocks=(3,))
    assert made.written.stored is not None
    assert made.written.stored.peak.headroom > 1
    assert "Exporting the FP16 graph, with block 3 in FP32" in steps


def test_without_an_fp16_graph_that_fits_there_is_no_bundle(
    model_files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_from_anomalyclip, "FP16_SCORE", 1e-12)
    with pytest.raises(BundleError, match="No FP16 graph decides as the FP32 one does"):
        export_anomalyclip(model_files.clip, model_files.checkpoint, SETTINGS, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_the_resampler_is_chosen_at_export(model_files, tmp_path: Path) -> None:
    settings = replace(SETTINGS, resample="fast")
    made = export_anomalyclip(
        model_files.clip, model_files.checkpoint, settings, tmp_path / "b", wish=Wish(fp16=False)
    )
    assert made.bundle.manifest.preprocessing.interpolation == "fast_bicubic_antialias"
