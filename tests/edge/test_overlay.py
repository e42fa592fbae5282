"""Masks on the map's grid, and one colour scale for all parts."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.manifest import Preprocessing
from edge.messages import Frame, PixelFormat
from edge.overlay import (
    OUTLINE,
    MapScale,
    colours,
    mask_on_map,
    outlined,
    overlaid,
    run_scale,
    thumbnail,
)

GREY = np.full((40, 40, 3), 128, np.uint8)


def is_outline(picture):
    """Which pixels have the colour of the outline, but for its smooth edges."""
    return np.abs(picture.astype(int) - OUTLINE).max(axis=2) < 40


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 39), st.integers(0, 39))
def test_a_map_pixel_is_defect_when_any_defect_pixel_lies_in_it(height, width, size, row, column):
    """Against the definition: two half-open intervals overlap, in each direction, for one defect pixel."""
    row, column = row % height, column % width
    mask = np.zeros((height, width), bool)
    mask[row, column] = True
    cells = np.arange(size)

    def touched(pixel, length):
        return (cells * length < (pixel + 1) * size) & ((cells + 1) * length > pixel * size)

    expected = touched(row, height)[:, None] & touched(column, width)[None]
    assert np.array_equal(mask_on_map(mask, (0, 0, width, height), size), expected)


def test_the_thinnest_scratch_does_not_vanish():
    mask = np.zeros((2000, 2000), bool)
    mask[100:1900, 777] = True
    assert mask_on_map(mask, (0, 0, 2000, 2000), 100)[5:95].any(axis=1).all()


def test_a_mask_of_the_same_size_stays_as_it_is():
    mask = np.random.default_rng(1).random((31, 31)) < 0.2
    assert np.array_equal(mask_on_map(mask, (0, 0, 31, 31), 31), mask)


def test_a_map_need_not_be_square():
    mask = np.zeros((60, 90), bool)
    mask[25, 44] = True
    found = mask_on_map(mask, (0, 0, 90, 60), (6, 3))
    assert found.shape == (6, 3)
    assert np.argwhere(found).tolist() == [[2, 1]]


def test_only_the_inspected_region_counts():
    mask = np.zeros((100, 200), bool)
    mask[10:20, 150:160] = True  # inside the region: the cells of row 0 and column 2
    mask[90:, :40] = True  # outside
    found = mask_on_map(mask, (100, 0, 100, 80), 4)
    assert np.argwhere(found).tolist() == [[0, 2]]


def test_one_scale_shows_equal_values_alike_on_every_part():
    scale = MapScale(0.2, 0.9)
    weak, strong = np.full((40, 40), 0.3, np.float32), np.full((40, 40), 0.3, np.float32)
    strong[:10] = 0.9
    assert np.array_equal(overlaid(GREY, weak, scale)[20:], overlaid(GREY, strong, scale)[20:])


def test_noise_on_good_parts_is_not_painted_as_a_finding():
    rng = np.random.default_rng(2)
    quiet = [(0.3 + 0.004 * rng.normal(size=(40, 40))).astype(np.float32) for _ in range(8)]
    painted = overlaid(GREY, quiet[0], run_scale(quiet))
    assert np.abs(painted.astype(int) - 128).mean() < 16


def test_the_scale_reaches_from_the_background_to_the_hottest_maps():
    maps = [np.full((40, 40), 0.1, np.float32) for _ in range(20)]
    maps[3][10:20, 10:20] = 0.8
    scale = run_scale(maps)
    assert scale.low == pytest.approx(0.1)
    assert 0.4 < scale.high <= 0.8


def test_the_scale_holds_the_threshold():
    maps = [np.full((40, 40), 0.1, np.float32)]
    assert run_scale(maps, threshold=0.7).high > 0.7


def test_maps_that_are_not_finite_do_not_make_the_scale():
    maps = [np.full((4, 4), np.nan, np.float32), np.full((4, 4), 0.5, np.float32)]
    assert run_scale(maps).low == 0.5
    assert run_scale(maps[:1]) == MapScale(0.0, 1.0)


def test_the_colours_get_steadily_brighter():
    ramp = colours(np.linspace(0, 1, 256, dtype=np.float32)[None])[0]
    lightness = cv2.cvtColor(ramp[None], cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(lightness) >= -1).all()  # rounding
    assert lightness[-1] - lightness[0] > 200


def test_the_outline_is_drawn_around_the_defect_and_not_over_it():
    mask = np.zeros((40, 40), bool)
    mask[15:25, 15:25] = True
    drawn = outlined(GREY, mask, 160)
    inside = np.s_[64:96, 64:96]
    assert is_outline(drawn).sum() > 4 * 40
    assert (drawn[inside] == 128).all()


def test_without_a_defect_nothing_is_outlined():
    assert (outlined(GREY, np.zeros((40, 40), bool), 80) == 128).all()


@pytest.mark.parametrize(
    ("shape", "pixel_format"),
    [((30, 50), PixelFormat.MONO8), ((30, 50), PixelFormat.BAYER_RG8), ((30, 50, 3), PixelFormat.RGB8)],
)
def test_a_thumbnail_is_what_the_model_sees(shape, pixel_format):
    spec = Preprocessing(height_px=16, width_px=16, roi_px=(10, 0, 30, 30), mean=(0, 0, 0), std=(1, 1, 1))
    image = np.zeros(shape, np.uint8)
    image[:, 10:40] = 90
    seen = thumbnail(Frame(1, 1, 0, 0, image, pixel_format), spec)
    assert seen.shape == (16, 16, 3)
    assert (seen[:, 4:-4] == 90).all()


def test_a_frame_without_a_picture_has_no_thumbnail():
    spec = Preprocessing(height_px=16, width_px=16, mean=(0, 0, 0), std=(1, 1, 1))
    assert thumbnail(Frame(1, 1, 0, 0, None, PixelFormat.MONO8), spec) is None
