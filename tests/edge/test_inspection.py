"""A frame through the shipped demo bundle, whole and in tiles."""

from pathlib import Path

import numpy as np
import pytest

from edge.bundle import open_bundle
from edge.camera.scene import PRODUCTS, Line, part_roi_px
from edge.clock import MonotonicClock
from edge.config import OnnxRuntimeConfig
from edge.errors import FrameError
from edge.inspection import Inspector, effective_preprocessing
from edge.manifest import Tiles
from edge.messages import Frame, PixelFormat
from edge.runner import open_runner
from edge.tiles import tile_boxes

BUNDLE = Path(__file__).resolve().parents[2] / "models" / "demo"
WIDTH, HEIGHT = 1024, 540
REGION = part_roi_px(WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def opened():
    bundle = open_bundle(BUNDLE)
    runner = open_runner(bundle, OnnxRuntimeConfig(threads=1))
    yield bundle, runner
    runner.close()


@pytest.fixture(scope="module")
def frame():
    line = Line(PRODUCTS["turned-ring"], seed=3, defect_share=0.0, width=WIDTH, height=HEIGHT)
    image = line.part(1).image
    return Frame(1, 1, 0, 0, image, PixelFormat.BAYER_RG8)


def inspector(opened, region, tiles=None):
    bundle, runner = opened
    return Inspector(bundle, runner, effective_preprocessing(bundle, region, tiles), MonotonicClock().now_ns)


def test_tiles_are_each_inspected_and_the_worst_counts(opened, frame):
    tiles = Tiles(rows=1, columns=2, overlap=0.25)
    whole = inspector(opened, REGION, tiles).inspect(frame)
    each = [inspector(opened, box).inspect(frame) for box in tile_boxes(REGION, tiles)]
    assert whole.score == max(view.score for view in each)
    assert whole.roi_px == REGION
    assert whole.anomaly_map.max() == max(view.anomaly_map.max() for view in each)
    assert whole.anomaly_map.shape[1] > each[0].anomaly_map.shape[1]
    assert whole.timings.runner_ms > 0


def test_tiles_are_part_of_what_a_threshold_belongs_to(opened):
    bundle, _ = opened
    plain = effective_preprocessing(bundle, REGION)
    tiled = effective_preprocessing(bundle, REGION, Tiles(rows=2, columns=2))
    assert plain.identity() != tiled.identity()


def test_a_frame_without_a_picture_is_refused(opened):
    empty = Frame(1, 1, 0, 0, None, PixelFormat.BAYER_RG8)
    with pytest.raises(FrameError, match="has no picture"):
        inspector(opened, None).inspect(empty)


def test_the_same_frame_gives_the_same_bits(opened, frame):
    looked = inspector(opened, REGION, Tiles(rows=2, columns=1))
    first, again = looked.inspect(frame), looked.inspect(frame)
    assert first.score == again.score
    np.testing.assert_array_equal(first.anomaly_map, again.anomaly_map)
