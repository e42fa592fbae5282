"""Upstream's own model, ViT-L/14@336px at 518 px with three text and six image adapters, with random weights."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxscript", reason="the exporter needs onnxscript, which is not installed here")

from edge.anomaly_map import full_map
from edge.config import OnnxRuntimeConfig
from edge.golden import check_golden
from edge.messages import PixelFormat
from edge.preprocess import input_tensor
from edge.runner import open_runner
from export.aaclip.bundle_from_aaclip import AaClipPaths, export_aaclip
from export.aaclip.limits import Limits
from export.aaclip.settings import AaClipSettings
from export.clip_file import ClipArchitecture

MERGES = 49152 - 256 - 2
VIT_L_14_336 = ClipArchitecture(
    vision_width=1024,
    vision_layers=24,
    patch=14,
    native_grid=24,
    embed_dim=768,
    context_length=77,
    vocab_size=49408,
    text_width=768,
    text_layers=12,
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    os.environ.get("ADCLIP_REAL_SHAPES") != "1",
    reason="takes minutes and up to 11 GB; set ADCLIP_REAL_SHAPES=1 to run it",
)
def test_upstreams_own_shapes_go_from_files_to_an_anomaly_map(
    torch: Any,
    random_entries: Callable[..., dict[str, Any]],
    image_adapter: Callable[..., dict[str, Any]],
    text_adapter: Callable[..., dict[str, Any]],
    save_adapter: Callable[..., Path],
    tmp_path: Path,
) -> None:
    torch.save(random_entries(VIT_L_14_336), tmp_path / "clip.pt")
    image = image_adapter(width=1024, embed_dim=768, adapters=6, levels=4)
    text = text_adapter(width=768, embed_dim=768, adapters=3)
    paths = AaClipPaths(
        clip=tmp_path / "clip.pt",
        image_adapter=save_adapter("image_adapter", image, tmp_path / "image.pth"),
        text_adapter=save_adapter("text_adapter", text, tmp_path / "text.pth"),
        vocabulary=_vocabulary(tmp_path / "merges.txt.gz"),
        calibration_images=None,
    )
    limits = Limits(map=(-20.0, 20.0), score=(0.0, 1.0))
    exported = export_aaclip(paths, AaClipSettings(product="object"), tmp_path / "bundle", limits=limits)

    manifest = exported.bundle.manifest
    assert manifest.backbone == "ViT-L/14@336px"
    assert manifest.map.grid == (37, 37)
    runner = open_runner(exported.bundle, OnnxRuntimeConfig())
    assert check_golden(exported.bundle, runner).passed
    assert exported.written.parity.passed
    frame = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    prediction = runner.infer(input_tensor(frame, PixelFormat.RGB8, manifest.preprocessing))
    anomaly_map = full_map(prediction.grid_map, manifest.map, manifest.preprocessing.size_px)
    assert anomaly_map.shape == (518, 518)
    assert np.isfinite(anomaly_map).all()
    assert np.ptp(anomaly_map) * 40 > manifest.tolerances.fp32.map


def _vocabulary(path: Path) -> Path:
    """As many merges as OpenAI's, all of different pairs of letters; none applies to English words."""
    letters = [chr(number) for number in range(0x100, 0x200)]
    lines = [f"{first} {second}" for first, second in islice(product(letters, letters), MERGES)]
    path.write_bytes(gzip.compress("\n".join(["#version: 0.2", *lines, ""]).encode()))
    return path
