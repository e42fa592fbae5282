"""A torch network → one ONNX file with static shapes, and proof that it has the form TensorRT needs.

    image (1, 3, height, width) float32 ─▶ image_score (1,) float32, anomaly_map (1, rows, columns) float32

The exporter built on torch.export is used: for these networks it leaves neither shape arithmetic nor idle
casts in the graph, where the TorchScript one leaves hundreds of nodes of both and warns of its own end. What it
does leave, weights that are transposed or sliced in the graph, is folded here, and every node is named after the
module that it came from, such as `/vision/transformer/resblocks.3/attn/Softmax`.
"""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir
import torch
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants_ir

from edge.errors import BundleError
from export.graph_lint import lint
from export.network import Network

OPSET = 18
SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch notes the modules that a node came from, outermost first, and last the operation itself."""

INPUT = "image"
OUTPUTS = ("image_score", "anomaly_map")
LARGEST_FILE_BYTES = 2**31 - 1
"""protobuf's limit for a message, so for an ONNX file without external data."""


def onnx_from_torch(network: Network, *, fp32_softmax: bool = False) -> onnx_ir.Model:
    """Export for one picture of the network's own size.

    Equal networks give equal models with the same versions of torch and onnxscript. Raises `BundleError` when the
    result breaks a rule of `export.graph_lint`, one of whose rules `fp32_softmax` relaxes.
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
    assert program is not None  # only the TorchScript exporter, which is not asked for, returns nothing
    model = program.model
    fold_constants_ir(model, should_fold=lambda _node: True)
    passes.RemoveUnusedNodesPass()(model)
    _name_by_scope(model)
    _forget_origin(model)
    lint(model, network.attentions(), fp32_softmax=fp32_softmax)
    return model


def node_prefix(module: str) -> str:
    """What the names of a module's nodes begin with: `a.b.3.c` gives `/a/b.3/c/`, the network itself `/`."""
    parts: list[str] = []
    for part in module.split(".") if module else ():
        if part.isdigit() and parts:
            parts[-1] += f".{part}"
        else:
            parts.append(part)
    return "".join(f"/{part}" for part in parts) + "/"


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


def _name_by_scope(model: onnx_ir.Model) -> None:
    """Name nodes and what they return after their module and operator, constants after their first user."""
    used: Counter[str] = Counter()
    kept = {id(value) for value in model.graph.outputs}
    prefixes: dict[onnx_ir.Node | None, str] = {None: "/"}
    for node in model.graph:
        prefixes[node] = _prefix_of(node, prefixes)
        node.name = _numbered(prefixes[node] + node.op_type, used)
        for number, value in enumerate(node.outputs):
            if id(value) not in kept:
                value.name = f"{node.name}_output_{number}"
    named: set[int] = set()
    for node in model.graph:
        for number, source in enumerate(node.inputs):
            if source is not None and source.is_initializer() and id(source) not in named:
                source.name = f"{node.name}_input_{number}"
                named.add(id(source))


def _prefix_of(node: onnx_ir.Node, before: Mapping[onnx_ir.Node | None, str]) -> str:
    """That of its module; a node that the exporter's own rewriting put in belongs where its input comes from."""
    if SCOPES in node.metadata_props:
        return node_prefix(ast.literal_eval(node.metadata_props[SCOPES])[-2])
    return before[node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None]


def _numbered(name: str, used: Counter[str]) -> str:
    used[name] += 1
    return name if used[name] == 1 else f"{name}_{used[name] - 1}"


def _forget_origin(model: onnx_ir.Model) -> None:
    """Remove stack traces and source paths, which differ between machines."""
    passes.ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    graph = model.graph
    for value in (*graph.inputs, *_initializers(model), *(v for node in graph for v in node.outputs)):
        value.metadata_props.clear()


def _initializers(model: onnx_ir.Model) -> list[onnx_ir.Value]:
    return list(model.graph.initializers.values())
