"""The graph with the two outputs that every bundle's graph has, and nothing that does not feed them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from edge.manifest import OutputNames
from export.onnx_import.folding import dimensions

INPUT = "image"
NAMES = OutputNames()


def cut_out(model: ir.Model, score: ir.Value | None, map_value: ir.Value | None) -> tuple[int, int]:
    """Make `score` and `map_value` the outputs, in place; (rows, columns) of the map.

    Without a score it is the largest value of the map, anomalib's own rule; without a map, the map is one cell
    that repeats the score.
    """
    graph = model.graph
    source = map_value if score is None else score
    if source is None:
        raise ValueError("a network has a score or a map")
    _free_names(graph)
    grid = _grid(map_value)
    peak = _float(graph, source)
    if score is None:
        peak = _add(graph, "ReduceMax", [peak], {"keepdims": 0}, ir.Shape([]))
    image_score = _shaped(graph, peak, (1,), NAMES.score)
    cells = image_score if map_value is None else _float(graph, map_value)
    anomaly_map = _shaped(graph, cells, (1, *grid), NAMES.map)
    graph.outputs[:] = [image_score, anomaly_map]
    graph.inputs[0].name = INPUT
    passes.RemoveUnusedNodesPass()(model)
    _forget_origin(model)
    return grid


def _grid(map_value: ir.Value | None) -> tuple[int, int]:
    shape = None if map_value is None else dimensions(map_value)
    return (1, 1) if shape is None else (shape[-2], shape[-1])


def _free_names(graph: ir.Graph) -> None:
    """Values of the file that have the name of an input or output of ours take another."""
    for value in [*graph.initializers.values(), *(v for node in graph for v in node.outputs)]:
        if value.name in (INPUT, NAMES.score, NAMES.map):
            value.name = f"{value.name}_of_the_file"


def _float(graph: ir.Graph, value: ir.Value) -> ir.Value:
    if value.dtype == ir.DataType.FLOAT:
        return value
    return _add(graph, "Cast", [value], {"to": int(ir.DataType.FLOAT)}, value.shape)


def _shaped(graph: ir.Graph, value: ir.Value, shape: tuple[int, ...], name: str) -> ir.Value:
    sizes = ir.Value(
        name=f"{name}_shape", const_value=ir.tensor(np.array(shape, np.int64), name=f"{name}_shape")
    )
    sizes.shape, sizes.type = ir.Shape([len(shape)]), ir.TensorType(ir.DataType.INT64)
    graph.register_initializer(sizes)
    result = _add(graph, "Reshape", [value, sizes], {}, ir.Shape(shape))
    result.name = name
    return result


def _add(
    graph: ir.Graph,
    operator: str,
    inputs: Sequence[ir.Value],
    attributes: dict[str, int],
    shape: ir.Shape | None,
) -> ir.Value:
    """A node at the end; its output is float32 and has the shape."""
    node = ir.node(operator, inputs, attributes)
    node.outputs[0].type, node.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), shape
    graph.append(node)
    return node.outputs[0]


def _forget_origin(model: ir.Model) -> None:
    """Remove stack traces and source paths, which are the exporting machine's."""
    passes.ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    graph = model.graph
    for value in (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)):
        value.metadata_props.clear()
