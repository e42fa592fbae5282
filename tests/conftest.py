"""Fixtures that more than one room's tests use."""

import math
import threading

import numpy as np
import pytest

from edge.config import RecordsConfig
from edge.messages import (
    ActionKind,
    Frame,
    FrameStatus,
    Outcome,
    PixelFormat,
    Reason,
)
from edge.records import PartRecord, RecordStore, RunInfo


class SteppedClock:
    """Time that moves only when somebody waits or says so. It does not model that work takes time."""

    def __init__(self, now_ns=1_000_000_000):
        self._now_ns = now_ns
        self._lock = threading.Lock()

    def now_ns(self):
        return self._now_ns

    def wait_until(self, due_ns, stop):
        if stop.is_set():
            return True
        with self._lock:
            self._now_ns = max(self._now_ns, due_ns)
        return stop.is_set()

    def advance_ms(self, milliseconds):
        with self._lock:
            self._now_ns += round(milliseconds * 1e6)


@pytest.fixture
def stepped_clock():
    return SteppedClock()


@pytest.fixture
def run_info():
    def make(**changes):
        content = {
            "station": "test",
            "bundle_id": "b" * 64,
            "bundle": "/bundles/demo",
            "config_id": "c" * 64,
            "config_yaml": "station: test\n",
            "runner": "test runner",
            "camera": "test camera",
            "thresholds": {"score": 0.5, "map": None, "min_area_px": 0.0},
            "preprocessing": {"height_px": 518, "width_px": 518, "mean": [0.48, 0.46, 0.41]},
            "software": "0.1.0",
            "started_utc": "2024-05-06T07:08:09.123Z",
            "started_ns": 123_456_789,
        }
        return RunInfo(**(content | changes))

    return make


@pytest.fixture
def part_record():
    """Makes records of good parts, with every change asked for."""

    def make(part_id, **changes):
        content = {
            "part_id": part_id,
            "frame_id": part_id,
            "triggered_ns": 1_000_000_000 + part_id * 250_000_000,
            "triggered_utc": f"2024-05-06T07:08:{part_id % 60:02d}.000Z",
            "captured_ns": 1_020_000_000 + part_id * 250_000_000,
            "decided_ns": 1_080_000_000 + part_id * 250_000_000,
            "due_ns": 1_400_000_000 + part_id * 250_000_000,
            "frame_status": FrameStatus.OK,
            "pixel_format": PixelFormat.MONO8,
            "exposure_us": 120.5,
            "gain_db": 0.0,
            "source": "",
            "score": 0.25,
            "threshold": 0.5,
            "outcome": Outcome.PASS,
            "reasons": (),
            "regions": (),
            "action": ActionKind.HOLD,
            "margin_ms": 320.0,
            "preprocess_ms": 8.5,
            "runner_ms": 40.25,
            "anomaly_map_ms": 2.0,
            "decide_ms": 0.125,
            "bundle_id": "b" * 64,
            "config_id": "c" * 64,
        }
        return PartRecord(**(content | changes))

    return make


@pytest.fixture
def reject_record(part_record):
    """Makes records of rejected parts."""

    def make(part_id, **changes):
        rejected = {"outcome": Outcome.REJECT, "reasons": (Reason.SCORE,), "action": ActionKind.FIRE}
        return part_record(part_id, **(rejected | changes))

    return make


@pytest.fixture
def noise_image():
    """Makes read-only images that do not compress, different for each seed."""

    def make(seed, shape=(48, 64)):
        image = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        image.flags.writeable = False
        return image

    return make


@pytest.fixture
def raw_frame(noise_image):
    """Makes Mono8 frames of noise."""

    def make(part_id, shape=(48, 64), **changes):
        content = {
            "part_id": part_id,
            "frame_id": part_id,
            "triggered_ns": 1_000_000_000 + part_id * 250_000_000,
            "captured_ns": 1_020_000_000 + part_id * 250_000_000,
            "image": noise_image(part_id, shape),
            "pixel_format": PixelFormat.MONO8,
            "exposure_us": 120.5,
            "gain_db": 0.0,
        }
        return Frame(**(content | changes))

    return make


@pytest.fixture
def open_store(tmp_path):
    """Opens record stores in the test's own directory, and closes them in the end."""
    stores = []

    def make(directory=tmp_path / "records", **changes):
        config = RecordsConfig.model_validate({"directory": directory, "keep_frames": "all"} | changes)
        stores.append(RecordStore(config))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def recorded_run(open_store, run_info, part_record, raw_frame):
    """A records directory with one clean run of parts 11 to 15; the frame of part 13 was not kept.

    The triggers are 250 ms apart.
    """
    store = open_store()
    run = store.begin_run(run_info())
    for part_id in range(11, 16):
        picture = None if part_id == 13 else store.archive.write(run, part_id, raw_frame(part_id).image)
        path = None if picture is None else picture.path
        exposure_us = math.nan if part_id == 15 else 100.0 + part_id
        record = part_record(part_id, frame_id=part_id + 500, exposure_us=exposure_us, image_path=path)
        store.append([record], [picture] if picture else [])
    store.end_run({"triggers": 5})
    store.close()
    return store.directory
