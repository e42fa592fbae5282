"""The one picture that a network takes, and what it does to the pixels before it looks at them.

    input ─▶ [Resize] ─▶ [Slice, Slice: a crop] ─▶ [Sub mean, Div std] ─▶ the network

anomalib resizes in the graph, and there without antialiasing, which its own training did not do: verdicts flip.
So the resize is taken out and done outside, antialiased. Crop and normalisation stay in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edge.errors import ModelFileError
from edge.messages import Box
from export.onnx_import.folding import constant, dimensions
from export.onnx_import.source import ANOMALIB_EXPORT

SAME_PIXELS = frozenset({"Identity", "Cast", "Reshape"})
AFFINE = frozenset({"Sub", "Div", "Mul", "Add"})
SHAPE_ALONE = frozenset({"Shape", "Size"})


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """y = scale · x + shift, three numbers each (or fewer, which broadcast), as (3,) float64."""

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]

    def then(self, operator: str, operand: NDArray[np.float64]) -> Affine:
        """Followed by one more operator of `AFFINE`."""
        if operator in ("Sub", "Add"):
            return Affine(self.scale, self.shift + (operand if operator == "Add" else -operand))
        factor = operand if operator == "Mul" else 1 / operand
        return Affine(self.scale * factor, self.shift * factor)

    def normalises_by(self, mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
        """Whether this is (x - mean) / std, to three digits."""
        if (self.scale == 0).any():
            return False
        found = np.stack([-self.shift / self.scale, 1 / self.scale])
        return bool(np.allclose(found, [mean, std], atol=1e-3))

    @property
    def is_identity(self) -> bool:
        """Whether nothing is done to the pixels."""
        return bool((self.scale == 1).all() and (self.shift == 0).all())


IDENTITY = Affine(np.ones(3), np.zeros(3))


@dataclass(frozen=True, slots=True, eq=False)
class PixelSteps:
    """What happens to the pixels of an input of fixed size. `crop` is in pixels of it, None without one."""

    crop: Box | None
    affine: Affine


def picture_input(model: ir.Model) -> ir.Value:
    """The picture's input. Raises `ModelFileError` unless it is one float32 (1 or any, 3, height, width)."""
    if len(model.graph.inputs) != 1:
        names = ", ".join(str(value.name) for value in model.graph.inputs)
        raise ModelFileError(
            f"The network takes {len(model.graph.inputs)} inputs ({names}); one picture is all there is.",
            do="Export a network with one input.",
        )
    value = model.graph.inputs[0]
    shape = [] if value.shape is None else [step if isinstance(step, int) else None for step in value.shape]
    if len(shape) != 4 or shape[1] not in (3, None) or value.dtype != ir.DataType.FLOAT:
        raise ModelFileError(
            f"The input {value.name} is {value.dtype} {value.shape}; float32 (1, 3, height, width) is needed.",
            do="Export the network for RGB pictures, channels first, in float32.",
        )
    if shape[0] not in (1, None):
        raise ModelFileError(
            f"The network takes {shape[0]} pictures at a time, and a line has one."
            + (" anomalib 2.7 writes DFM so by default." if shape[0] == 2 else ""),
            do=f"Export it again for one picture: {ANOMALIB_EXPORT}.",
        )
    return value


def own_resize(value: ir.Value) -> ir.Node | None:
    """The network's own resize of the whole picture, None when it has none."""
    node = _next_step(value)
    while node is not None and node.op_type in SAME_PIXELS | AFFINE:
        node = _next_step(node.outputs[0])
    return node if node is not None and node.op_type == "Resize" else None


def remove_resize(resize: ir.Node) -> None:
    """Let what follows the resize see what came into it; the caller gives the input the size that came out."""
    pixels = resize.inputs[0]
    while pixels is not None:
        producer = pixels.producer()
        if producer is None or producer.op_type not in SAME_PIXELS:
            break
        pixels = producer.inputs[0]
    if pixels is None:
        raise ModelFileError("The network's resize has no input.", do="Export the network again.")
    ir.convenience.replace_all_uses_with(resize.outputs[0], pixels, replace_graph_outputs=True)


def pixel_steps(model: ir.Model) -> PixelSteps:
    """Crop and normalisation of a folded graph, as far as the pixels stay pixels."""
    affine, box = IDENTITY, None
    value = model.graph.inputs[0]
    node = _next_step(value)
    while node is not None:
        if node.op_type == "Slice":
            cut = _cut(node)
            if cut is None:
                break
            box = _within(box, cut)
        elif node.op_type in AFFINE:
            operand = _per_channel(node)
            if operand is None:
                break
            affine = affine.then(node.op_type, operand)
        elif node.op_type not in SAME_PIXELS or dimensions(node.outputs[0]) != dimensions(value):
            break
        value = node.outputs[0]
        node = _next_step(value)
    return PixelSteps(box, affine)


def _next_step(value: ir.Value) -> ir.Node | None:
    """The node that takes the pixels on; None when there are several that do different things to them.

    EfficientAd normalises the same picture once for each of its three networks: that counts as one.
    """
    users = [
        node for node in value.consumers() if node.op_type not in SHAPE_ALONE and node.inputs[0] is value
    ]
    if not users or len(users) != len([n for n in value.consumers() if n.op_type not in SHAPE_ALONE]):
        return None
    first = users[0]
    return first if all(_equal_steps(first, other) for other in users[1:]) else None


def _equal_steps(one: ir.Node, other: ir.Node) -> bool:
    if one.op_type != other.op_type or one.op_type not in AFFINE:
        return False
    operands = constant(one.inputs[1]), constant(other.inputs[1])
    return operands[0] is not None and operands[1] is not None and np.array_equal(operands[0], operands[1])


def _per_channel(node: ir.Node) -> NDArray[np.float64] | None:
    """The constant of an affine node as (3,), None when it is not one value for each channel."""
    array = constant(node.inputs[1])
    if array is None or array.shape not in {(), (1,), (3, 1, 1), (1, 3, 1, 1), (1, 1, 1), (1, 1, 1, 1)}:
        return None
    if node.op_type == "Div" and (array == 0).any():
        return None
    return np.broadcast_to(array.astype(np.float64).reshape(-1), 3)


def _cut(node: ir.Node) -> Box | None:
    """What a Slice leaves of rows and columns, as x, y, width, height; None when it cuts anything else."""
    taken = None if node.inputs[0] is None else dimensions(node.inputs[0])
    left = dimensions(node.outputs[0])
    starts, axes = constant(node.inputs[1]), constant(node.inputs[3] if len(node.inputs) > 3 else None)
    steps = constant(node.inputs[4]) if len(node.inputs) > 4 else np.ones(1)
    if (
        taken is None
        or left is None
        or len(taken) != 4
        or starts is None
        or steps is None
        or (steps != 1).any()
    ):
        return None
    if left[:2] != taken[:2]:
        return None
    along = range(len(starts)) if axes is None else [int(axis) % 4 for axis in axes]
    corner = {axis: int(start) % taken[axis] for axis, start in zip(along, starts.tolist(), strict=True)}
    return (corner.get(3, 0), corner.get(2, 0), left[3], left[2])


def _within(outer: Box | None, cut: Box) -> Box:
    x, y = (0, 0) if outer is None else outer[:2]
    return (x + cut[0], y + cut[1], cut[2], cut[3])
