"""How sharp a picture is, field by field. Pure.

Two numbers of each of 3 x 3 fields, both on green pixels:

- sharpness: Tenengrad, the mean of the squared gradient (E. Krotkov, "Focusing", 1987), over the square of
  the mean, so that the light cancels. It is highest at best focus, but only comparable for one and the same part.
- blur: the standard deviation in pixels of the blur at the strongest edges, from how much a second, known
  blur lowers their gradient (S. Zhuo and T. Sim, "Defocus map estimation from a single image", 2011). It means
  the same whatever the part, and needs edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.raw_levels import green_plane
from edge.messages import PixelFormat, RawImage

Plane = NDArray[np.float32]
FIELDS = 3
_FINE_PX, _COARSE_PX = 1.0, 2.0
"""Known blurs, in green pixels: the first calms noise, the second is what is compared with it."""
_EDGE_SHARE = 0.01
_EDGE_CONTRAST = 0.1
"""Step of an edge that counts, relative to the mean of the field."""
_MOST_BLUR_PX = 4.0
"""Of such an edge, in green pixels, that is still taken for one; stronger edges may be blurred more."""
_ROOT_2_PI = float(np.sqrt(2 * np.pi))
_NOISE_TIMES = 6.0
_MEDIAN_TO_DEVIATION = 1 / 0.6745


@dataclass(frozen=True, slots=True)
class FieldSharpness:
    """`blur_px` is in pixels of the picture; None where there are no edges to tell it by."""

    sharpness: float
    blur_px: float | None


@dataclass(frozen=True, slots=True)
class Sharpness:
    """`fields` are FIELDS rows of FIELDS, from the top left. `sharpness` is their mean, `blur_px` the median of
    those that have edges, None when none has."""

    fields: tuple[tuple[FieldSharpness, ...], ...]
    sharpness: float
    blur_px: float | None


def sharpness_of(images: Sequence[RawImage], pixel_format: PixelFormat) -> Sharpness:
    """Of the mean of one or more pictures of the same thing."""
    planes = [green_plane(image, pixel_format) for image in images]
    plane = np.asarray(np.mean([plane for plane, _ in planes], axis=0), np.float32)
    pitch = planes[0][1]
    fine, coarse = _gradient(plane, _FINE_PX), _gradient(plane, _COARSE_PX)
    noise = _noise_of_gradient(plane)
    squared = _squared_gradient(plane)
    fields = tuple(
        tuple(_field(plane[at], squared[at], fine[at], coarse[at], noise, pitch) for at in row)
        for row in _windows(plane.shape)
    )
    flat = [field for row in fields for field in row]
    blurs = [field.blur_px for field in flat if field.blur_px is not None]
    return Sharpness(
        fields,
        float(np.mean([field.sharpness for field in flat])),
        float(np.median(blurs)) if blurs else None,
    )


def _windows(shape: tuple[int, ...]) -> list[list[tuple[slice, slice]]]:
    rows, columns = (np.linspace(0, side, FIELDS + 1).astype(int) for side in shape[:2])
    return [
        [np.s_[top:bottom, left:right] for left, right in pairwise(columns)] for top, bottom in pairwise(rows)
    ]


def _field(
    plane: Plane, squared: Plane, fine: Plane, coarse: Plane, noise: float, pitch: int
) -> FieldSharpness:
    mean = float(plane.mean())
    sharpness = float(squared.mean()) / mean**2 if mean > 0 else 0.0
    # The gradient of a step of height h blurred by s is h / (s · sqrt(2 pi)).
    step = _EDGE_CONTRAST * mean / (_MOST_BLUR_PX * _ROOT_2_PI)
    return FieldSharpness(sharpness, _blur_px(fine, coarse, max(step, _NOISE_TIMES * noise), pitch))


def _blur_px(fine: Plane, coarse: Plane, least: float, pitch: int) -> float | None:
    """An edge blurred by s has gradients 1 / sqrt(s² + fine²) and 1 / sqrt(s² + coarse²)."""
    strong = max(least, float(np.quantile(fine, 1 - _EDGE_SHARE)))
    edges = fine >= strong
    if np.count_nonzero(edges) < _EDGE_SHARE / 2 * fine.size:
        return None
    ratio2 = float(np.median(fine[edges] / np.maximum(coarse[edges], 1e-6))) ** 2
    if ratio2 <= 1:
        return None
    spread2 = (_COARSE_PX**2 - ratio2 * _FINE_PX**2) / (ratio2 - 1)
    return float(np.sqrt(max(0.0, spread2))) * pitch


def _gradient(plane: Plane, sigma: float) -> Plane:
    soft = cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    across = cv2.Scharr(soft, cv2.CV_32F, 1, 0, scale=1 / 32)
    down = cv2.Scharr(soft, cv2.CV_32F, 0, 1, scale=1 / 32)
    return np.asarray(cv2.magnitude(across, down), np.float32)


def _squared_gradient(plane: Plane) -> Plane:
    across = cv2.Sobel(plane, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(plane, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(across * across + down * down, np.float32)


def _noise_of_gradient(plane: Plane) -> float:
    """Deviation that noise alone gives to the fine gradient, from the median of second differences."""
    second = cv2.filter2D(plane, cv2.CV_32F, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32))
    pixel = float(np.median(np.abs(second))) * _MEDIAN_TO_DEVIATION / 6
    # Of a Gaussian derivative, sqrt(1 / (8 pi)) / sigma² times the noise of a pixel.
    return max(pixel, 0.3) * float(np.sqrt(1 / (8 * np.pi))) / _FINE_PX**2
