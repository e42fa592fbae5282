"""The compatibility yardstick: what upstream itself computed, against `adclip export` and `adclip infer`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript, which is not installed here")

import torch

from edge.camera.image_file import read_image
from edge.cli import main
from edge.manifest import HalfPrecision
from edge.preprocess import input_tensor
from export.anomalyclip import AnomalyClipGraph, AnomalyClipSettings, build_graph
from export.clip_file import read_clip_file
from export.half_precision import half
from export.onnx_from_torch import onnx_from_torch, write_model
from export.overflow_probe import highest, run_probed
from export.prompt_checkpoint import read_prompt_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

# Largest absolute differences of the yardstick; the map's counts per summed layer.
TEXT, PATCH = 1e-5, 5e-5
SCORE = {"fp32": 2e-5, "fp16": 3e-3}
MAP_PER_LAYER = {"fp32": 5e-5, "fp16": 3e-3}
INPUT = 0.031

Outputs = dict[str, NDArray[Any]]


@pytest.fixture(params=["p14", "p32"])
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def upstream(case: str, golden_fixtures: Path, golden_outputs: Callable[[str], Outputs]) -> Outputs:
    return golden_outputs(case)


@pytest.fixture
def config(upstream: Outputs) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(str(upstream["config"]))
    return content


@pytest.fixture
def pictures(golden_fixtures: Path, config: dict[str, Any]) -> list[Path]:
    return [golden_fixtures / name for name in config["images"]]


@pytest.fixture
def settings(config: dict[str, Any]) -> AnomalyClipSettings:
    return AnomalyClipSettings(
        image_size=config["image_size"],
        dpam=config["dpam"],
        features=tuple(config["features"]),
        sigma=config["sigma"],
    )


@pytest.fixture
def graph(case: str, golden_fixtures: Path, settings: AnomalyClipSettings) -> AnomalyClipGraph:
    clip = read_clip_file(golden_fixtures / f"{case}.clip.pt")
    return build_graph(clip, read_prompt_checkpoint(golden_fixtures / f"{case}.epoch_15.pth"), settings)


def test_torch_graph(
    upstream: Outputs, graph: AnomalyClipGraph, settings: AnomalyClipSettings, pictures: list[Path]
) -> None:
    tensor = np.concatenate([input_tensor(*read_image(p), settings.preprocessing()) for p in pictures])
    np.testing.assert_allclose(tensor, upstream["input"], rtol=0, atol=INPUT)
    np.testing.assert_allclose(graph.text.numpy(), upstream["text_features"], rtol=0, atol=TEXT)
    with torch.no_grad():
        features = graph.features(torch.from_numpy(tensor)).class_feature
        layer_maps = graph.layer_maps(torch.from_numpy(tensor))
    np.testing.assert_allclose(features.numpy(), upstream["cls_features"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer_maps.numpy(), upstream["patch_prob"], rtol=0, atol=PATCH)


def test_bundle_from_files_on_disk(
    case: str,
    upstream: Outputs,
    config: dict[str, Any],
    golden_fixtures: Path,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    bundle, maps = tmp_path / "bundle", tmp_path / "maps"
    arguments = [
        *("--clip", golden_fixtures / f"{case}.clip.pt"),
        *("--checkpoint", golden_fixtures / f"{case}.epoch_15.pth"),
        *("--image-size", config["image_size"], "--dpam", config["dpam"]),
        *("--features", ",".join(map(str, config["features"])), "--sigma", config["sigma"]),
        *("--out", bundle),
    ]
    assert main(["export", "anomalyclip", *map(str, arguments)]) == 0
    for precision in ("fp32", "fp16"):
        folder = maps / precision
        options = ["--precision", precision, "--json", "--save-maps", str(folder)]
        assert main(["infer", str(bundle), *map(str, pictures), *options]) == 0
        for i, picture in enumerate(pictures):
            with np.load(folder / f"{picture.stem}.npz", allow_pickle=False) as found:
                outputs = dict(found)
            np.testing.assert_allclose(
                outputs["image_score"], upstream["image_score"][i], rtol=0, atol=SCORE[precision]
            )
            np.testing.assert_allclose(
                outputs["anomaly_map"],
                upstream["anomaly_map"][i],
                rtol=0,
                atol=MAP_PER_LAYER[precision] * config["n_maps"],
            )


def test_fp16_as_a_device_stores_it(
    upstream: Outputs,
    graph: AnomalyClipGraph,
    settings: AnomalyClipSettings,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.onnx"
    write_model(onnx_from_torch(half(graph, HalfPrecision())), path)
    tensors = [input_tensor(*read_image(picture), settings.preprocessing()) for picture in pictures]
    run = run_probed(path, tensors, fp16_only=True)
    np.testing.assert_allclose(
        run.outputs["image_score"], upstream["image_score"], rtol=0, atol=SCORE["fp16"]
    )
    layers = upstream["patch_prob"].shape[1]
    np.testing.assert_allclose(
        run.outputs["anomaly_map"],
        upstream["patch_prob"].sum(axis=1),
        rtol=0,
        atol=MAP_PER_LAYER["fp16"] * layers,
    )
    assert highest(run.peaks).headroom > 100
