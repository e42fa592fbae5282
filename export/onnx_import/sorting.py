"""A whole sort of which only the head is read, made a TopK of that head.

Dinomaly averages the largest 1 % of its map; anomalib 2.7 writes that as a sort of all values, and TensorRT's
TopK gives 3840 at most.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.onnx_import.folding import dimensions, scalar


def shorten_sorts(model: ir.Model) -> None:
    """In place, in a folded model; values that are left over keep their order, so nothing else changes."""
    for node in model.graph:
        if node.op_type == "TopK":
            _shorten(model.graph, node)


def _shorten(graph: ir.Graph, node: ir.Node) -> None:
    values, indices = node.outputs[0], node.outputs[1]
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -1
    shape, asked = dimensions(values), scalar(node.inputs[1])
    is_sorted = "sorted" not in node.attributes or node.attributes["sorted"].as_int() == 1
    if shape is None or asked is None or not is_sorted or indices.uses() or values.is_graph_output():
        return
    heads = [_head(user, axis % len(shape), len(shape)) for user in values.consumers()]
    needed = max((head if head is not None else int(asked) for head in heads), default=int(asked))
    if needed >= asked:
        return
    count = ir.Value(name=f"{node.name}_head", const_value=ir.tensor(np.array([needed], np.int64)))
    count.shape, count.type = ir.Shape([1]), ir.TensorType(ir.DataType.INT64)
    graph.register_initializer(count)
    node.replace_input_with(1, count)
    values.shape = indices.shape = ir.Shape(
        [*shape[: axis % len(shape)], needed, *shape[axis % len(shape) + 1 :]]
    )


def _head(user: ir.Node, axis: int, rank: int) -> int | None:
    """How many of the first values a Slice along `axis` reads; None for any other use."""
    if user.op_type != "Slice" or len(user.inputs) < 4:
        return None
    start, end, along = (scalar(user.inputs[index]) for index in (1, 2, 3))
    step = scalar(user.inputs[4]) if len(user.inputs) > 4 else 1
    if start != 0 or end is None or end <= 0 or along is None or int(along) % rank != axis:
        return None
    return int(end) if step is not None and step > 0 else None
