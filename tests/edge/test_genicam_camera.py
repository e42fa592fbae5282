"""GenICamCamera on a driver that is told what to do, in stepped time.

The driver is a double: each call takes no time but what it is told to, and nothing of a device's library is
modelled.
"""

import itertools
import threading

import numpy as np
import pytest

from edge.camera.driver import CameraLostError, ClockReading, DeviceHealth, DeviceIdentity, Grabbed
from edge.camera.genicam import GenICamCamera
from edge.camera.slow_calls import CallsInOneThread
from edge.camera_config import AravisCameraConfig
from edge.errors import ConfigError, OpenError
from edge.messages import FrameStatus, PixelFormat

MS = 1_000_000
CLOCK_AHEAD_NS = 123 * 10**9


class InlineCalls:
    def run(self, call, meanwhile):
        return call()


class Driver:
    """Answers each grab with the next item: a picture after so many ms, None, or an error."""

    identity = DeviceIdentity("Maker", "Model", "S1", "1.2", "a wire")
    frame_id_period = 65_535

    def __init__(self, clock, answers=(), on_fire=None):
        self.clock, self.answers, self.on_fire = clock, list(answers), on_fire
        self.fired, self.started, self.closed, self.grabs_ms = 0, 0, 0, []
        self.edges, self.clock_can_be_asked = None, True

    def start(self):
        self.started += 1

    def grab(self, timeout_ms):
        self.grabs_ms.append(timeout_ms)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return answer()
        self.clock.advance_ms(timeout_ms if answer is None else 10)
        return answer

    def fire(self):
        self.fired += 1
        if self.on_fire:
            self.answers += self.on_fire(self.fired)

    def read_clock(self):
        now_ns = self.clock.now_ns()
        return ClockReading(now_ns, now_ns + CLOCK_AHEAD_NS, now_ns) if self.clock_can_be_asked else None

    def trigger_count(self):
        return self.edges

    def health(self):
        return DeviceHealth(temperature_c=40.0)

    def close(self):
        self.closed += 1


LOST = CameraLostError("It is gone.", do="Plug it in.")


def config(**changes):
    content = {
        "backend": "aravis",
        "serial": "S1",
        "exposure_us": 100.0,
        "frame_timeout_ms": 300,
        "reconnect": {"first_ms": 100, "longest_ms": 400},
    }
    return AravisCameraConfig.model_validate(content | changes)


def grabbed(frame_id, device_ms, **changes):
    image = np.full((4, 4), frame_id % 251, np.uint8)
    image.flags.writeable = False
    content = {
        "frame_id": frame_id,
        "device_ns": CLOCK_AHEAD_NS + round(device_ms * MS),
        "image": image,
        "pixel_format": PixelFormat.MONO8,
        "complete": True,
        "exposure_us": 100.0,
        "gain_db": 1.5,
    }
    return Grabbed(**(content | changes))


class Opened:
    """A camera, the drivers that its openings give one after the other, and what it tells."""

    def __init__(self, clock, drivers, **changes):
        self.clock, self.drivers, self.triggers = clock, list(drivers), []
        self.stop, self.openings = threading.Event(), 0
        self.camera = GenICamCamera(config(**changes), self.triggers.append, clock, self._open, InlineCalls())

    def _open(self, _config):
        self.openings += 1
        driver = self.drivers.pop(0)
        if isinstance(driver, Exception):
            raise driver
        return driver

    def frames(self, count):
        """That many frames, then a stop."""
        got = list(itertools.islice(self.camera.frames(self.stop), count))
        self.stop.set()
        return got

    def run_until(self, condition):
        """Take frames until it is so."""

        class Watched(threading.Event):
            def is_set(self):
                return condition() or super().is_set()

        return list(self.camera.frames(Watched()))


@pytest.fixture
def hardware(stepped_clock):
    def make(*answers, **changes):
        return Opened(stepped_clock, [Driver(stepped_clock, answers)], **changes)

    return make


