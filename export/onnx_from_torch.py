"""A torch network → one ONNX file with static shapes, and proof that it has the form TensorRT needs.

    image (1, 3, height, width) float32 ─▶ image_score (1,) float32, anomaly_map (1, rows, columns) float32

The exporter built on torch.export is used: for this model it leaves neither shape arithmetic nor idle casts
in the graph, where the TorchScript one leaves hundreds of nodes of both and warns of its own end. What it
does leave, weights that are transposed or sliced in the graph, is folded here.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir
import torch
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants_ir

from edge.errors import BundleError
from export.network import Network

OPSET = 18
INPUT = "image"
OUTPUTS = ("image_score", "anomaly_map")
LARGEST_FILE_BYTES = 2**31 - 1
"""protobuf's limit for a message, so for an ONNX file without external data."""


def onnx_from_torch(network: Network) -> onnx_ir.Model:
    """Export for one picture of the network's own size.

    Equal graphs give equal models with the same versions of torch and onnxscript. Raises `BundleError` when
    the result does not have the form that `check_form` asks for.
    """
    image = torch.zeros(1, 3, *network.size_px)
    with torch.no_grad(), _quiet_exporter():
        program = torch.onnx.export(
            network,
            (image,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            verbose=False,
        )
    if program is None:  # only the TorchScript exporter, which is not asked for, returns nothing
        raise _wrong_form("torch returned no program")
    model = program.model
    fold_constants_ir(model, should_fold=lambda _node: True)
    passes.RemoveUnusedNodesPass()(model)
    _forget_origin(model)
    check_form(model, network.attentions())
    return model


def parameter_bytes(model: onnx_ir.Model) -> int:
    """Bytes of all constants in the model."""
    return sum(value.const_value.nbytes for value in _initializers(model) if value.const_value is not None)


def write_model(model: onnx_ir.Model, path: Path) -> None:
    """Write one file and let ONNX's own checker read it. Raises `BundleError` when it is too large."""
    size = parameter_bytes(model)
    if size >= LARGEST_FILE_BYTES:
        raise BundleError(
            f"The network has {size} bytes of parameters, more than one ONNX file can hold.",
            do="Use a smaller backbone; ViT-L/14 is the largest that is supported.",
        )
    onnx_ir.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)


def check_form(model: onnx_ir.Model, attentions: int) -> None:
    """Raise `BundleError` unless TensorRT will recognise the graph's attentions and LayerNorms.

    LayerNorm is one operator (split up it overflows in FP16), attention is not (TensorRT 10.3 has no such
    layer), and each attention has one scale multiply and has it on q (else it is not fused).
    """
    operators = [node.op_type for node in model.graph]
    if "Attention" in operators or "LayerNormalization" not in operators:
        raise _wrong_form("attention must be written out and LayerNormalization must be one operator")
    found = [node for node in model.graph if _is_attention(node)]
    if len(found) != attentions:
        raise _wrong_form(f"it has {len(found)} attentions in place of {attentions}")
    for softmax in found:
        if not _scaled_on_query_alone(softmax):
            raise _wrong_form(f"the attention at {softmax.name} is not scaled once, on q")


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep torch's remarks about itself (2.13: a deprecated call, torchvision missing) from the user."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        log.setLevel(level)


def _forget_origin(model: onnx_ir.Model) -> None:
    """Remove stack traces and source paths, which differ between machines."""
    passes.ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    graph = model.graph
    for value in (*graph.inputs, *_initializers(model), *(v for node in graph for v in node.outputs)):
        value.metadata_props.clear()


def _initializers(model: onnx_ir.Model) -> list[onnx_ir.Value]:
    return list(model.graph.initializers.values())


def _is_attention(node: onnx_ir.Node) -> bool:
    """A softmax over the product of two computed tensors; the text similarity has a constant on its right."""
    if node.op_type != "Softmax":
        return False
    scores = _producer(node, 0)
    return scores is not None and scores.op_type == "MatMul" and _producer(scores, 1) is not None


def _scaled_on_query_alone(softmax: onnx_ir.Node) -> bool:
    scores = _producer(softmax, 0)
    if scores is None:
        return False
    query, key = _producer(scores, 0), _producer(scores, 1)
    if query is None or query.op_type != "Mul":
        return False
    before = _producer(query, 0)
    return (before is None or before.op_type != "Mul") and not _scaled(key)


def _scaled(node: onnx_ir.Node | None) -> bool:
    """Whether a key, seen through its transposition, was multiplied."""
    if node is not None and node.op_type == "Transpose":
        node = _producer(node, 0)
    return node is not None and node.op_type in {"Mul", "Div"}


def _producer(node: onnx_ir.Node, index: int) -> onnx_ir.Node | None:
    """The node that computes an input; None for a constant or an input of the graph."""
    value = node.inputs[index]
    return None if value is None else value.producer()


def _wrong_form(how: str) -> BundleError:
    return BundleError(
        f"The exported graph does not have the form that TensorRT needs: {how}.",
        do="Export with the torch and onnxscript that requirements/export.txt pins.",
    )
