"""Geometry against the simulation's truth, the lens correction on the line, and what is refused."""

import cv2
import numpy as np
import pytest

from calibration.camera.bench import Target
from calibration.camera.board import BoardSpec, find_board
from calibration.camera.geometry import (
    BoardView,
    Geometry,
    GeometryLimits,
    geometry_of,
    measure_geometry,
)
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lens import SimulatedLens
from edge.correction import Correction, LensMap
from edge.errors import ConfigError
from edge.messages import PixelFormat
from edge.preprocess import develop

SPEC = BoardSpec()
SIZE = (1024, 540)


class Hand:
    """An operator who shows other views than he is asked for."""

    def __init__(self, bench, view_of):
        self.bench, self.view_of = bench, view_of

    def present(self, target, what, view=0):
        """The view that `view_of` makes of the one asked for."""
        self.bench.present(target, what, self.view_of(view))


@pytest.fixture(scope="module")
def bench():
    """Colour, with the barrel distortion of a short lens."""
    return SimulatedBench(*SIZE, seed=2)


@pytest.fixture(scope="module")
def found(bench):
    """What twenty views give."""
    return measure_geometry(bench, bench, SPEC)


def test_scale_on_the_belt_within_half_a_per_cent(bench, found):
    assert found.mm_per_px == pytest.approx(bench.truth.mm_per_px, rel=0.005)
    low, high = found.mm_per_px_range
    assert high / low - 1 < 0.005


def test_lens_and_distance_are_the_truths(bench, found):
    truth = bench.truth
    fx, fy, cx, cy = found.lens.camera_matrix
    assert (fx, fy) == pytest.approx((truth.camera_matrix[0, 0],) * 2, rel=0.005)
    assert (cx, cy) == pytest.approx(truth.camera_matrix[:2, 2], abs=2.0)
    assert found.lens.distortion[0] == pytest.approx(truth.distortion[0], abs=0.01)
    assert found.distance_mm == pytest.approx(truth.working_distance_mm, rel=0.005)
    assert found.lens.rms_px < 0.3
    assert found.lens.views == 20
    assert found.parallax(10.0) == pytest.approx(10 / 290, rel=0.01)


def test_settings_are_as_before(bench, found):
    assert bench.settings.exposure_us == 1000.0
    assert isinstance(found, Geometry)


def test_corners_are_evenly_spaced_once_the_line_has_corrected_the_lens(bench, found):
    """20 mm from corner to corner, anywhere on the belt, in the line's own corrected picture."""
    fx, fy, cx, cy = found.lens.camera_matrix
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    x, y = cv2.initUndistortRectifyMap(
        matrix, np.array(found.lens.distortion), np.eye(3), matrix, SIZE, cv2.CV_32FC1
    )
    flat = np.zeros(SIZE[::-1], np.float32), np.ones(SIZE[::-1], np.float32), np.zeros((0, 2), np.intp)
    correction = Correction("", *flat, 2, LensMap(x, y))
    bench.present(Target.BOARD, "", 0)
    (raw,) = bench.grab(1)
    straight = cv2.cvtColor(develop(raw, PixelFormat.BAYER_RG8, None, correction), cv2.COLOR_RGB2GRAY)
    seen = find_board(straight, PixelFormat.MONO8, SPEC, 0)
    assert seen is not None
    spans = [
        np.linalg.norm(seen.image_px[a] - seen.image_px[b])
        / np.linalg.norm(seen.board_mm[a] - seen.board_mm[b])
        for a, b in ((0, -1), (0, 10), (5, 60), (20, 40))
    ]
    assert 1 / np.array(spans) == pytest.approx(bench.truth.mm_per_px, rel=0.005)


def test_a_thick_board_is_taken_off_again():
    views = _computed_views(distance_mm=290.0)
    thick = geometry_of(views, BoardSpec(thickness_mm=10.0), SIZE, GeometryLimits())
    thin = geometry_of(views, SPEC, SIZE, GeometryLimits())
    assert thin.mm_per_px == pytest.approx(290.0 / 580, rel=1e-3)
    assert thick.mm_per_px == pytest.approx(300.0 / 580, rel=1e-3)
    assert thick.distance_mm == pytest.approx(300.0, rel=1e-3)


def test_a_leaning_camera_is_noticed():
    found = geometry_of(_computed_views(lean=0.1), SPEC, SIZE, GeometryLimits())
    assert found.lean_deg == pytest.approx(np.degrees(0.1), rel=0.01)
    assert any("leans" in line for line in found.advice)


