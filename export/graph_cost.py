"""What a graph costs as it is built: multiplications per picture and bytes of constants.

Counted from the ONNX graph itself, so that work which the exporter leaves out is not in it. One multiply-add
is two FLOP. Additions, norms, softmax, activations and copies are not counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir
from onnx_ir.passes import common as passes

from edge.errors import BundleError

FLOP_PER_MULTIPLY_ADD = 2

NOT_COUNTED = frozenset(
    {"Attention", "DeformConv", "Einsum", "GRU", "GridSample", "If", "LSTM", "Loop", "QLinearConv"}
    | {"QLinearMatMul", "ConvInteger", "MatMulInteger", "RNN", "Scan"}
)
"""Operators that multiply and are not taken apart here; a graph that has one is dearer than the figure."""


@dataclass(frozen=True, slots=True)
class GraphCost:
    """The cost of one run.

    `multiply_adds` are those of `matrix_products` (MatMul and Gemm: projections and attention) and of
    `convolutions` together. `bytes_by_dtype` are the bytes of all constants by their element type, as ONNX
    names it, most bytes first. `not_counted` names operators that multiply and are in none of the figures.
    """

    matrix_products: int
    convolutions: int
    bytes_by_dtype: Mapping[str, int]
    not_counted: tuple[str, ...]

    @property
    def multiply_adds(self) -> int:
        """Of one run of the graph."""
        return self.matrix_products + self.convolutions

    @property
    def gflop(self) -> float:
        """10^9 floating-point operations of one run, two per multiply-add."""
        return FLOP_PER_MULTIPLY_ADD * self.multiply_adds / 1e9

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all constants."""
        return sum(self.bytes_by_dtype.values())


def graph_cost(model: onnx_ir.Model) -> GraphCost:
    """Count a graph with static shapes; the model is not altered.

    Shapes that the model does not carry are inferred. Raises `BundleError` when the shapes of a product cannot
    be told.
    """
    shaped = _with_shapes(model)
    spent = dict.fromkeys(_MULTIPLY_ADDS, 0)
    for node in shaped.graph:
        if _is_counted(node):
            spent[node.op_type] += _MULTIPLY_ADDS[node.op_type](node)
    return GraphCost(
        matrix_products=spent["MatMul"] + spent["Gemm"],
        convolutions=spent["Conv"] + spent["ConvTranspose"],
        bytes_by_dtype=_bytes_by_dtype(model),
        not_counted=tuple(sorted({_label(node) for node in shaped.graph if _is_left_out(node)})),
    )


def _with_shapes(model: onnx_ir.Model) -> onnx_ir.Model:
    """The model itself when every product in it has its shapes, else a copy with shapes inferred."""
    if all(_has_shapes(node) for node in model.graph if _is_counted(node)):
        return model
    inferred = model.clone()
    passes.ShapeInferencePass(strict_mode=False)(inferred)
    return inferred


def _is_counted(node: onnx_ir.Node) -> bool:
    return node.domain in {"", "ai.onnx"} and node.op_type in _MULTIPLY_ADDS


def _is_left_out(node: onnx_ir.Node) -> bool:
    """An operator of `NOT_COUNTED`, or one of another domain, of which nothing is known here."""
    return node.domain not in {"", "ai.onnx"} or node.op_type in NOT_COUNTED


def _label(node: onnx_ir.Node) -> str:
    return node.op_type if node.domain in {"", "ai.onnx"} else f"{node.domain}.{node.op_type}"


def _has_shapes(node: onnx_ir.Node) -> bool:
    values = (*node.inputs[:2], node.outputs[0])
    return all(value is not None and _static(value) is not None for value in values)


def _matmul(node: onnx_ir.Node) -> int:
    """(..., m, k) x (..., k, n): one multiply-add per output element and k; a vector has no m or no n."""
    return math.prod(_shape(node, node.outputs[0])) * _shape(node, node.inputs[0])[-1]


def _gemm(node: onnx_ir.Node) -> int:
    """(m, k) x (k, n), the first perhaps stored transposed."""
    transposed = node.attributes.get_int("transA", 0)
    return math.prod(_shape(node, node.outputs[0])) * _shape(node, node.inputs[0])[0 if transposed else 1]


def _conv(node: onnx_ir.Node) -> int:
    """Weight (outputs, inputs / groups, kernel ...): each output element is one product with one filter."""
    return math.prod(_shape(node, node.outputs[0])) * math.prod(_shape(node, node.inputs[1])[1:])


def _conv_transpose(node: onnx_ir.Node) -> int:
    """Weight (inputs, outputs / groups, kernel ...): each input element is spread over one filter."""
    return math.prod(_shape(node, node.inputs[0])) * math.prod(_shape(node, node.inputs[1])[1:])


_MULTIPLY_ADDS: Mapping[str, Callable[[onnx_ir.Node], int]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
}


def _shape(node: onnx_ir.Node, value: onnx_ir.Value | None) -> Sequence[int]:
    shape = None if value is None else _static(value)
    if shape is None:
        raise BundleError(
            f"The cost of {node.op_type} {node.name} cannot be counted: its shapes are not static.",
            do="Export the network for one fixed input size.",
        )
    return shape


def _static(value: onnx_ir.Value) -> tuple[int, ...] | None:
    """The shape when all of it is known."""
    if value.shape is None:
        return None
    sizes = tuple(size for size in value.shape if isinstance(size, int))
    return sizes if len(sizes) == len(value.shape) else None


def _bytes_by_dtype(model: onnx_ir.Model) -> Mapping[str, int]:
    """Initializers and the tensors of Constant nodes, those of subgraphs included."""
    stored: Counter[str] = Counter()
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                stored[value.const_value.dtype.name] += value.const_value.nbytes
        for node in graph:
            tensor = node.attributes.get("value") if node.op_type == "Constant" else None
            if tensor is not None:
                stored[tensor.as_tensor().dtype.name] += tensor.as_tensor().nbytes
    return dict(stored.most_common())
