"""A raw picture as planes of one colour each, on which fields and noise are measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.camera.raw_levels import BAYER
from calibration.camera.refusal import MeasurementRefused
from edge.messages import PixelFormat

Value = TypeVar("Value", bound=np.generic)
_CORNERS: Mapping[str, tuple[int, int]] = {
    "red": (0, 0),
    "green 1": (0, 1),
    "green 2": (1, 0),
    "blue": (1, 1),
}


def same_colour_px(pixel_format: PixelFormat) -> int:
    """Distance of neighbouring pixels of one colour."""
    return 2 if pixel_format in BAYER else 1


def planes(image: NDArray[Value], pixel_format: PixelFormat) -> dict[str, NDArray[Value]]:
    """Views of (h, w) by colour: four of (h / 2, w / 2) for a Bayer format, with both greens, else `grey`.

    Raises `MeasurementRefused` for RGB8, whose values are no longer the sensor's.
    """
    if pixel_format is PixelFormat.RGB8:
        raise MeasurementRefused(
            "The camera delivers RGB8, which it has computed from the sensor's pixels.",
            do="Set camera.pixel_format to a Bayer or a Mono format.",
        )
    if pixel_format not in BAYER:
        return {"grey": image}
    return {name: image[row::2, column::2] for name, (row, column) in _CORNERS.items()}


def reference_planes(image: NDArray[Value], pixel_format: PixelFormat) -> list[NDArray[Value]]:
    """The planes that no colour gain touches: both greens, or the grey one."""
    return [plane for name, plane in planes(image, pixel_format).items() if name not in ("red", "blue")]
