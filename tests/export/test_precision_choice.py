"""The overflow probe, and that exactly the blocks that need it stay FP32."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript, which is not installed here")

import torch

from edge.manifest import HalfPrecision, Tolerance
from export.anomalyclip import AnomalyClipGraph, AnomalyClipSettings, build_graph
from export.clip_file import ClipWeights
from export.golden import reference
from export.golden_frames import golden_frames
from export.half_precision import half
from export.onnx_from_torch import onnx_from_torch, write_model
from export.overflow_probe import LARGEST_FP16, Peak, highest, probe
from export.precision_choice import block_prefixes, choices_by_error, overflowing_blocks, refused
from export.prompt_checkpoint import PromptCheckpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SETTINGS = AnomalyClipSettings(image_size=36, dpam=3, features=(2, 4))
IMAGE = np.random.default_rng(2).standard_normal((1, 3, 36, 36)).astype(np.float32)


@pytest.fixture(scope="module")
def network(clip: ClipWeights, checkpoint: PromptCheckpoint) -> AnomalyClipGraph:
    return build_graph(clip, checkpoint, SETTINGS)


def swollen(network: AnomalyClipGraph, number: int) -> AnomalyClipGraph:
    """The same but for a block whose MLP goes through values of 10^6, with weights that FP16 can hold."""
    made = copy.deepcopy(network)
    block = made.vision.transformer.blocks()[number - 1]
    with torch.no_grad():
        block.mlp.c_fc.weight.mul_(3e4 / block.mlp.c_fc.weight.abs().max())
        block.mlp.c_proj.weight.mul_(1e-6)
    return made


def graph_of(network: AnomalyClipGraph, path: Path) -> Path:
    write_model(onnx_from_torch(network), path)
    return path


def test_peaks_are_the_largest_magnitudes(network: AnomalyClipGraph, tmp_path: Path) -> None:
    peaks = {peak.node: peak.largest for peak in probe(graph_of(network, tmp_path / "m.onnx"), [IMAGE])}
    seen: dict[str, float] = {}
    block = network.vision.transformer.blocks()[1]
    handle = block.mlp.c_proj.register_forward_hook(
        lambda _module, _inputs, output: seen.update(largest=float(output.abs().max()))
    )
    with torch.no_grad():
        network(torch.from_numpy(IMAGE))
    handle.remove()
    assert peaks["/vision/transformer/resblocks.1/mlp/c_proj/Add"] == pytest.approx(seen["largest"], rel=1e-5)


def test_more_pictures_give_no_smaller_peaks(network: AnomalyClipGraph, tmp_path: Path) -> None:
    path = graph_of(network, tmp_path / "m.onnx")
    one, two = probe(path, [IMAGE]), probe(path, [IMAGE, 3 * IMAGE])
    assert all(b.largest >= a.largest for a, b in zip(one, two, strict=True))
    assert any(b.largest > a.largest for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("number", [1, 3])
def test_exactly_the_block_that_overflows_is_found(
    network: AnomalyClipGraph, number: int, tmp_path: Path
) -> None:
    broken = swollen(network, number)
    peaks = probe(graph_of(broken, tmp_path / "fp32.onnx"), [IMAGE])
    assert overflowing_blocks(network, peaks) == (number,)
    stored = probe(graph_of(half(broken, HalfPrecision()), tmp_path / "fp16.onnx"), [IMAGE], fp16_only=True)
    assert not highest(stored).fits
    kept = half(broken, HalfPrecision(fp32_blocks=(number,)))
    stored = probe(graph_of(kept, tmp_path / "kept.onnx"), [IMAGE], fp16_only=True)
    assert highest(stored).fits


def test_a_weight_beyond_fp16_keeps_its_block_although_nothing_overflows(
    network: AnomalyClipGraph, tmp_path: Path
) -> None:
    made = copy.deepcopy(network)
    block = made.vision.transformer.blocks()[1]
    with torch.no_grad():
        block.ln_2.weight[0] = block.ln_2.bias[0] = 0  # so that the large weights multiply nothing
        block.mlp.c_fc.weight[:, 0] = 1e6
    peaks = probe(graph_of(made, tmp_path / "m.onnx"), [IMAGE])
    assert all(peak.fits for peak in peaks)
    assert overflowing_blocks(made, peaks) == (2,)
    graph_of(half(made, HalfPrecision(fp32_blocks=(2,))), tmp_path / "kept.onnx")


def test_a_sound_network_keeps_no_block(network: AnomalyClipGraph, tmp_path: Path) -> None:
    assert overflowing_blocks(network, probe(graph_of(network, tmp_path / "m.onnx"), [IMAGE])) == ()


def test_choices_grow_and_each_one_is_within_tolerance(network: AnomalyClipGraph) -> None:
    golden = reference(network, golden_frames(), SETTINGS.preprocessing())
    choices = list(
        choices_by_error(
            network, golden, SETTINGS.preprocessing(), Tolerance(score=1e-9, map=1e-9), HalfPrecision()
        )
    )
    assert choices == [HalfPrecision()]  # nothing reaches that
    choices = list(
        choices_by_error(
            network,
            golden,
            SETTINGS.preprocessing(),
            Tolerance(score=1, map=1),
            HalfPrecision(fp32_blocks=(2,)),
        )
    )
    sizes = [len(choice.fp32_blocks) for choice in choices]
    assert sizes == [1, 2, 3, 4]
    assert all(2 in choice.fp32_blocks for choice in choices)


def test_prefixes_are_those_of_the_nodes(network: AnomalyClipGraph, tmp_path: Path) -> None:
    peaks = probe(graph_of(network, tmp_path / "m.onnx"), [IMAGE])
    for prefix in block_prefixes(network):
        assert any(peak.node.startswith(prefix) for peak in peaks)


@pytest.mark.parametrize(
    ("largest", "fits", "headroom"),
    [
        (LARGEST_FP16, True, 1.0),
        (LARGEST_FP16 * 2, False, 0.0),
        (float("nan"), False, 0.0),
        (0.0, True, np.inf),
    ],
)
def test_headroom(largest: float, fits: bool, headroom: float) -> None:
    peak = Peak("node", largest)
    assert (peak.fits, peak.headroom) == (fits, headroom)


def test_what_was_tried_is_told() -> None:
    error = refused([HalfPrecision(), HalfPrecision(fp32_blocks=(3, 7))], "node overflows.")
    assert "all blocks in FP16; blocks 3, 7 in FP32. node overflows." in error.what
    assert "--fp32-only" in error.do
