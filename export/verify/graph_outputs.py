"""The inner values of an ONNX graph: which nodes there are, and what they give for one input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.errors import OpenError
from edge.manifest import Precision, model_file

PASSED_OVER = frozenset({"Cast", "Constant", "Identity"})
"""Operators in which an FP32 graph and its FP16 form differ."""

EXACT = frozenset(
    {"Reshape", "Transpose", "Split", "Slice", "Concat", "Expand", "Gather", "Squeeze", "Unsqueeze"}
)
"""Operators that only move values, and so round nothing."""


@dataclass(frozen=True, slots=True)
class InnerNode:
    """A node of a graph; `output` is its first. A node without a name goes by its output."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, slots=True, eq=False)
class InnerGraph:
    """The nodes of one graph of a bundle in the order of computing, without its weights.

    `shapes` are by the value's name, `declared` are the graph's own outputs. `roundings` counts, for each node,
    the nodes that round on the longest path to it, itself included.
    """

    bundle: Bundle
    precision: Precision
    nodes: tuple[InnerNode, ...]
    shapes: dict[str, tuple[int, ...]]
    declared: frozenset[str]
    roundings: tuple[int, ...]

    def size(self, node: int) -> int:
        """Bytes of a node's output as float32."""
        return 4 * int(np.prod(self.shapes.get(self.nodes[node].output, ()), dtype=np.int64))

    def outputs(self, nodes: Sequence[int], tensor: NDArray[np.float32]) -> list[NDArray[Any]]:
        """The output of each node, from one run on the CPU in which nothing is fused."""
        import onnxruntime

        names = [self.nodes[node].output for node in nodes]
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            self._with_outputs(names), options, providers=["CPUExecutionProvider"]
        )
        found: list[NDArray[Any]] = session.run(names, {self.bundle.manifest.input: tensor})
        return found

    def _with_outputs(self, names: Sequence[str]) -> bytes:
        """The graph with more outputs, by protobuf's rule that messages joined end to end are one message.

        So the weights need not be unpacked. ONNX Runtime infers the type of an output declared by its name.
        """
        from onnx import ModelProto

        more = ModelProto()
        for name in dict.fromkeys(names):
            if name not in self.declared:
                more.graph.output.add().name = name
        return self.bundle.read(model_file(self.precision)) + bytes(more.SerializeToString())


def open_graph(bundle: Bundle, precision: Precision) -> InnerGraph:
    """A bundle's graph. Raises `OpenError` without the `onnx` package."""
    try:
        import onnx
    except ImportError as fault:
        raise OpenError(
            "Looking into a graph needs the onnx package, which is not installed here.",
            do="Install requirements/export.txt.",
        ) from fault
    model = onnx.load_model_from_string(bundle.read(model_file(precision)))
    shapes = _shapes(model)
    if any(node.output[0] not in shapes for node in model.graph.node):
        shapes = _shapes(onnx.shape_inference.infer_shapes(model))
    nodes = tuple(
        InnerNode(node.name or node.output[0], node.op_type, tuple(node.input), node.output[0])
        for node in model.graph.node
    )
    declared = frozenset(value.name for value in model.graph.output)
    return InnerGraph(bundle, precision, nodes, shapes, declared, _roundings(model.graph.node))


def aligned(first: InnerGraph, second: InnerGraph) -> list[tuple[int, int]]:
    """Pairs of nodes that do the same, by operator and shape, in the order of computing.

    Names are not trusted: exporters number them, and a cast more shifts every number after it.
    """
    ours, theirs = _kept(first), _kept(second)
    kinds = [_kind(first, node) for node in ours], [_kind(second, node) for node in theirs]
    blocks = SequenceMatcher(None, kinds[0], kinds[1], autojunk=False).get_matching_blocks()
    return [(ours[block.a + i], theirs[block.b + i]) for block in blocks for i in range(block.size)]


def _kept(graph: InnerGraph) -> list[int]:
    return [number for number, node in enumerate(graph.nodes) if node.operator not in PASSED_OVER]


def _kind(graph: InnerGraph, number: int) -> tuple[str, tuple[int, ...]]:
    node = graph.nodes[number]
    return node.operator, graph.shapes.get(node.output, ())


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    graph = model.graph
    return {
        value.name: tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.output)
    }


def _roundings(nodes: Sequence[Any]) -> tuple[int, ...]:
    depth: dict[str, int] = {}
    for node in nodes:
        before = max((depth.get(name, 0) for name in node.input), default=0)
        here = before + (node.op_type not in EXACT)
        depth.update(dict.fromkeys(node.output, here))
    return tuple(depth[node.output[0]] for node in nodes)
