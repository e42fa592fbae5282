"""The conveyor belt: dark rubber with a fine relief, rub marks along its travel and scuffs."""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge.camera.scene.raster import PATCH_PX, FloatImage
from edge.camera.scene.texture import Banks, cut

BELT_TINT = (0.98, 1.00, 1.03)
_RUBBER = 0.075  # signal of clean rubber at nominal exposure
_RELIEF = 0.13  # deviation of it, relative
_MOST_SCUFFS = 5


def belt_signal(banks: Banks, size: tuple[int, int], roi_cells: int, rng: np.random.Generator) -> FloatImage:
    """A stretch of belt over a frame of `size` (width, height) mosaic cells: (height, width) float32.

    `roi_cells` is the side of the ROI in cells; it sets the scale of the texture.
    """
    scale = roi_cells / PATCH_PX
    signal = np.float32(_RUBBER) * (1 + np.float32(_RELIEF) * cut(banks.belt, rng, size, scale=scale))
    return np.asarray(np.maximum(signal + _scuffs(size, roi_cells, rng), 0), np.float32)


def _scuffs(size: tuple[int, int], roi_cells: int, rng: np.random.Generator) -> FloatImage:
    """Faint light marks, most of them along the travel."""
    canvas = np.zeros((size[1], size[0]), np.uint8)
    for _ in range(int(rng.integers(0, _MOST_SCUFFS + 1))):
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        angle, length = rng.normal(0, 0.35), rng.uniform(0.04, 0.22) * roi_cells
        end = (round(x + length * math.cos(angle)), round(y + length * math.sin(angle)))
        pen = max(1, round(rng.uniform(0.001, 0.004) * roi_cells))
        cv2.line(canvas, (round(x), round(y)), end, float(rng.uniform(60, 255)), pen, cv2.LINE_AA)
    return np.asarray(cv2.blur(canvas, (3, 3)), np.float32) * np.float32(0.045 / 255)
