"""The part and the belt of the simulated bench: a drilled and engraved plate, or one that shows nothing."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.simulated_sheet import SOFT_PX, Sheet

Map = NDArray[np.float32]
PartKind = Literal["plate", "shiny", "blank"]
_BELT, _STEEL, _EDGE, _HOLE = 0.06, 0.45, 0.70, 0.03
_PAPER, _INK = 0.85, (0.15, 0.30, 0.65)
_STEEL_TINT = (1.0, 0.99, 0.96)
_MM_BETWEEN_HOLES = 42.0
TEXELS_PER_PX = 1.5


def part_sheet(
    kind: PartKind, size_mm: tuple[float, float], mm_per_px: float, rng: np.random.Generator
) -> Sheet:
    """The belt with the part in the middle, `size_mm` wide and high around the axis, for a camera of that scale.

    `plate` has edges and tool marks in every part of the picture, and a white label; `shiny` is the same with
    small glints many times as bright; `blank` is white paper.
    """
    texel_mm = mm_per_px / TEXELS_PER_PX
    columns, rows = (round(side / texel_mm) for side in size_mm)
    if kind == "blank":
        return _around_axis(np.full((rows, columns, 3), _PAPER, np.float32), mm_per_px)
    light = _plate(rows, columns, texel_mm, rng)
    if kind == "shiny":
        _glint(light, texel_mm, rng)
    return _around_axis(light, mm_per_px)


def belt_sheet(size_mm: tuple[float, float], mm_per_px: float, rng: np.random.Generator) -> Sheet:
    """The belt alone."""
    columns, rows = (round(side * TEXELS_PER_PX / mm_per_px) for side in size_mm)
    light = np.repeat(_belt(rows, columns, rng)[..., None], 3, axis=2)
    return _around_axis(light, mm_per_px)


def _around_axis(light: Map, mm_per_px: float) -> Sheet:
    texel_mm = mm_per_px / TEXELS_PER_PX
    corner_mm = -light.shape[1] * texel_mm / 2, -light.shape[0] * texel_mm / 2
    return Sheet(light, texel_mm, corner_mm).softened(SOFT_PX, mm_per_px)


def _belt(rows: int, columns: int, rng: np.random.Generator) -> Map:
    weave = cv2.GaussianBlur(rng.standard_normal((rows, columns), np.float32), (0, 0), 1.5)
    return np.asarray(_BELT * (1 + 0.4 * weave), np.float32)


def _plate(rows: int, columns: int, texel_mm: float, rng: np.random.Generator) -> Map:
    light = _belt(rows, columns, rng)
    top, left = round(0.12 * rows), round(0.12 * columns)
    face = np.s_[top : rows - top, left : columns - left]
    # Tool marks run along the plate: fine across them, long along them.
    marks = cv2.GaussianBlur(rng.standard_normal((rows, columns), np.float32), (0, 0), 12, sigmaY=0.7)
    light[face] = _STEEL * (1 + marks[face] * np.float32(0.04 / marks.std()))
    broken_edge = max(2, round(4.0 / texel_mm))
    cv2.rectangle(light, (left, top), (columns - left - 1, rows - top - 1), _EDGE, broken_edge)
    _drill(light, texel_mm, (top, left))
    coloured = light[..., None] * np.array(_STEEL_TINT, np.float32)
    _label(coloured, texel_mm)
    return np.asarray(coloured, np.float32)


def _drill(light: Map, texel_mm: float, corner: tuple[int, int]) -> None:
    """Holes, and engraved lines between them."""
    step, hole, line = (max(1, round(mm / texel_mm)) for mm in (_MM_BETWEEN_HOLES, 9.0, 0.8))
    top, left = corner
    rows, columns = light.shape
    for y in range(top + step // 2, rows - top - hole, step):
        for x in range(left + step // 2, columns - left - hole, step):
            cv2.circle(light, (x, y), hole, _HOLE, -1)
            engraved = (x + step // 2, y - step // 3), (x + step // 2, y + step // 3)
            cv2.line(light, *engraved, _HOLE, line)


def _label(coloured: Map, texel_mm: float) -> None:
    """White paper with a blue stripe, a little to the left of the middle."""
    rows, columns = (side // 2 for side in coloured.shape[:2])
    high, wide = round(38 / texel_mm), round(60 / texel_mm)
    coloured[rows - high // 2 : rows + high // 2, columns - wide : columns + wide // 2] = _PAPER
    coloured[rows : rows + high // 4, columns - wide : columns + wide // 2] = _INK


def _glint(coloured: Map, texel_mm: float, rng: np.random.Generator) -> None:
    """Where the lamp is mirrored: about 0.3 % of the picture."""
    rows, columns = coloured.shape[:2]
    radius = max(1, round(2.5 / texel_mm))
    for x, y in zip(rng.uniform(0.3, 0.7, 24), rng.uniform(0.3, 0.7, 24), strict=True):
        cv2.circle(coloured, (round(x * columns), round(y * rows)), radius, (5.0, 5.0, 5.0), -1)
