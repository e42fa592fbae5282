"""What every camera keeps to, whatever gives it its frames.

A backend is a function that opens a camera of at least `PARTS` parts on a stepped clock; add it to `BACKENDS`.
"""

import functools
import itertools
import math
import threading

import numpy as np
import pytest
from PIL import Image

from edge.camera import CameraCounters, open_camera
from edge.camera.driver import DeviceHealth
from edge.camera.genicam import GenICamCamera
from edge.camera.spinnaker import SpinnakerDriver
from edge.camera_config import (
    AravisCameraConfig,
    ReplayCameraConfig,
    SpinnakerCameraConfig,
    SyntheticCameraConfig,
    TriggerConfig,
)
from edge.messages import FrameStatus, PixelFormat

PARTS = 4


def replay_folder(request, on_trigger, clock, timing="fast"):
    folder = request.getfixturevalue("tmp_path") / "pictures"
    folder.mkdir()
    for number in range(PARTS):
        mode = ("L", "RGB")[number % 2]
        Image.new(mode, (12, 8)).save(folder / f"{number}.png")
    config = ReplayCameraConfig(backend="replay", source=folder, timing=timing)
    return open_camera(config, on_trigger, clock)


def replay_folder_at_a_rate(request, on_trigger, clock):
    return replay_folder(request, on_trigger, clock, timing="rate")


def replay_run(request, on_trigger, clock):
    source = request.getfixturevalue("recorded_run")
    config = ReplayCameraConfig(backend="replay", source=source, timing="recorded")
    return open_camera(config, on_trigger, clock)


def synthetic(request, on_trigger, clock):
    config = SyntheticCameraConfig(backend="synthetic", parts=PARTS, width_px=512, height_px=512)
    return open_camera(config, on_trigger, clock)


def aravis(request, on_trigger, clock):
    """Over a real GigE Vision wire; see tests/camera."""
    serial = request.getfixturevalue("loopback_camera").serial
    trigger = {"mode": "software", "rate_per_min": 1200}
    config = AravisCameraConfig(
        backend="aravis", serial=serial, exposure_us=400, packet_size=8192, trigger=trigger
    )
    return open_camera(config, on_trigger, clock)


def spinnaker_double(request, on_trigger, clock):
    """The driver of the maker's SDK, on a double of that SDK: no proof of a camera."""
    double = request.getfixturevalue("pyspin_double")
    device = double.Blackfly("23456789")
    device.now_ns, device.idle = (lambda: clock.now_ns() + 7_000_000_000), clock.advance_ms
    config = SpinnakerCameraConfig(
        backend="spinnaker",
        serial=device.serial,
        exposure_us=200.0,
        region_px=(0, 0, 64, 48),
        trigger=TriggerConfig(mode="software"),
    )
    opener = functools.partial(SpinnakerDriver, pyspin=double.make_pyspin(device), now_ns=clock.now_ns)
    return GenICamCamera(config, on_trigger, clock, opener)


BACKENDS = [replay_folder, replay_folder_at_a_rate, replay_run, synthetic, aravis, spinnaker_double]


class Opened:
    """An opened camera and the triggers that it told of."""

    def __init__(self, backend, request, clock):
        self.triggers = []
        self.camera = backend(request, self.triggers.append, clock)
        self.clock, self.stop = clock, threading.Event()

    def frames(self, count=PARTS):
        """The first frames; the camera is then stopped."""
        got = []
        for frame in self.camera.frames(self.stop):
            got.append(frame)
            if len(got) == count:
                self.stop.set()
        return got


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.__name__)
def opened(request, stepped_clock):
    opened = Opened(request.param, request, stepped_clock)
    yield opened
    opened.camera.close()


def test_nothing_happens_before_the_first_frame_is_asked_for(opened):
    assert opened.triggers == []
    assert opened.camera.counters() == CameraCounters()


def test_it_says_what_it_is(opened):
    assert opened.camera.live in (True, False)
    assert opened.camera.description
    assert "\n" not in opened.camera.description


def test_each_trigger_is_told_before_its_frame(opened):
    for count, frame in enumerate(opened.camera.frames(opened.stop), start=1):
        assert opened.triggers[-1].part_id == frame.part_id
        assert opened.triggers[-1].triggered_ns == frame.triggered_ns <= frame.captured_ns
        assert frame.captured_ns <= opened.clock.now_ns()
        assert len(opened.triggers) == count
        if count == PARTS:
            break


def test_part_ids_and_trigger_times_rise(opened):
    opened.frames()
    part_ids = [trigger.part_id for trigger in opened.triggers]
    times = [trigger.triggered_ns for trigger in opened.triggers]
    assert part_ids == sorted(set(part_ids))
    assert part_ids[0] > 0
    assert times == sorted(times)


def test_frame_ids_rise(opened):
    frame_ids = [frame.frame_id for frame in opened.frames()]
    assert frame_ids == sorted(set(frame_ids))


def test_images_are_as_their_format_says(opened):
    for frame in opened.frames():
        assert frame.status is FrameStatus.OK
        assert frame.image.dtype == np.uint8
        assert not frame.image.flags.writeable
        assert frame.image.shape[2:] == ((3,) if frame.pixel_format is PixelFormat.RGB8 else ())
        assert math.isnan(frame.exposure_us) or frame.exposure_us > 0


def test_images_do_not_share_memory(opened):
    frames = opened.frames()
    for before, after in itertools.pairwise(frames):
        assert not np.shares_memory(before.image, after.image)


def test_a_stop_ends_it(opened):
    assert len(opened.frames(count=2)) == 2
    assert len(opened.triggers) == 2


def test_a_stop_before_the_start_gives_nothing(opened):
    opened.stop.set()
    assert opened.frames() == []
    assert opened.triggers == []


def test_counters_can_be_read_from_another_thread(opened):
    opened.frames()
    found = []
    thread = threading.Thread(target=lambda: found.append(opened.camera.counters()))
    thread.start()
    thread.join()
    assert found == [CameraCounters(triggers=PARTS, delivered=PARTS)]


def test_frames_can_come_in_another_thread(opened):
    found = []
    thread = threading.Thread(target=lambda: found.extend(opened.frames()))
    thread.start()
    thread.join()
    assert len(found) == PARTS


def test_it_is_there_as_long_as_it_is_open(opened):
    opened.frames(count=1)
    assert isinstance(opened.camera.health(), DeviceHealth)


def test_it_can_be_closed_twice(opened):
    opened.frames(count=1)
    opened.camera.close()
    opened.camera.close()
