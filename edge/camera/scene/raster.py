"""Resampling and drawing on square float patches, typed.

A patch is a square image of the part's region of interest (ROI). Coordinates in ROI units run from -0.5 to
0.5 along each side, x to the right and y down; pixel centres lie at half-integers, so a patch can be
resampled to any size without a shift.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

FloatImage = npt.NDArray[np.float32]
BoolImage = npt.NDArray[np.bool_]
Affine = npt.NDArray[np.float64]  # (2, 3): source pixel = matrix · (destination x, destination y, 1)

PATCH_PX = 512
_STROKE_SUPERSAMPLING = 2
_SUBPIXEL_BITS = 4


def roi_grid() -> tuple[FloatImage, FloatImage]:
    """x and y of every patch pixel centre, in ROI units: two (512, 512) float32."""
    axis = (np.arange(PATCH_PX, dtype=np.float32) + 0.5) / PATCH_PX - 0.5
    x, y = np.meshgrid(axis, axis)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def warp(image: FloatImage, matrix: Affine, size: tuple[int, int], *, wrap: bool = False) -> FloatImage:
    """`image` sampled linearly through `matrix` into `size` (width, height); edges repeat, or tile with
    `wrap`.
    """
    border = cv2.BORDER_WRAP if wrap else cv2.BORDER_REPLICATE
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=flags, borderMode=border), np.float32)


def look_up(tile: FloatImage, column: FloatImage, row: FloatImage) -> FloatImage:
    """The tiling `tile` sampled linearly at (column, row), both in pixels of the tile."""
    return np.asarray(cv2.remap(tile, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def blur(image: FloatImage, sigma_px: float) -> FloatImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32)


def area_resize(image: FloatImage, side: int) -> FloatImage:
    """`image` averaged by area down to (side, side)."""
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def linear_resize(image: FloatImage, side: int) -> FloatImage:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def dilate(mask: BoolImage, radius_px: int) -> BoolImage:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), np.bool_)


def without_specks(mask: BoolImage, least_px: int) -> BoolImage:
    """`mask` without its connected pieces of fewer than `least_px` pixels."""
    _, labels, figures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    large = figures[:, cv2.CC_STAT_AREA] >= least_px
    large[0] = False  # the background
    return np.asarray(large[labels], np.bool_)


def stroke(paths: Sequence[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]) -> FloatImage:
    """The share of every patch pixel covered by pen strokes: (512, 512) float32 in [0, 1].

    Each path is its points, (n, 2) as x, y in ROI units, and the pen's width on each of its n - 1 segments,
    in ROI units.
    """
    side = PATCH_PX * _STROKE_SUPERSAMPLING
    canvas = np.zeros((side, side), np.uint8)
    for points, widths in paths:
        # OpenCV counts pixel centres at whole numbers and takes fixed-point coordinates.
        fixed = np.rint(((points + 0.5) * side - 0.5) * (1 << _SUBPIXEL_BITS)).astype(int)
        thickness = np.maximum(1, np.rint(widths * side)).astype(int)
        for start, end, pen in zip(fixed[:-1].tolist(), fixed[1:].tolist(), thickness.tolist(), strict=True):
            cv2.line(canvas, start, end, 255, pen, cv2.LINE_AA, _SUBPIXEL_BITS)
    small = cv2.resize(canvas, (PATCH_PX, PATCH_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)
