"""An FP16 graph on the CPU as a device would store it: every FP16 tensor is rounded where it is computed.

ONNX Runtime has hardly any FP16 kernels for the CPU. It runs FP16 nodes in FP32, with casts around each, and
drops the casts between neighbours: what lies between the first and the last of them is never rounded, and a
number beyond 65504 passes through unharmed. Here the graph is rewritten so that nothing is dropped. Sums inside a
product stay in FP32, as tensor cores keep them. It shows what rounding and range do, not what kernels and fusions
of a device do.
"""

from __future__ import annotations

import onnx_ir as ir

HALF, SINGLE = ir.DataType.FLOAT16, ir.DataType.FLOAT
MOVES = frozenset(
    {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Split", "Slice", "Concat", "Gather"}
)
"""Operators whose results are numbers that were rounded before."""


def round_where_stored(model: ir.Model) -> tuple[ir.Value, ...]:
    """Rewrite an FP16 graph in place, into FP32 nodes with a rounding after every one that computed FP16.

    Returns what those nodes computed, as rounded, in the order of the graph. Values that are only moved are the
    same numbers again and are left out.
    """
    half = [value for node in model.graph for value in node.outputs if value.dtype == HALF]
    for value in list(model.graph.initializers.values()):
        if value.dtype == HALF:
            _widen_constant(model.graph, value)
    rounded = []
    for value in half:
        node = value.producer()
        assert node is not None
        value.dtype = SINGLE
        if node.op_type == "Cast":
            node.attributes["to"] = ir.AttrInt64("to", SINGLE)
        if node.op_type not in MOVES:
            rounded.append(_round(model.graph, node, value))
    return tuple(rounded)


def _widen_constant(graph: ir.Graph, value: ir.Value) -> None:
    """Keep the constant in FP16, where it is half as large, and hand it on as FP32."""
    first = next(iter(graph))
    cast = _cast(value, SINGLE)
    _put_between(value, cast)
    graph.insert_before(first, cast)


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value) -> ir.Value:
    narrow = _cast(value, HALF)
    wide = _cast(narrow.outputs[0], SINGLE)
    _put_between(value, wide, but=narrow)
    graph.insert_after(node, [narrow, wide])
    return wide.outputs[0]


def _put_between(value: ir.Value, node: ir.Node, but: ir.Node | None = None) -> None:
    """Let all users of a value read what `node` makes of it."""
    for user, index in list(value.uses()):
        if user is not node and user is not but:
            user.replace_input_with(index, node.outputs[0])


def _cast(value: ir.Value, to: ir.DataType) -> ir.Node:
    name = f"{value.name}_as_{to.name.lower()}"
    output = ir.Value(name=name, type=ir.TensorType(to), shape=value.shape)
    return ir.Node("", "Cast", [value], [ir.AttrInt64("to", to)], outputs=[output], name=name)
