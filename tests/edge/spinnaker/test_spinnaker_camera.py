"""The whole camera over the Spinnaker driver, on the double: parts, lost triggers, unplug and return."""

import functools
import threading

import pytest

from edge.camera.genicam import GenICamCamera
from edge.camera.spinnaker import SpinnakerDriver
from edge.errors import ConfigError
from edge.messages import FrameStatus

PERIOD_MS = 100.0


class Line:
    """Parts pass at a fixed rate while the camera waits; things may happen at a part's number."""

    def __init__(self, pyspin, camera, config, clock, tmp_path):
        self.pyspin, self.camera, self.clock, self.stop = pyspin, camera, clock, threading.Event()
        self.triggers, self.events, self.part = [], {}, 0
        camera.now_ns = lambda: clock.now_ns() + 7_000_000_000
        camera.idle = self.wait
        opener = functools.partial(SpinnakerDriver, pyspin=pyspin, now_ns=clock.now_ns, root=tmp_path)
        self.opened = GenICamCamera(config, self.triggers.append, clock, opener, self)

    def run(self, call, meanwhile):
        """Calls that may be slow, made directly."""
        return call()

    def wait(self, timeout_ms):
        self.clock.advance_ms(min(timeout_ms, PERIOD_MS))
        self.part += 1
        self.events.get(self.part, self.camera.pulse)()

    def frames(self, count):
        got = []
        for frame in self.opened.frames(self.stop):
            got.append(frame)
            if len(got) == count:
                break
        return got


@pytest.fixture
def line(pyspin, camera, config, stepped_clock, tmp_path):
    made = []

    def make(**changes):
        made.append(Line(pyspin, camera, config(**changes), stepped_clock, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.opened.close()
    assert pyspin.bus.references == 0
    assert pyspin.bus.held() == []


def test_each_pulse_is_one_part(line):
    running = line()
    frames = running.frames(20)
    assert [frame.part_id for frame in frames] == list(range(1, 21))
    assert [frame.status for frame in frames] == [FrameStatus.OK] * 20
    assert len(running.triggers) == 20


def test_a_trigger_that_the_camera_drops_is_a_part_without_a_picture(line, camera):
    running = line(trigger={"overlap": "off"})

    def two_at_once():
        camera.pulse()
        camera.pulse()  # during the readout of the first

    running.events = {5: two_at_once}
    frames = running.frames(20)
    assert running.opened.counters().id_gaps == 0
    part_ids = [frame.part_id for frame in frames]
    (missing,) = set(range(1, 22)) - set(part_ids)
    assert missing in (5, 6)
    assert [trigger.part_id for trigger in running.triggers] == list(range(1, 22))


def test_a_picture_lost_in_the_camera_is_a_part_without_a_picture(line, camera):
    running = line()
    camera.fail_next("ok", "ok", "lost", "ok")
    assert [frame.part_id for frame in running.frames(4)] == [1, 2, 4, 5]
    assert [trigger.part_id for trigger in running.triggers] == [1, 2, 3, 4, 5]
    assert running.opened.counters().id_gaps == 1


def test_an_incomplete_picture_keeps_its_part(line, camera):
    running = line()
    camera.fail_next("ok", "incomplete", "ok")
    frames = running.frames(3)
    assert [frame.part_id for frame in frames] == [1, 2, 3]
    assert [frame.status for frame in frames] == [FrameStatus.OK, FrameStatus.INCOMPLETE, FrameStatus.OK]


@pytest.mark.parametrize("shows_by", ["event", "valid", "io"])
def test_after_an_unplug_the_camera_goes_on_by_itself(line, camera, shows_by):
    running = line()
    camera.shows_unplug_by, camera.timeouts_after_unplug = {shows_by}, 0
    looks = []
    find = running.pyspin.System.GetInstance

    def find_on_the_third_look():
        looks.append(running.clock.now_ns())
        if len(looks) == 3:
            camera.plug()
        return find()

    running.events = {5: camera.unplug}
    running.pyspin.System.GetInstance = find_on_the_third_look
    frames = running.frames(10)
    assert len(looks) == 3
    assert running.opened.counters().reconnects == 1
    assert [frame.part_id for frame in frames] == sorted({frame.part_id for frame in frames})
    assert looks[2] - looks[1] > looks[1] - looks[0]  # it waits longer each time


def test_a_camera_that_comes_back_and_does_not_take_its_settings_ends_it(line, camera):
    running = line()

    def swap():
        camera.unplug()
        camera.plug()
        camera.without |= {"ChunkModeActive"}

    running.events = {3: swap}
    with pytest.raises(ConfigError, match="ChunkModeActive"):
        running.frames(10)
