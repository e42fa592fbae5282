"""One picture and what two rungs say of it, side by side: picture, both maps, and their difference."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.overlay import MapScale, Rgb, outlined, overlaid, run_scale
from export.verify.climb import Case

SIDE = 240
_SEAM = 6
_SEAM_GREY = 128
_JPEG_QUALITY = 90
_LOWER: Rgb = (86, 170, 255)
_EQUAL: Rgb = (20, 22, 26)
_HIGHER: Rgb = (255, 158, 66)


def map_scale(cases: Sequence[Case], threshold: float | None) -> MapScale:
    """The one colour scale of all maps that are shown."""
    return run_scale([values for case in cases for values in case.maps], threshold)


def largest_difference(cases: Sequence[Case]) -> float:
    """What the strongest colours of the difference stand for; 1 if no map differs."""
    found = [case.difference.map for case in cases if math.isfinite(case.difference.map)]
    return max(found, default=0.0) or 1.0


def strip(case: Case, scale: MapScale, reach: float) -> NDArray[np.uint8]:
    """(SIDE, 4 * SIDE + 3 seams, 3) uint8 RGB; the true defect is outlined on both maps."""
    nothing = np.zeros(case.seen.shape[:2], bool)
    mask = nothing if case.mask is None else case.mask
    pictures = [
        outlined(case.seen, nothing, SIDE),
        *(outlined(overlaid(case.seen, values, scale), mask, SIDE) for values in case.maps),
        _resized(difference_colours(_difference(case), reach)),
    ]
    seam = np.full((SIDE, _SEAM, 3), _SEAM_GREY, np.uint8)
    return np.hstack([part for picture in pictures for part in (picture, seam)][:-1])


def difference_colours(difference: NDArray[np.float32], reach: float) -> NDArray[np.uint8]:
    """Signed differences → RGB: blue where the second is lower, orange where it is higher, dark where equal.

    A value that is not a number gets the strongest colour.
    """
    signed = np.clip(np.nan_to_num(difference, nan=reach) / reach, -1, 1)[..., None]
    target = np.where(signed < 0, np.asarray(_LOWER, float), np.asarray(_HIGHER, float))
    mixed = (1 - np.abs(signed)) * np.asarray(_EQUAL, float) + np.abs(signed) * target
    return np.asarray(np.rint(mixed), np.uint8)


def map_legend(scale: MapScale) -> NDArray[np.uint8]:
    """A bar of the maps' colours over a grey picture, low to high."""
    values = np.linspace(scale.low, scale.high, SIDE, dtype=np.float32)[None].repeat(10, axis=0)
    return overlaid(np.full((10, SIDE, 3), 150, np.uint8), values, scale)


def difference_legend() -> NDArray[np.uint8]:
    """A bar of the difference's colours, from lower to higher."""
    return difference_colours(np.linspace(-1, 1, SIDE, dtype=np.float32)[None].repeat(10, axis=0), 1.0)


def jpeg_uri(picture: NDArray[np.uint8]) -> str:
    """A picture as a data URI."""
    coded = io.BytesIO()
    Image.fromarray(picture).save(coded, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(coded.getvalue()).decode('ascii')}"


def _difference(case: Case) -> NDArray[np.float32]:
    with np.errstate(invalid="ignore"):  # infinite in both gives a NaN
        return np.subtract(case.maps[1], case.maps[0])


def _resized(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
