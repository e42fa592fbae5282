"""Tiles cover the region, overlap as asked, and their maps meet where the region's pixels do."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import FrameError
from edge.manifest import Tiles
from edge.tiles import SMALLEST_TILE_PX, stitched, tile_boxes

REGIONS = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(300, 4096), st.integers(300, 2160))
TILES = st.builds(
    Tiles, rows=st.integers(1, 6), columns=st.integers(1, 6), overlap=st.floats(0, 0.5, allow_nan=False)
)


def test_without_tiles_the_region_is_the_only_box():
    region = (3, 5, 101, 77)
    assert tile_boxes(region, None) == (region,)
    grid = np.ones((4, 4), np.float32)
    assert stitched([grid], (region,), region) is grid


@given(region=REGIONS, tiles=TILES)
@settings(deadline=None, max_examples=150)
def test_tiles_cover_the_region_and_nothing_else(region, tiles):
    x, y, width, height = region
    boxes = tile_boxes(region, tiles)
    assert len(boxes) == tiles.rows * tiles.columns
    assert len({box[2:] for box in boxes}) == 1
    covered = np.zeros((height, width), bool)
    for left, top, w, h in boxes:
        assert x <= left <= left + w <= x + width
        assert y <= top <= top + h <= y + height
        covered[top - y : top - y + h, left - x : left - x + w] = True
    assert covered.all()


@given(region=REGIONS, tiles=TILES)
@settings(deadline=None, max_examples=60)
def test_neighbours_share_what_was_asked_for(region, tiles):
    boxes = tile_boxes(region, tiles)
    row = boxes[: tiles.columns]
    for before, after in itertools.pairwise(row):
        shared = before[0] + before[2] - after[0]
        assert shared >= tiles.overlap * before[2] - 4  # corners are moved to even pixels


def test_tiles_start_on_even_pixels_so_that_the_bayer_phase_stays():
    boxes = tile_boxes((0, 0, 1000, 700), Tiles(rows=3, columns=4, overlap=0.13))
    assert all(left % 2 == top % 2 == 0 for left, top, _, _ in boxes)


def test_a_spot_is_found_where_it_is():
    region, tiles = (100, 40, 1200, 800), Tiles(rows=2, columns=3, overlap=0.2)
    boxes = tile_boxes(region, tiles)
    spot_x, spot_y = 730, 455  # of the raw frame
    maps = []
    for left, top, w, h in boxes:
        tile = np.zeros((64, 64), np.float32)
        if left <= spot_x < left + w and top <= spot_y < top + h:
            tile[int((spot_y - top) * 64 / h), int((spot_x - left) * 64 / w)] = 1
        maps.append(tile)
    whole = stitched(maps, boxes, region)
    rows, columns = np.nonzero(whole)
    assert len(rows) >= 1
    scale_y, scale_x = region[3] / whole.shape[0], region[2] / whole.shape[1]
    assert np.abs(region[1] + (rows + 0.5) * scale_y - spot_y).max() < 2 * scale_y
    assert np.abs(region[0] + (columns + 0.5) * scale_x - spot_x).max() < 2 * scale_x


@given(region=REGIONS, tiles=TILES)
@settings(deadline=None, max_examples=40)
def test_the_stitched_map_is_whole_and_the_larger_value_counts(region, tiles):
    boxes = tile_boxes(region, tiles)
    whole = stitched([np.full((32, 32), k, np.float32) for k in range(len(boxes))], boxes, region)
    assert np.isfinite(whole).all()
    assert whole.max() == len(boxes) - 1
    assert whole[-1, -1] == len(boxes) - 1


def test_not_a_number_is_handed_on():
    region, tiles = (0, 0, 400, 400), Tiles(rows=1, columns=2, overlap=0.3)
    boxes = tile_boxes(region, tiles)
    spoilt = np.zeros((16, 16), np.float32)
    spoilt[:, -1] = np.nan  # where the neighbour overlaps
    assert np.isnan(stitched([spoilt, np.ones((16, 16), np.float32)], boxes, region)).any()


def test_a_region_too_small_for_its_tiles_is_refused():
    with pytest.raises(FrameError, match="cannot be cut into 8 tiles"):
        tile_boxes((0, 0, SMALLEST_TILE_PX * 2, 400), Tiles(rows=1, columns=8))
