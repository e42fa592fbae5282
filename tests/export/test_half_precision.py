"""The FP16 network: what is rounded, what is not, and that the FP32 network stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript, which is not installed here")

import onnx
import torch
from onnx import TensorProto

from edge.manifest import HalfPrecision
from export.anomalyclip import AnomalyClipGraph, AnomalyClipSettings, build_graph
from export.clip_file import ClipWeights
from export.half_precision import half
from export.onnx_from_torch import onnx_from_torch, write_model
from export.prompt_checkpoint import PromptCheckpoint

HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT


@pytest.fixture(scope="module")
def network(clip: ClipWeights, checkpoint: PromptCheckpoint) -> AnomalyClipGraph:
    return build_graph(clip, checkpoint, AnomalyClipSettings(image_size=36, dpam=3, features=(2, 4)))


def weights(network: AnomalyClipGraph) -> dict[str, torch.dtype]:
    return {name: parameter.dtype for name, parameter in network.named_parameters()}


def test_products_are_half_and_everything_else_is_single(network: AnomalyClipGraph) -> None:
    for name, dtype in weights(half(network, HalfPrecision())).items():
        multiplies = any(part in name for part in ("in_proj", "out_proj", "c_fc", "c_proj"))
        assert dtype is (torch.float16 if multiplies or name.endswith("vision.proj") else torch.float32), name


def test_the_given_network_is_left_as_it_is(network: AnomalyClipGraph) -> None:
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    half(network, HalfPrecision())
    for name, parameter in network.named_parameters():
        assert parameter.dtype is torch.float32
        assert torch.equal(parameter, before[name])


def test_a_block_can_be_kept(network: AnomalyClipGraph) -> None:
    found = weights(half(network, HalfPrecision(fp32_blocks=(2,))))
    for name, dtype in found.items():
        if ".resblocks.1." in name:
            assert dtype is torch.float32
        if ".resblocks.2.attn.in_proj_weight" in name:
            assert dtype is torch.float16


def test_an_unknown_block_is_refused(network: AnomalyClipGraph) -> None:
    with pytest.raises(ValueError, match="of 4"):
        half(network, HalfPrecision(fp32_blocks=(5,)))


def test_outputs_stay_close_and_single(network: AnomalyClipGraph) -> None:
    image = torch.randn(1, 3, 36, 36, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for ours, theirs in zip(half(network, HalfPrecision())(image), network(image), strict=True):
            assert ours.dtype is torch.float32
            assert 0 < (ours - theirs).abs().max() < 3e-3


def exported(network: AnomalyClipGraph, choice: HalfPrecision, folder: Path) -> onnx.GraphProto:
    path = folder / "model.onnx"
    write_model(onnx_from_torch(half(network, choice), fp32_softmax=choice.fp32_softmax), path)
    return onnx.shape_inference.infer_shapes(onnx.load(path)).graph


def dtypes(graph: onnx.GraphProto) -> dict[str, int]:
    values = (*graph.value_info, *graph.output, *graph.input)
    stored = {value.name: value.type.tensor_type.elem_type for value in values}
    return stored | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_graph_is_strongly_typed(network: AnomalyClipGraph, tmp_path: Path) -> None:
    graph = exported(network, HalfPrecision(), tmp_path)
    kinds = dtypes(graph)
    assert {kinds[value.name] for value in (*graph.input, *graph.output)} == {SINGLE}
    for node in graph.node:
        inside = "/transformer/" in node.name
        if node.op_type in {"MatMul", "Gemm"} and inside:
            assert {kinds[name] for name in node.input} == {HALF}, node.name
        if node.op_type == "Softmax":
            assert kinds[node.output[0]] == (HALF if inside else SINGLE), node.name
        if node.op_type == "LayerNormalization":
            assert {kinds[name] for name in node.input} == {SINGLE}, node.name


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_softmax_can_be_single(network: AnomalyClipGraph, tmp_path: Path) -> None:
    graph = exported(network, HalfPrecision(fp32_softmax=True), tmp_path)
    kinds = dtypes(graph)
    softmaxes = [node for node in graph.node if node.op_type == "Softmax"]
    assert {kinds[node.input[0]] for node in softmaxes} == {SINGLE}
