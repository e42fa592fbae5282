"""The printed ChArUco board: its measures, and its corners found in a picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError
from edge.messages import PixelFormat, RawImage
from edge.preprocess import develop

Points = NDArray[np.float64]
_LEAST_CORNERS = 8
"""With fewer the pose of the board is not certain."""


@dataclass(frozen=True, slots=True)
class BoardSpec:
    """`columns` x `rows` squares of `square_mm`, measured with calipers on the print, with markers of
    `marker_mm`; `dictionary` is one of OpenCV's, by name. `thickness_mm` is how high its print lies above the
    belt. Raises `ConfigError` when there is no such board."""

    columns: int = 12
    rows: int = 9
    square_mm: float = 20.0
    marker_mm: float = 15.0
    dictionary: str = "DICT_4X4_100"
    thickness_mm: float = 0.0

    def __post_init__(self) -> None:
        if (
            min(self.columns, self.rows) < 3
            or not 0 < self.marker_mm < self.square_mm
            or self.thickness_mm < 0
        ):
            raise ConfigError(
                f"There is no board of {self.columns} x {self.rows} squares of {self.square_mm:g} mm with "
                f"markers of {self.marker_mm:g} mm.",
                do="Give at least 3 x 3 squares, and markers smaller than a square.",
            )
        known = getattr(cv2.aruco, self.dictionary, None) if self.dictionary.startswith("DICT_") else None
        if not isinstance(known, int):
            raise ConfigError(
                f"OpenCV knows no marker dictionary {self.dictionary}.",
                do="Give the name on the print, such as DICT_4X4_100.",
            )
        if len(self._markers(known).bytesList) < self.columns * self.rows // 2:
            raise ConfigError(
                f"{self.dictionary} has too few markers for {self.columns} x {self.rows} squares.",
                do="Check the dictionary and the number of squares on the print.",
            )

    def charuco(self) -> cv2.aruco.CharucoBoard:
        """OpenCV's description of it, in mm."""
        markers = self._markers(int(getattr(cv2.aruco, self.dictionary)))
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square_mm, self.marker_mm, markers)

    @property
    def outline_mm(self) -> Points:
        """(4, 2): its corners, clockwise from the first."""
        width, height = self.columns * self.square_mm, self.rows * self.square_mm
        return np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])

    @staticmethod
    def _markers(number: int) -> cv2.aruco.Dictionary:
        return cv2.aruco.getPredefinedDictionary(number)


@dataclass(frozen=True, slots=True, eq=False)
class BoardView:
    """The board in one picture: its inner corners `board_mm` (n, 2) on the board and `image_px` (n, 2) in the
    picture, pixel centres at whole numbers."""

    number: int
    board_mm: Points
    image_px: Points


def find_board(image: RawImage, pixel_format: PixelFormat, spec: BoardSpec, number: int) -> BoardView | None:
    """The board in a raw picture, None when fewer than eight of its corners are seen."""
    board = spec.charuco()
    corners, ids, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(_grey(image, pixel_format))
    if ids is None or len(ids) < _LEAST_CORNERS:
        return None
    places = np.asarray(board.getChessboardCorners(), np.float64)
    return BoardView(number, places[ids.ravel(), :2], np.asarray(corners, np.float64).reshape(-1, 2))


def _grey(image: RawImage, pixel_format: PixelFormat) -> NDArray[np.uint8]:
    developed = develop(image, pixel_format)
    if developed.ndim == 2:
        return developed
    return np.asarray(cv2.cvtColor(developed, cv2.COLOR_RGB2GRAY), np.uint8)
