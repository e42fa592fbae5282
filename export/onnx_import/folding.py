"""From a graph for pictures of any size to one for pictures of one size, with nothing left to compute twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants_ir

ROUNDS = 8
"""Each round lets the shapes that the last one found reach further; the files seen so far need two."""

UNLIMITED = 2**62


def fix_input(model: ir.Model, size_px: tuple[int, int]) -> None:
    """Set the input to (1, 3, height, width) and fold, in place, everything that no longer depends on it."""
    model.graph.inputs[0].shape = ir.Shape((1, 3, *size_px))
    _forget_shapes(model)
    with _quiet_folder():
        for _ in range(ROUNDS):
            result = fold_constants_ir(
                model,
                onnx_shape_inference=True,
                input_size_limit=UNLIMITED,
                output_size_limit=UNLIMITED,
                should_fold=lambda _node: True,
            )
            passes.IdentityEliminationPass()(model)
            passes.RemoveUnusedNodesPass()(model)
            if not result.modified:
                break
    passes.ShapeInferencePass()(model)


def constant(value: ir.Value | None) -> NDArray[np.generic] | None:
    """The array of an initializer or of a Constant node; None for anything that is computed."""
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else np.asarray(tensor.numpy())


def scalar(value: ir.Value | None) -> float | None:
    """The number in a constant of one element."""
    array = constant(value)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def dimensions(value: ir.Value) -> tuple[int, ...] | None:
    """The shape, or None when any part of it is not a number."""
    if value.shape is None or not value.shape.is_static():
        return None
    return tuple(int(step) for step in value.shape.numpy())


def _forget_shapes(model: ir.Model) -> None:
    """Shapes in the file are of the size that it was exported at, or made up by the exporter."""
    for value in (value for node in model.graph for value in node.outputs):
        value.shape = None


@contextmanager
def _quiet_folder() -> Iterator[None]:
    """Keep the folder's remarks on single nodes, which the rules of the result cover, from the user."""
    log = logging.getLogger("onnxscript")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