def software(clock, on_fire, *others):
    driver = Driver(clock, on_fire=on_fire)
    trigger = {"mode": "software", "rate_per_min": 120}
    return driver, Opened(clock, [driver, *others], trigger=trigger)


def test_the_exposure_times_the_trigger(hardware):
    opened = hardware(grabbed(7, 1005))
    (frame,) = opened.frames(1)
    assert (frame.part_id, frame.frame_id, frame.triggered_ns, frame.captured_ns) == (
        1,
        7,
        1005 * MS,
        1010 * MS,
    )
    assert (frame.exposure_us, frame.gain_db, frame.status) == (100.0, 1.5, FrameStatus.OK)
    assert "Model" in opened.camera.description
    assert "S1" in opened.camera.description


def test_the_trigger_lies_before_its_delay(hardware):
    opened = hardware(grabbed(7, 1005), trigger={"delay_us": 2000})
    assert opened.frames(1)[0].triggered_ns == 1003 * MS


def test_the_image_is_handed_on_as_it_is(hardware):
    picture = grabbed(1, 1005)
    assert hardware(picture).frames(1)[0].image is picture.image


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, FrameStatus.OK),
        ({"complete": False}, FrameStatus.INCOMPLETE),
        ({"image": None}, FrameStatus.INCOMPLETE),
        ({"device_ns": CLOCK_AHEAD_NS + 1005 * MS}, FrameStatus.FROZEN),  # the stamp of the picture before
        ({"device_ns": CLOCK_AHEAD_NS + 1001 * MS}, FrameStatus.FROZEN),  # before it
    ],
)
def test_statuses(hardware, changes, status):
    opened = hardware(grabbed(1, 1005), grabbed(2, 1015, **changes))
    frame = opened.frames(2)[-1]
    assert (frame.status, frame.part_id) == (status, 2)
    assert 1010 * MS <= frame.triggered_ns <= frame.captured_ns
    assert opened.camera.counters().incomplete == (status is FrameStatus.INCOMPLETE)


def test_a_gap_is_told_before_the_picture_that_shows_it(hardware):
    opened = hardware(grabbed(65_535, 1001), grabbed(3, 1016))
    frames = opened.frames(2)
    assert [trigger.part_id for trigger in opened.triggers] == [1, 2, 3, 4]
    assert [frame.part_id for frame in frames] == [1, 4]
    assert opened.camera.counters().id_gaps == 2


def test_a_vendor_call_is_never_long_and_each_is_followed_by_a_beat(hardware):
    opened = hardware()
    driver = opened.camera._driver
    opened.run_until(lambda: len(driver.grabs_ms) > 5)
    assert max(driver.grabs_ms) <= 200


def test_an_edge_without_exposure_is_noticed_in_the_count(hardware):
    opened = hardware()
    driver = opened.camera._driver
    driver.edges = 4

    def edge():
        driver.edges += 1

    driver.answers = [edge]
    opened.run_until(lambda: opened.triggers)
    assert opened.clock.now_ns() < 2_000 * MS
    assert opened.camera.counters().timeouts == 1


