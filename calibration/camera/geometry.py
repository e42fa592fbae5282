"""Geometry: the lens's distortion from views of a printed board, and millimetres per pixel on the belt.

    board flat on the belt, then held at many places and tilts ─▶ corners ─▶ camera matrix, distortion
    (OpenCV's pinhole model with k1, k2, p1, p2, k3) ─▶ corners of the flat view, undistorted ─▶ homography ─▶
    mm/px

What stands above the belt looks larger: at height h it is scaled by d / (d − h), with d the distance to the
belt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.bench import BenchCamera, Operator, Target
from calibration.camera.board import BoardSpec, BoardView, Points, find_board
from calibration.camera.exposure import bring_into_range
from calibration.camera.refusal import MeasurementRefused, restored
from edge.camera_calibration import LensModel

FIELDS = 3
PLACES = (
    ("upper left", "top", "upper right"),
    ("left", "middle", "right"),
    ("lower left", "bottom", "lower right"),
)


@dataclass(frozen=True, slots=True)
class GeometryLimits:
    """`views` are asked for, at least `least_views` of them must show the board. A corner of the picture
    needs `least_corners`. Views are alike whose outlines differ by less than `alike` of the picture's width;
    `least_tilt` is how much of its size a view must change from one side of the board to the other.
    `worst_skew` is the change of mm/px over the picture from which the camera is said to lean."""

    views: int = 20
    least_views: int = 12
    least_corners: int = 6
    most_rms_px: float = 0.5
    good_rms_px: float = 0.3
    alike: float = 0.04
    least_tilt: float = 0.05
    least_tilted: int = 6
    worst_skew: float = 0.01


@dataclass(frozen=True, slots=True)
class ViewSeen:
    """One view as it was found, for the person who holds the board."""

    number: int
    corners: int
    usable: int
    wanted: int


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """`mm_per_px` holds on the belt in the middle of the undistorted picture, `mm_per_px_range` over the
    board on the belt. `distance_mm` is from the lens to the belt along the axis. `coverage` (3, 3) counts
    corners found in each field. `corners_px` and `residuals_px` (n, 2) are all corners and how far each lies
    from where the model puts it; `view_rms_px` is by view."""

    lens: LensModel
    mm_per_px: float
    mm_per_px_range: tuple[float, float]
    distance_mm: float
    lean_deg: float
    coverage: NDArray[np.intp]
    corners_px: Points
    residuals_px: Points
    view_rms_px: tuple[float, ...]
    size_px: tuple[int, int]
    advice: tuple[str, ...] = field(default=())

    def parallax(self, height_mm: float) -> float:
        """By how much a thing at `height_mm` above the belt looks too large, relative."""
        return height_mm / (self.distance_mm - height_mm)


def measure_geometry(
    camera: BenchCamera,
    operator: Operator,
    board: BoardSpec,
    limits: GeometryLimits | None = None,
    on_view: Callable[[ViewSeen], None] = lambda view: None,
) -> Geometry:
    """Have the board shown in many poses, the first flat on the belt. The camera's settings are afterwards as
    before.

    Raises `MeasurementRefused` when the board is not found, in too few views or in views all alike, does not
    reach a corner of the picture, or when the model does not fit to within 0.5 px.
    """
    limits = limits or GeometryLimits()
    with restored(camera):
        views = _views(camera, operator, board, limits, on_view)
    return geometry_of(views, board, (camera.identity.width_px, camera.identity.height_px), limits)


def geometry_of(
    views: Sequence[BoardView], board: BoardSpec, size_px: tuple[int, int], limits: GeometryLimits
) -> Geometry:
    """From views of the board, the first flat on the belt. Raises as `measure_geometry`."""
    _check_views(views, board, size_px, limits)
    coverage = covered(views, size_px)
    _check_coverage(coverage, limits)
    rms, matrix, distortion, residuals = _calibrated(views, size_px)
    if not rms <= limits.most_rms_px:
        raise MeasurementRefused(
            f"The lens model does not fit the board: {rms:.2f} px, {limits.most_rms_px:g} px are allowed.",
            do="Mount the print on something flat and stiff, hold it still, keep it in focus and without "
            "shine, and measure again.",
        )
    scale, extremes, distance_mm, lean_deg = _on_belt(views[0], board, matrix, distortion, size_px)
    lens = LensModel(
        camera_matrix=(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]),
        distortion=tuple(float(k) for k in distortion),  # type: ignore[arg-type]
        rms_px=rms,
        views=len(views),
    )
    return Geometry(
        lens=lens,
        mm_per_px=scale,
        mm_per_px_range=extremes,
        distance_mm=distance_mm,
        lean_deg=lean_deg,
        coverage=coverage,
        corners_px=np.concatenate([view.image_px for view in views]),
        residuals_px=np.concatenate(residuals),
        view_rms_px=tuple(float(np.sqrt((r**2).sum(axis=1).mean())) for r in residuals),
        size_px=size_px,
        advice=_advice(rms, extremes, limits),
    )


def covered(views: Sequence[BoardView], size_px: tuple[int, int]) -> NDArray[np.intp]:
    """(3, 3): corners found in each field of the picture, over all views."""
    points = np.concatenate([view.image_px for view in views])
    columns, rows = (
        (points[:, axis] * FIELDS / size_px[axis]).astype(int).clip(0, FIELDS - 1) for axis in (0, 1)
    )
    counts = np.zeros((FIELDS, FIELDS), np.intp)
    np.add.at(counts, (rows, columns), 1)
    return counts


def _views(
    camera: BenchCamera,
    operator: Operator,
    board: BoardSpec,
    limits: GeometryLimits,
    on_view: Callable[[ViewSeen], None],
) -> list[BoardView]:
    views: list[BoardView] = []
    for number in range(limits.views):
        operator.present(Target.BOARD, _pose_words(number), view=number)
        if number == 0:
            bring_into_range(camera)
        (image,) = camera.grab(1)
        view = find_board(image, camera.identity.pixel_format, board, number)
        if view is not None:
            views.append(view)
        elif number == 0:
            raise _no_flat_view()
        on_view(ViewSeen(number, 0 if view is None else len(view.image_px), len(views), limits.views))
    return views


def _no_flat_view() -> MeasurementRefused:
    return MeasurementRefused(
        "The board was not found flat on the belt, and this view gives the scale.",
        do="Lay it flat in the middle of the picture, whole and in focus, without shine, and check that "
        "columns, rows and dictionary are those of the print.",
    )


def _pose_words(number: int) -> str:
    if number == 0:
        return "Lay the board flat on the belt, in the middle of the picture."
    place = PLACES[(number - 1) % 9 // 3][(number - 1) % 3]
    where = "in the middle" if place == "middle" else f"towards the {place} of the picture"
    return f"Hold the board {where}, tilted by 15 to 30 degrees, another way than before."


def _check_views(
    views: Sequence[BoardView], board: BoardSpec, size_px: tuple[int, int], limits: GeometryLimits
) -> None:
    if len(views) < limits.least_views:
        raise MeasurementRefused(
            f"The board was found in {len(views)} views; {limits.least_views} are needed.",
            do="Keep the board whole in the picture, in focus, evenly lit and without shine; then show it "
            "again.",
        )
    homographies = [_homography(view.board_mm, view.image_px) for view in views]
    distinct = _distinct([_mapped(h, board.outline_mm) for h in homographies], limits.alike * size_px[0])
    if distinct < limits.least_views:
        raise MeasurementRefused(
            f"Only {distinct} of {len(views)} views differ from each other; {limits.least_views} are needed.",
            do="Move and tilt the board between views: to each corner of the picture, nearer and farther.",
        )
    tilted = sum(_foreshortening(h, board) > limits.least_tilt for h in homographies)
    if tilted < limits.least_tilted:
        raise MeasurementRefused(
            f"The board was tilted in {tilted} of {len(views)} views; {limits.least_tilted} are needed to "
            "tell the lens from the distance.",
            do="Tilt the board by 15 to 30 degrees, each time another way.",
        )


def _distinct(outlines: Sequence[Points], apart_px: float) -> int:
    kept: list[Points] = []
    for outline in outlines:
        if all(np.abs(outline - other).max() > apart_px for other in kept):
            kept.append(outline)
    return len(kept)


def _foreshortening(homography: Points, board: BoardSpec) -> float:
    """How much nearer one corner of the board is than another, relative."""
    depth = board.outline_mm @ homography[2, :2] + homography[2, 2]
    return float(depth.max() / depth.min() - 1)


def _check_coverage(coverage: NDArray[np.intp], limits: GeometryLimits) -> None:
    missing = [
        PLACES[row][column]
        for row in (0, 2)
        for column in (0, 2)
        if coverage[row, column] < limits.least_corners
    ]
    if missing:
        raise MeasurementRefused(
            f"The board did not reach the {' and the '.join(missing)} of the picture, where the lens bends "
            "most.",
            do=f"Show it there as well: {', '.join(missing)}.",
        )


def _calibrated(
    views: Sequence[BoardView], size_px: tuple[int, int]
) -> tuple[float, Points, Points, list[Points]]:
    """RMS, camera matrix (3, 3), distortion (5,), and the residuals of each view."""
    objects = [_on_plane(view.board_mm) for view in views]
    images = [view.image_px.astype(np.float32)[:, None] for view in views]
    rms, matrix, distortion, turns, places = cv2.calibrateCamera(objects, images, size_px, None, None)
    residuals = [
        view.image_px - cv2.projectPoints(plane, turn, place, matrix, distortion)[0].reshape(-1, 2)
        for view, plane, turn, place in zip(views, objects, turns, places, strict=True)
    ]
    return (
        float(rms),
        np.asarray(matrix, np.float64),
        np.asarray(distortion, np.float64).ravel()[:5],
        [np.asarray(residual, np.float64) for residual in residuals],
    )


def _on_plane(board_mm: Points) -> NDArray[np.float32]:
    return np.column_stack([board_mm, np.zeros(len(board_mm))]).astype(np.float32)


def _on_belt(
    flat: BoardView, board: BoardSpec, matrix: Points, distortion: Points, size_px: tuple[int, int]
) -> tuple[float, tuple[float, float], float, float]:
    """mm/px in the middle and over the board, distance to the belt in mm, lean of the camera in degrees."""
    seen = cv2.undistortPoints(flat.image_px[:, None], matrix, distortion, P=matrix)
    straight = np.asarray(seen, np.float64).reshape(-1, 2)
    to_mm = _homography(straight, flat.board_mm)
    _, turn, place = cv2.solvePnP(_on_plane(flat.board_mm), flat.image_px[:, None], matrix, distortion)
    normal = cv2.Rodrigues(turn)[0][:, 2]
    # Along the axis, which meets the board's plane at that depth.
    board_distance = float(normal @ place.ravel() / normal[2])
    distance = board_distance + board.thickness_mm / abs(float(normal[2]))
    to_belt = distance / board_distance
    middle = np.array([[(size_px[0] - 1) / 2, (size_px[1] - 1) / 2]])
    scales = _scale(to_mm, straight) * to_belt
    return (
        float(_scale(to_mm, middle)[0] * to_belt),
        (float(scales.min()), float(scales.max())),
        distance,
        float(np.degrees(np.arccos(min(1.0, abs(float(normal[2])))))),
    )


def _scale(to_mm: Points, places_px: Points) -> Points:
    """(n,) mm/px at places of the picture: the root of the homography's change of area."""
    third = places_px @ to_mm[2, :2] + to_mm[2, 2]
    return np.asarray(np.sqrt(abs(np.linalg.det(to_mm)) / np.abs(third) ** 3))


def _homography(of: Points, to: Points) -> Points:
    found, _ = cv2.findHomography(of, to)
    return np.asarray(found, np.float64)


def _mapped(homography: Points, points: Points) -> Points:
    return np.asarray(cv2.perspectiveTransform(points[:, None], homography).reshape(-1, 2), np.float64)


def _advice(rms: float, extremes: tuple[float, float], limits: GeometryLimits) -> tuple[str, ...]:
    said = []
    if rms > limits.good_rms_px:
        said.append(
            f"{rms:.2f} px is usable; a stiffer board, held still and in focus, brings it below "
            f"{limits.good_rms_px:g} px."
        )
    skew = extremes[1] / extremes[0] - 1
    if skew > limits.worst_skew:
        said.append(
            f"The scale changes by {skew:.1%} over the board: the camera leans against the belt. Level it, or "
            "trust mm/px in the middle only."
        )
    return tuple(said)
