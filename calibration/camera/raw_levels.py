"""Levels of raw pictures: quantiles and means as shares of full scale. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.messages import Box, PixelFormat, RawImage

BAYER = (PixelFormat.BAYER_RG8, PixelFormat.BAYER_RG12)
DEEP = (PixelFormat.BAYER_RG12, PixelFormat.MONO12)
DARK_SHARE, BRIGHT_SHARE = 0.001, 0.995


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Of all raw values of an area, as shares of full scale: the 0.1 % and 99.5 % quantiles, the mean, and the
    share of the pixels that are at full scale. `counts` (full scale + 1,) is their histogram. `unsteady` is the
    largest difference between the means of the pictures, relative to their mean."""

    dark: float
    bright: float
    mean: float
    saturated: float
    unsteady: float
    counts: NDArray[np.int64]


def full_scale(pixel_format: PixelFormat) -> int:
    """The largest raw value."""
    return 4095 if pixel_format in DEEP else 255


def levels_of(images: Sequence[RawImage], pixel_format: PixelFormat, area: Box | None = None) -> Levels:
    """The levels of one or more pictures together, within `area` of each; None is the whole picture."""
    top = full_scale(pixel_format)
    counts = np.array([_histogram(_cut(image, area), top + 1) for image in images])
    values = np.arange(top + 1)
    means = counts @ values / counts.sum(axis=1)
    all_counts = counts.sum(axis=0)
    mean = float(means.mean())
    return Levels(
        dark=_quantile(all_counts, DARK_SHARE) / top,
        bright=_quantile(all_counts, BRIGHT_SHARE) / top,
        mean=mean / top,
        saturated=float(all_counts[top] / all_counts.sum()),
        unsteady=float(np.ptp(means)) / mean if mean > 0 else 0.0,
        counts=all_counts,
    )


def colour_means(image: RawImage, pixel_format: PixelFormat, area: Box) -> tuple[float, float, float]:
    """Mean raw values of red, green and blue within `area` of a Bayer or RGB picture."""
    x, y, width, height = area
    if pixel_format is PixelFormat.RGB8:
        red, green, blue = (float(m) for m in image[y : y + height, x : x + width].mean(axis=(0, 1)))
        return red, green, blue
    x, y = x + x % 2, y + y % 2
    cells = image[y : y + height // 2 * 2, x : x + width // 2 * 2]
    green = (cells[0::2, 1::2].mean() + cells[1::2, 0::2].mean()) / 2
    return float(cells[0::2, 0::2].mean()), float(green), float(cells[1::2, 1::2].mean())


def green_plane(image: RawImage, pixel_format: PixelFormat) -> tuple[NDArray[np.float32], int]:
    """One plane of one colour, green where there are colours, and the distance of its pixels in the picture."""
    if pixel_format in BAYER:
        return image[0::2, 1::2].astype(np.float32), 2
    if pixel_format is PixelFormat.RGB8:
        return image[..., 1].astype(np.float32), 1
    return image.astype(np.float32), 1


def _cut(image: RawImage, area: Box | None) -> RawImage:
    if area is None:
        return image
    x, y, width, height = area
    return image[y : y + height, x : x + width]


def _histogram(image: RawImage, values: int) -> NDArray[np.int64]:
    whole: NDArray[np.integer[Any]] = np.ascontiguousarray(image)
    flat = whole.reshape(len(whole), -1)
    # OpenCV counts several times as fast as numpy, in float32, which is exact for up to 2**24 pixels.
    rows = max(1, 2**24 // flat.shape[1])
    parts = [flat[start : start + rows] for start in range(0, len(flat), rows)]
    counts = [cv2.calcHist([part], [0], None, [values], [0, values]) for part in parts]
    return np.asarray(np.sum(counts, axis=0, dtype=np.float64).ravel(), np.int64)


def _quantile(counts: NDArray[np.int64], share: float) -> float:
    """Linear between the two values that the share falls between, taking each as spread over its own width."""
    below = np.cumsum(counts)
    wanted = share * below[-1]
    value = int(np.searchsorted(below, wanted, side="left"))
    before = int(below[value - 1]) if value else 0
    inside = value - 0.5 + (wanted - before) / counts[value]
    return float(min(max(inside, 0.0), counts.size - 1))
