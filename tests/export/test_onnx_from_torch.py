"""The exported graph: its form, its interface, its bytes, and the form check itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript, which is not installed here")

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import torch

from edge.errors import BundleError
from edge.manifest import MODEL_FP32
from export.anomalyclip import AnomalyClipGraph, AnomalyClipSettings, build_graph
from export.clip_file import ClipWeights
from export.onnx_from_torch import (
    OPSET,
    node_prefix,
    onnx_from_torch,
    parameter_bytes,
    write_model,
)
from export.prompt_checkpoint import PromptCheckpoint

# The first export of a process takes several seconds for torch to get going.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def graph(clip: ClipWeights, checkpoint: PromptCheckpoint) -> AnomalyClipGraph:
    return build_graph(clip, checkpoint, AnomalyClipSettings(image_size=36, dpam=3, features=(2, 4)))


@pytest.fixture(scope="module")
def path(graph: AnomalyClipGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / MODEL_FP32
    write_model(onnx_from_torch(graph), path)
    return path


def shape(value: onnx.ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def test_interface_is_static(path: Path) -> None:
    model = onnx.load(path)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert [(v.name, shape(v)) for v in model.graph.input] == [("image", [1, 3, 36, 36])]
    assert [(v.name, shape(v)) for v in model.graph.output] == [
        ("image_score", [1]),
        ("anomaly_map", [1, 4, 4]),
    ]
    values = [*model.graph.input, *model.graph.output]
    assert {v.type.tensor_type.elem_type for v in values} == {onnx.TensorProto.FLOAT}


def test_graph_is_free_of_idle_work(path: Path) -> None:
    operators = Counter(node.op_type for node in onnx.load(path).graph.node)
    # ln_pre, two norms in each of 4 blocks, ln_post for each of 2 maps
    assert operators["LayerNormalization"] == 1 + 2 * 4 + 2
    # 4 blocks, 2 of them dual, then the score and 2 maps
    assert operators["Softmax"] == 4 + 2 + 3
    assert not operators.keys() & {"Attention", "Cast", "Shape", "Constant", "Identity", "Expand", "Resize"}


def test_weights_are_stored_ready_for_use(path: Path) -> None:
    model = onnx.load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    idle = [node.op_type for node in model.graph.node if set(node.input) <= constants]
    assert idle == []


def test_equal_graphs_give_equal_files_without_traces_of_the_machine(
    clip: ClipWeights, checkpoint: PromptCheckpoint, path: Path, tmp_path: Path
) -> None:
    settings = AnomalyClipSettings(image_size=36, dpam=3, features=(4, 2, 8))
    write_model(onnx_from_torch(build_graph(clip, checkpoint, settings)), tmp_path / MODEL_FP32)
    content = path.read_bytes()
    assert (tmp_path / MODEL_FP32).read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == [MODEL_FP32]  # no external data
    assert b".py" not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_parameter_bytes_are_those_of_the_vision_tower(graph: AnomalyClipGraph, path: Path) -> None:
    tower = sum(4 * parameter.numel() for parameter in graph.vision.parameters())
    stored = parameter_bytes(onnx_ir.load(path))
    assert tower <= stored <= 1.02 * tower
    assert stored < path.stat().st_size


@pytest.mark.parametrize(("dpam", "features", "legacy"), [(5, (1, 2, 3, 4), False), (4, (1, 2, 4), True)])
def test_onnx_runtime_computes_what_torch_computes(
    dpam: int,
    features: tuple[int, ...],
    legacy: bool,
    clip: ClipWeights,
    checkpoint: PromptCheckpoint,
    tmp_path: Path,
) -> None:
    settings = AnomalyClipSettings(image_size=36, dpam=dpam, features=features, legacy_features=legacy)
    graph = build_graph(clip, checkpoint, settings)
    write_model(onnx_from_torch(graph), tmp_path / MODEL_FP32)
    session = onnxruntime.InferenceSession(str(tmp_path / MODEL_FP32), providers=["CPUExecutionProvider"])
    image = torch.randn(1, 3, 36, 36)
    for ours, theirs in zip(session.run(None, {"image": image.numpy()}), graph(image), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-5)


def test_nodes_are_named_after_their_module(path: Path) -> None:
    names = [node.name for node in onnx.load(path).graph.node]
    assert len(set(names)) == len(names)
    assert "/vision/transformer/resblocks.0/attn/Softmax" in names
    assert "/vision/transformer/resblocks.3/mlp/c_fc/MatMul" in names
    assert "/vision/ln_post/LayerNormalization" in names
    # what the exporter makes of torch's chunk has no module noted
    assert [name for name in names if name.endswith("/Split")] == [
        f"/vision/transformer/resblocks.{block}/attn/Split" for block in range(4)
    ]


def test_work_that_feeds_nothing_is_not_in_the_graph(path: Path) -> None:
    graph = onnx.load(path).graph
    shapes = {value.name: shape(value) for value in graph.value_info}
    rows = {
        node.name.removeprefix("/vision/transformer/"): shapes[node.output[0]][1]
        for node in graph.node
        if node.op_type == "MatMul" and ("c_fc" in node.name or "out_proj" in node.name)
    }
    # 17 rows: the class token and 16 patches; block 4's original path is wanted for the class token alone
    assert [rows[f"resblocks.{block}/mlp/c_fc/MatMul"] for block in range(4)] == [17, 17, 17, 1]
    of_last = [count for name, count in rows.items() if name.startswith("resblocks.3/attn/out_proj")]
    assert sorted(of_last) == [1, 17]


def test_the_new_path_ends_at_the_last_block_that_is_used(
    clip: ClipWeights, checkpoint: PromptCheckpoint
) -> None:
    settings = AnomalyClipSettings(image_size=36, dpam=4, features=(2,))
    model = onnx_from_torch(build_graph(clip, checkpoint, settings))
    attentions = Counter(
        node.name.split("/")[3] for node in model.graph if node.name and "attn/Softmax" in node.name
    )
    assert attentions == {"resblocks.0": 1, "resblocks.1": 2, "resblocks.2": 1, "resblocks.3": 1}


@pytest.mark.parametrize(
    ("module", "prefix"),
    [
        ("", "/"),
        ("vision", "/vision/"),
        ("vision.transformer.resblocks.3.attn", "/vision/transformer/resblocks.3/attn/"),
    ],
)
def test_prefix_of_a_module(module: str, prefix: str) -> None:
    assert node_prefix(module) == prefix


def test_size_limit_of_one_file(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = onnx_ir.load(path)
    monkeypatch.setattr("export.onnx_from_torch.LARGEST_FILE_BYTES", parameter_bytes(model))
    with pytest.raises(BundleError, match="more than one ONNX file can hold"):
        write_model(model, tmp_path / MODEL_FP32)
    assert list(tmp_path.iterdir()) == []