def test_parts_are_fired_at_their_pace_and_get_their_pictures(stepped_clock):
    frame_ids = itertools.count(1)
    driver, opened = software(
        stepped_clock,
        lambda n: [lambda: grabbed(next(frame_ids), stepped_clock.now_ns() / MS)],
    )
    frames = opened.frames(4)
    assert [frame.triggered_ns // MS for frame in frames] == [1000, 1500, 2000, 2500]
    assert (
        [frame.part_id for frame in frames]
        == [trigger.part_id for trigger in opened.triggers]
        == [1, 2, 3, 4]
    )
    assert driver.fired == 4


def test_a_fired_part_without_picture_is_given_up_in_time(stepped_clock):
    _, opened = software(stepped_clock, lambda n: [])
    opened.run_until(lambda: opened.camera.counters().timeouts == 2)
    assert [trigger.triggered_ns // MS for trigger in opened.triggers] == [1000, 1500]
    assert stepped_clock.now_ns() <= 2000 * MS


def test_a_camera_that_answers_but_gives_no_pictures_is_opened_again(stepped_clock):
    again = Driver(stepped_clock, on_fire=lambda n: [lambda: grabbed(1, stepped_clock.now_ns() / MS)])
    driver, opened = software(stepped_clock, lambda n: [], again)
    (frame,) = opened.frames(1)
    assert (driver.fired, driver.closed, opened.openings) == (10, 1, 2)
    assert frame.part_id == len(opened.triggers) == 11


def test_a_lost_camera_is_found_again(stepped_clock, caplog):
    first = Driver(stepped_clock, [grabbed(65_500, 1005), LOST])
    again = Driver(stepped_clock, [])
    again.answers = [lambda: grabbed(3, stepped_clock.now_ns() / MS)]
    opened = Opened(stepped_clock, [first, OpenError("No.", do="Wait."), OpenError("No.", do="Wait."), again])
    frames = opened.frames(2)
    assert [(frame.part_id, frame.frame_id) for frame in frames] == [(1, 65_500), (2, 65_501)]
    assert stepped_clock.now_ns() == (1010 + 100 + 200 + 400) * MS  # longer each time
    assert (first.closed, again.started, opened.openings) == (1, 1, 4)
    assert opened.camera.counters().reconnects == 1
    assert "lost" in caplog.text


def test_parts_that_pass_while_the_camera_is_away_are_told_on_time(stepped_clock):
    back = Driver(stepped_clock, on_fire=lambda n: [lambda: grabbed(9, stepped_clock.now_ns() / MS)])
    _, opened = software(stepped_clock, lambda n: [LOST], *[OpenError("No.", do="Wait.")] * 4, back)
    (frame,) = opened.frames(1)
    assert [trigger.triggered_ns // MS for trigger in opened.triggers] == [1000, 1500, 2000, 2500, 3000][
        : frame.part_id
    ]
    assert frame.part_id == len(opened.triggers) > 3
    assert opened.camera.counters().timeouts == len(opened.triggers) - 1


def test_a_camera_that_comes_back_and_refuses_its_settings_is_not_asked_again(stepped_clock):
    refusal = ConfigError("It refuses Gain.", do="Set less.")
    opened = Opened(stepped_clock, [Driver(stepped_clock, [LOST]), refusal])
    with pytest.raises(ConfigError, match="Gain"):
        opened.frames(1)
    assert opened.openings == 2


@pytest.mark.parametrize("fault", [OpenError("Not there.", do="Plug it in."), ConfigError("No.", do="Yes.")])
def test_what_hinders_the_first_opening_is_said_at_once(stepped_clock, fault):
    with pytest.raises(type(fault)):
        Opened(stepped_clock, [fault])


def test_a_stop_ends_the_search_for_a_lost_camera(stepped_clock):
    opened = Opened(stepped_clock, [Driver(stepped_clock, [LOST]), *[OpenError("No.", do="Wait.")] * 99])
    assert opened.run_until(lambda: opened.openings > 3) == []
    assert opened.openings == 4


def test_health_is_none_while_it_is_away(stepped_clock):
    opened = Opened(
        stepped_clock, [Driver(stepped_clock, [None, None, LOST]), *[OpenError("No.", do="Wait.")] * 9]
    )
    assert opened.camera.health() == DeviceHealth()
    opened.run_until(lambda: opened.camera.health().temperature_c)
    assert opened.camera.health().temperature_c == 40.0
    opened.run_until(lambda: opened.openings > 2)
    assert opened.camera.health() is None


def test_slow_calls_give_results_and_errors_and_let_time_pass():
    calls, beats, go_on = CallsInOneThread(), [], threading.Event()

    def slow():
        assert go_on.wait(5)
        return threading.current_thread().name

    def beat():
        beats.append(1)
        go_on.set()

    assert calls.run(slow, beat) == "camera-calls"
    assert beats
    with pytest.raises(CameraLostError):
        calls.run(lambda: (_ for _ in ()).throw(LOST), beat)
    assert calls.run(lambda: 5, beat) == 5
