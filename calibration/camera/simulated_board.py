"""The printed board of the simulated bench, as a flat sheet, and the poses in which it is held."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.simulated_sheet import SOFT_PX, Pose, Sheet

_INK, _PAPER = 0.05, 0.85
_RIM_MM = 8.0


@dataclass(frozen=True, slots=True)
class SimulatedBoard:
    """A ChArUco board of `columns` x `rows` squares; `dictionary` is one of OpenCV's, by name."""

    columns: int = 12
    rows: int = 9
    square_mm: float = 20.0
    marker_mm: float = 15.0
    dictionary: str = "DICT_4X4_100"

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height of the squares together."""
        return self.columns * self.square_mm, self.rows * self.square_mm

    def charuco(self) -> cv2.aruco.CharucoBoard:
        """OpenCV's own description of it, in mm."""
        markers = cv2.aruco.getPredefinedDictionary(int(getattr(cv2.aruco, self.dictionary)))
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square_mm, self.marker_mm, markers)

    def sheet(self, mm_per_px: float) -> Sheet:
        """The print on its paper. Texels are about half a pixel, a whole number of them to a square."""
        per_square = max(8, round(2 * self.square_mm / mm_per_px))
        texel_mm = self.square_mm / per_square
        size = self.columns * per_square, self.rows * per_square
        ink = np.asarray(self.charuco().generateImage(size, marginSize=0, borderBits=1), np.float32) / 255
        rim = round(_RIM_MM / texel_mm)
        light = np.pad(_INK + (_PAPER - _INK) * ink, rim, constant_values=_PAPER)
        colour = np.repeat(light[..., None], 3, axis=2).astype(np.float32)
        return Sheet(colour, texel_mm, (-rim * texel_mm, -rim * texel_mm)).softened(SOFT_PX, mm_per_px)


def board_pose(board: SimulatedBoard, view: int, distance_mm: float, seed: int) -> Pose:
    """View 0 lies flat on the belt, in the middle; the others are held above it, each elsewhere and tilted."""
    if view == 0:
        return _held(board, (0.0, 0.0), distance_mm, np.zeros(3))
    rng = np.random.default_rng([seed, view])
    cell = (view - 1) % 9
    distance = distance_mm * rng.uniform(0.75, 0.95)
    aside = (cell % 3 - 1) * 0.36 * distance, (cell // 3 - 1) * 0.13 * distance
    lean, roll = rng.uniform(0.2, 0.5), rng.uniform(-0.25, 0.25)
    towards = rng.uniform(0, 2 * math.pi)
    turn = np.array([lean * math.cos(towards), lean * math.sin(towards), roll])
    return _held(board, aside, distance, turn)


def _held(
    board: SimulatedBoard, aside_mm: tuple[float, float], distance_mm: float, turn: NDArray[np.float64]
) -> Pose:
    """With its middle at that place; `turn` is a rotation vector."""
    rotation = np.asarray(cv2.Rodrigues(turn)[0], np.float64)
    width_mm, height_mm = board.size_mm
    middle = np.array([*aside_mm, distance_mm])
    return Pose(turn, middle - rotation @ np.array([width_mm / 2, height_mm / 2, 0.0]))