def test_no_board_is_refused_at_once(bench):
    asked = []

    class Empty:
        def present(self, target, what, view=0):
            asked.append(view)
            bench.present(Target.PART, what)

    with pytest.raises(MeasurementRefused, match="not found flat on the belt"):
        measure_geometry(bench, Empty(), SPEC)
    assert asked == [0]


def test_another_print_is_not_taken_for_the_board(bench):
    with pytest.raises(MeasurementRefused, match="not found") as refusal:
        measure_geometry(bench, bench, BoardSpec(dictionary="DICT_6X6_100"))
    assert "dictionary" in refusal.value.do


def test_views_all_alike_are_refused(bench):
    with pytest.raises(MeasurementRefused, match="differ from each other") as refusal:
        measure_geometry(bench, Hand(bench, lambda view: min(view, 1)), SPEC, GeometryLimits(views=14))
    assert "tilt" in refusal.value.do


def test_too_few_views_are_refused():
    with pytest.raises(MeasurementRefused, match="in 8 views; 12 are needed"):
        geometry_of(_computed_views()[:8], SPEC, SIZE, GeometryLimits())


def test_a_board_that_was_never_tilted_is_refused():
    with pytest.raises(MeasurementRefused, match="tilted in 0 of") as refusal:
        geometry_of(_computed_views(tilt=0.0), SPEC, SIZE, GeometryLimits())
    assert "15 to 30 degrees" in refusal.value.do


def test_the_missing_corner_of_the_picture_is_named():
    views = _computed_views()
    short = [
        _without(view, lambda px: (px[:, 0] < SIZE[0] / 3) & (px[:, 1] > 2 * SIZE[1] / 3)) for view in views
    ]
    with pytest.raises(MeasurementRefused, match="lower left of the picture"):
        geometry_of(short, SPEC, SIZE, GeometryLimits())


def test_a_bent_board_is_refused():
    rng = np.random.default_rng(1)
    bent = [
        BoardView(view.number, view.board_mm, view.image_px + rng.normal(0, 1.2, view.image_px.shape))
        for view in _computed_views()
    ]
    with pytest.raises(MeasurementRefused, match="does not fit the board"):
        geometry_of(bent, SPEC, SIZE, GeometryLimits())


@pytest.mark.parametrize(
    "wrong",
    [
        {"marker_mm": 25.0},  # larger than its square
        {"columns": 2},
        {"dictionary": "DICT_9X9"},
        {"dictionary": "detail"},
        {"dictionary": "DICT_4X4_50"},  # 54 markers on the board
        {"thickness_mm": -1.0},
    ],
)
def test_boards_that_do_not_exist(wrong):
    with pytest.raises(ConfigError):
        BoardSpec(**wrong)


def test_a_straighter_lens(bench):
    straight = SimulatedBench(*SIZE, seed=3, lens=SimulatedLens(k1=0.0, k2=0.0, working_distance_mm=280.0))
    found = measure_geometry(straight, straight, SPEC, GeometryLimits(views=15))
    assert found.mm_per_px == pytest.approx(straight.truth.mm_per_px, rel=0.005)
    assert abs(found.lens.distortion[0]) < 0.01


def _computed_views(distance_mm=300.0, tilt=0.4, lean=0.0):
    """Corners by the pinhole model itself, without pictures: 15 views, the first flat on the belt."""
    corners = np.asarray(SPEC.charuco().getChessboardCorners(), np.float64)
    middle = np.array([SPEC.columns * SPEC.square_mm / 2, SPEC.rows * SPEC.square_mm / 2, 0.0])
    matrix = np.array([[580.0, 0, 511.5], [0, 580.0, 269.5], [0, 0, 1]])
    views = []
    for number in range(15):
        turn = np.array([0.0, lean, 0.0])
        away = np.array([0.0, 0.0, distance_mm])
        if number:
            cell, angle = (number - 1) % 9, 2.4 * number
            depth = distance_mm * (0.8 + 0.01 * number)
            turn = np.array([tilt * np.cos(angle), tilt * np.sin(angle), 0.02 * number])
            away = np.array([(cell % 3 - 1) * 0.36 * depth, (cell // 3 - 1) * 0.13 * depth, depth])
        place = away - cv2.Rodrigues(turn)[0] @ middle
        px = cv2.projectPoints(corners, turn, place, matrix, np.zeros(5))[0].reshape(-1, 2)
        view = BoardView(number, corners[:, :2], px)
        views.append(_without(view, lambda px: ~((px >= 0) & (px <= (1023, 539))).all(axis=1)))
    return views


def _without(view, hidden):
    seen = ~hidden(view.image_px)
    return BoardView(view.number, view.board_mm[seen], view.image_px[seen])
