"""The size in pixels at which a network looks at a picture, found by asking the network's own resize."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edge.errors import ModelFileError
from edge.manifest import Interpolation
from export.onnx_import.onnx_session import run
from export.onnx_import.picture_input import own_resize, picture_input, remove_resize

Size = tuple[int, int]

TRIAL_SIZES: tuple[Size, Size] = ((211, 307), (307, 211))
"""Not square, and turned: a resize that keeps the aspect ratio gives two answers."""

FILTERS: dict[str, Interpolation] = {"linear": "pil_bilinear_antialias", "cubic": "pil_bicubic_antialias"}


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """`size_px` is the (height, width) that the imported graph takes, `file_size_px` what the file is fixed to
    (None for a file that takes any size). `resize_output` names the output of the resize that was taken out, and
    `filter` is the one that it used."""

    size_px: Size
    file_size_px: Size | None
    resize_output: str | None
    filter: Interpolation | None


def settle_input(model: ir.Model, wanted: Size | None) -> NetworkInput:
    """Find the size, and take the network's own resize out of `model`, in place.

    `wanted` is the user's, for a file that does not tell. Raises `ModelFileError` when the size cannot be told.
    """
    value = picture_input(model)
    declared = _declared(value)
    resize = own_resize(value)
    if resize is None:
        return NetworkInput(_told(declared, wanted), declared, None, None)
    size = _resized_to(model, value, resize, declared, wanted)
    name = resize.outputs[0].name
    mode = resize.attributes["mode"].as_string() if "mode" in resize.attributes else "nearest"
    remove_resize(resize)
    return NetworkInput(size, declared, name, FILTERS.get(mode))


def _declared(value: ir.Value) -> Size | None:
    """Height and width of the file; None when at least one may vary."""
    if value.shape is None:
        return None
    height, width = value.shape[2], value.shape[3]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _told(declared: Size | None, wanted: Size | None) -> Size:
    """The size of a network that does not resize."""
    if declared is not None and wanted not in (None, declared):
        raise ModelFileError(
            f"The file takes pictures of {_text(declared)} px alone, not {wanted and _text(wanted)}.",
            do="Leave --input-size out.",
        )
    size = declared or wanted
    if size is None:
        raise ModelFileError(
            "The file takes pictures of any size and does not resize them: the training's size is not in it.",
            do="Give it with --input-size HEIGHT,WIDTH, or export the network with a fixed input size.",
        )
    return size


def _resized_to(
    model: ir.Model, value: ir.Value, resize: ir.Node, declared: Size | None, wanted: Size | None
) -> Size:
    """What comes out of the resize, whatever goes in."""
    graph = ir.convenience.extract(model.graph, [value], [resize.outputs[0]])
    trial = ir.Model(graph, ir_version=model.ir_version)
    given = [declared] if declared else [wanted] if wanted else list(TRIAL_SIZES)
    found = {_size_of(trial, size) for size in given}
    if len(found) > 1:
        raise ModelFileError(
            "The network's own resize keeps the aspect ratio, so its input has no size of its own.",
            do="Give --input-size HEIGHT,WIDTH, the size of the training pictures after that resize.",
        )
    size = found.pop()
    if wanted not in (None, size):
        raise ModelFileError(
            f"The network makes {_text(size)} px of a picture of {wanted and _text(wanted)} px.",
            do=f"Give --input-size {size[0]},{size[1]}.",
        )
    return size


def _size_of(trial: ir.Model, size: Size) -> Size:
    (resized,) = run(trial, np.zeros((1, 3, *size), np.float32))
    if resized.ndim != 4:
        raise ModelFileError(
            f"The network's own resize gives {resized.shape}, which is no picture.",
            do="Export the network again.",
        )
    return (resized.shape[2], resized.shape[3])


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
