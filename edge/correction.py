"""Correction of a raw frame before anything else: dead pixels, flat field, and after demosaicing the lens.

It comes from the station's camera calibration (`edge.camera_calibration`) and belongs to one camera, lens, light,
sensor region and pixel format. Its identity is part of the preprocessing, so of every threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import FrameError
from edge.messages import Box, RawImage

TOP_12_BIT = 4095
"""The largest value of a uint16 frame, which holds 12 bits."""


_DEPTH = {np.dtype(np.uint8): cv2.CV_8U, np.dtype(np.uint16): cv2.CV_16U}


@dataclass(frozen=True, slots=True, eq=False)
class LensMap:
    """Where each pixel of the corrected frame lies in the raw one, both (h, w) float32, in pixels."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """`offset` is the dark level and `gain` the flat-field factor of each raw pixel, (h, w) float32. `dead_px`
    is (n, 2) int, row and column. `same_colour_px` is the distance to the next pixel of a colour: 2 for Bayer
    frames, else 1. `lens` is None when the lens is not corrected."""

    correction_id: str
    offset: NDArray[np.float32]
    gain: NDArray[np.float32]
    dead_px: NDArray[np.intp]
    same_colour_px: int
    lens: LensMap | None = None

    def levelled(self, raw: RawImage, box: Box) -> RawImage:
        """The box of a raw frame with dead pixels replaced and the flat field applied, dtype and range as before.

        Raises `FrameError` when the frame is not of the size that was calibrated.
        """
        if raw.shape != self.gain.shape:
            raise FrameError(
                f"A frame of {_size(raw.shape)} came; the camera calibration is for {_size(self.gain.shape)}.",
                do="Set the camera's region back, or run 'adclip calibrate camera' again.",
            )
        x, y, width, height = box
        window = slice(y, y + height), slice(x, x + width)
        dark = cv2.subtract(self._without_dead(raw)[window], self.offset[window], dtype=cv2.CV_32F)
        # OpenCV rounds and saturates in the same pass.
        level = cv2.multiply(dark, self.gain[window], dtype=_DEPTH[raw.dtype])
        if raw.dtype == np.uint8:
            return np.asarray(level, np.uint8)
        return np.asarray(np.minimum(level, TOP_12_BIT, out=level), np.uint16)

    def undistorted(self, rgb: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
        """The box (x, y, width, height) of the lens-corrected frame, from the demosaiced whole frame."""
        if self.lens is None:
            raise ValueError("there is no lens correction")
        x, y, width, height = box
        window = slice(y, y + height), slice(x, x + width)
        return np.asarray(
            cv2.remap(
                rgb,
                self.lens.x[window],
                self.lens.y[window],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.uint8,
        )

    def _without_dead(self, raw: RawImage) -> RawImage:
        """Each dead pixel takes the median of its four neighbours of one colour; one of them may be dead."""
        if len(self.dead_px) == 0:
            return raw
        whole, step = raw.copy(), self.same_colour_px
        rows, columns = self.dead_px.T
        last_row, last_column = raw.shape[0] - 1, raw.shape[1] - 1
        around = []
        for row, column in ((-step, 0), (step, 0), (0, -step), (0, step)):
            # At an edge the neighbour on the other side counts twice; it has the same colour.
            at_row = np.where((rows + row < 0) | (rows + row > last_row), rows - row, rows + row)
            at_column = np.where(
                (columns + column < 0) | (columns + column > last_column), columns - column, columns + column
            )
            around.append(raw[at_row, at_column])
        whole[rows, columns] = np.rint(np.median(around, axis=0)).astype(raw.dtype)
        return whole


def _size(shape: tuple[int, ...]) -> str:
    channels = f", {shape[2]} channels" if len(shape) == 3 else ""
    return f"{shape[1]} x {shape[0]} px{channels}"
