"""The fast resampler, for frames much larger than the network's input: antialiased, separable, one core.

    Bayer frame ─▶ four colour planes, each at half the pitch ─▶ across ─▶ down ─▶ (3, height, width)
    RGB, grey   ─▶ one plane for each channel                 ─▶ across ─▶ down ─▶

A Bayer frame is never demosaiced: every colour plane is resampled from the places where its own pixels lie, so no
colour is shifted, and both green planes are averaged. That needs a reduction of 2 or more both ways, else the
planes are too coarse and the frame is demosaiced first.

Kernel, support and the treatment of edges are Pillow's (`Image.resize`: the kernel is stretched by the
reduction, weights are cut at the edge and sum to 1); arithmetic is float32 and nothing is rounded on the way. On
RGB pictures the result lies within two 8-bit levels of Pillow's, which rounds to 8 bits after each pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.messages import RawImage

Kernel = Literal["bicubic", "bilinear"]
Array = NDArray[np.float32]

LEAST_REDUCTION = 2.0
"""Below it a colour plane of the Bayer pattern has too few pixels for one pixel of the result."""

OUTPUTS_OF_A_BAND = 16
"""Weights are applied as small dense products of this many outputs: narrow enough to skip most of the zeros of
the whole matrix, wide enough for the matrix product to run at speed (measured: 8, 32 and 48 are slower)."""

ROWS_AT_A_TIME = 128
"""Converted and resampled together, so that they stay in the processor's cache."""

BICUBIC_A = -0.5
"""Pillow's and Catmull-Rom's choice."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Samples along one direction: `inputs` of them, at `first` + k · `pitch` pixels, of `length_px` pixels in
    all, to `outputs`. A plain row has first 0.5 and pitch 1; a row of red pixels pitch 2."""

    inputs: int
    outputs: int
    length_px: int
    first: float = 0.5
    pitch: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Outputs `start` … as a product: inputs `low` … `high` times `weights` (high - low, outputs of the band)."""

    start: int
    low: int
    high: int
    weights: Array

    @property
    def stop(self) -> int:
        """One past the last output."""
        return self.start + self.weights.shape[1]


def reducible(shape: tuple[int, ...], size_px: tuple[int, int]) -> bool:
    """Whether a Bayer frame of this shape can be resampled to (height, width) plane by plane."""
    return all(have >= LEAST_REDUCTION * want for have, want in zip(shape[:2], size_px, strict=True))


def resample_bayer(
    raw: RawImage, red: tuple[int, int], size_px: tuple[int, int], kernel: Kernel, top: int
) -> Array:
    """(h, w) Bayer pattern → (3, height, width) float32 RGB in the unit of the frame, 0 to `top`.

    `red` is the (row, column), 0 or 1 each, of the first red pixel.
    """
    height, width = raw.shape
    planes = {}
    for row in (0, 1):
        for column in (0, 1):
            plane = raw[row::2, column::2]
            down = Axis(plane.shape[0], size_px[0], height, row + 0.5, 2)
            across = Axis(plane.shape[1], size_px[1], width, column + 0.5, 2)
            planes[(row ^ red[0], column ^ red[1])] = _resampled(plane, down, across, kernel, top)
    green = (planes[0, 1] + planes[1, 0]) * np.float32(0.5)
    return np.stack([planes[0, 0], green, planes[1, 1]])


def resample_channels(image: RawImage, size_px: tuple[int, int], kernel: Kernel, top: int) -> Array:
    """(h, w) or (h, w, 3) → (1 or 3, height, width) float32 in the unit of the image, 0 to `top`."""
    channels = image[:, :, None] if image.ndim == 2 else image
    height, width, count = channels.shape
    down, across = Axis(height, size_px[0], height), Axis(width, size_px[1], width)
    return np.stack(
        [_resampled(channels[:, :, channel], down, across, kernel, top) for channel in range(count)]
    )


def _resampled(plane: RawImage, down: Axis, across: Axis, kernel: Kernel, top: int) -> Array:
    """Across first: a frame is wider than high, so that leaves less for the second pass.

    Clipped after each pass, as Pillow does: a bicubic kernel overshoots, and what overshot must not come back in
    through the second pass.
    """
    narrow = np.empty((plane.shape[0], across.outputs), np.float32)
    rows = np.empty((ROWS_AT_A_TIME, plane.shape[1]), np.float32)
    across_bands = bands(across, kernel)
    for start in range(0, len(plane), ROWS_AT_A_TIME):
        some = rows[: len(plane) - start]
        np.copyto(some, plane[start : start + ROWS_AT_A_TIME])
        for band in across_bands:
            np.matmul(
                some[:, band.low : band.high],
                band.weights,
                out=narrow[start : start + len(some), band.start : band.stop],
            )
    np.clip(narrow, 0, top, out=narrow)
    small = np.empty((down.outputs, across.outputs), np.float32)
    for band in bands(down, kernel):
        np.matmul(band.weights.T, narrow[band.low : band.high], out=small[band.start : band.stop])
    return np.clip(small, 0, top, out=small)


@lru_cache(maxsize=32)
def bands(axis: Axis, kernel: Kernel) -> tuple[Band, ...]:
    """The weights of one direction, cut into bands; kept, since a station has few sizes and each part needs
    them."""
    weights = axis_weights(axis, kernel)
    return tuple(
        _band(start, weights[start : start + OUTPUTS_OF_A_BAND])
        for start in range(0, axis.outputs, OUTPUTS_OF_A_BAND)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """The weights of one direction for a processor that computes each output by itself: output k is the sum of
    `weights[k, t]` times sample `first[k] + t`. (outputs,) int32 and (outputs, taps) float32."""

    first: NDArray[np.int32]
    weights: Array


def taps_of(axis: Axis, kernel: Kernel) -> Taps:
    """The same weights as `bands`, as taps; each row is filled up with zeros within the samples that exist."""
    weights = axis_weights(axis, kernel)
    used = weights != 0
    first = used.argmax(axis=1)
    count = int((axis.inputs - used[:, ::-1].argmax(axis=1) - first).max())
    first = np.minimum(first, axis.inputs - count)
    columns = first[:, None] + np.arange(count)
    return Taps(first.astype(np.int32), np.take_along_axis(weights, columns, axis=1).astype(np.float32))


def axis_weights(axis: Axis, kernel: Kernel) -> NDArray[np.float64]:
    """(outputs, inputs): how much each sample counts for each output; every row sums to 1."""
    reduction = axis.length_px / axis.outputs
    places = axis.first + axis.pitch * np.arange(axis.inputs)
    centres = (np.arange(axis.outputs) + 0.5) * reduction
    weights = _KERNELS[kernel]((places - centres[:, None]) / max(reduction, 1.0))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def _band(start: int, weights: NDArray[np.float64]) -> Band:
    used = np.flatnonzero(weights.any(axis=0))
    low, high = int(used[0]), int(used[-1]) + 1
    return Band(start, low, high, np.ascontiguousarray(weights[:, low:high].T, np.float32))


def _bicubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys, Cubic convolution interpolation (1981), zero from a distance of 2 on."""
    x, a = np.abs(distance), BICUBIC_A
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _bilinear(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - np.abs(distance))


_KERNELS: dict[Kernel, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "bicubic": _bicubic,
    "bilinear": _bilinear,
}
