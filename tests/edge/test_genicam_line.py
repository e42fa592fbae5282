"""A whole run of the line on a scripted driver: ten thousand triggers, and everything that goes wrong with them.

The driver is a double. It plays a script of trigger edges in stepped time and models what comes of each: a
picture, a picture lost on its way, twice, incomplete or after the next one, an edge that the camera ignored, and
a camera that goes away and comes back. It does not model a device's library, its buffers, or how long a call
takes.
"""

import random
import threading

import numpy as np
import pytest

from edge.camera.driver import CameraLostError, ClockReading, DeviceHealth, DeviceIdentity, Grabbed
from edge.camera.genicam import GenICamCamera
from edge.config import StationConfig
from edge.decide import Thresholds, fault_verdict
from edge.errors import OpenError
from edge.health import Alarms
from edge.messages import FrameStatus, Outcome, PixelFormat, Reason, Verdict
from edge.outputs.recorder import RecorderOutputs
from edge.pipeline import Pipeline

TRIGGERS = 10_000
PERIOD_NS = 1_000_000_000 // 42
LATENCY_NS = 15_000_000
START_NS = 5_000_000_000
DRIFT = 1 + 40e-6
QUEUE = 4

FATES = {"ok": 0.9, "lost": 0.03, "ignored": 0.02, "twice": 0.02, "incomplete": 0.02, "swapped": 0.01}
AWAY = range(6_000, 6_030)  # edges while the camera is not there
OVERRUN = [*range(2_000, 2_040), *range(8_000, 8_012)]  # edges while the judge does not keep up
BAD_EVERY = 17


class InlineCalls:
    def run(self, call, meanwhile):
        return call()


class Script:
    """What becomes of each edge, and the pictures in the order in which they arrive."""

    def __init__(self, seed, counts_in_pictures):
        rng = random.Random(seed)
        fates = rng.choices(list(FATES), list(FATES.values()), k=TRIGGERS)
        fates[0] = fates[-1] = "ok"
        for edge in (*OVERRUN, *range(AWAY[0] - 2, AWAY[-1] + 3)):
            fates[edge] = "ok"
        self.fates = ["away" if edge in AWAY else fate for edge, fate in enumerate(fates)]
        self.times = [START_NS + edge * PERIOD_NS + rng.randrange(2_000_000) for edge in range(TRIGGERS)]
        self.arrivals = sorted(self._arrivals(counts_in_pictures), key=lambda item: item[0])

    def _arrivals(self, counts_in_pictures):
        frame_id = 65_000
        for edge, (fate, time_ns) in enumerate(zip(self.fates, self.times, strict=True)):
            if edge == AWAY[-1]:
                frame_id = 20_000
            if fate in ("ignored", "away"):
                continue
            frame_id = frame_id % 65_535 + 1
            if fate == "lost":
                continue
            late_ns = round(1.3 * PERIOD_NS) if fate == "swapped" else 0
            count = edge + 1 if counts_in_pictures else None
            grabbed = Grabbed(
                frame_id,
                device_ns(time_ns),
                picture(edge),
                PixelFormat.MONO8,
                complete=fate != "incomplete",
                exposure_us=100.0,
                gain_db=0.0,
                trigger_count=count,
            )
            yield time_ns + LATENCY_NS + late_ns, edge, grabbed
            if fate == "twice":
                yield time_ns + LATENCY_NS + late_ns, edge, grabbed


def device_ns(host_ns):
    return 77_000 + round(host_ns * DRIFT)


def picture(edge):
    image = np.frombuffer(np.uint64([edge, edge * 31]).tobytes(), np.uint8).reshape(2, 8)
    image.flags.writeable = False
    return image


class ScriptedDriver:
    """See the module. Before each grab it waits until the line has decided on the picture before."""

    identity = DeviceIdentity("Script", "Double", "D1", "0", "no link")
    frame_id_period = 65_535

    def __init__(self, script, clock, stop, judge, reopened=False):
        self._script, self._clock, self._stop, self._judge = script, clock, stop, judge
        self._reopened = reopened
        lost_ns = script.times[AWAY[0]]
        self._arrivals = [item for item in script.arrivals if (item[0] >= lost_ns + LATENCY_NS) == reopened]

    def start(self):
        pass

    def grab(self, timeout_ms):
        self._judge.catch_up()
        until_ns = self._clock.now_ns() + round(timeout_ms * 1e6)
        if self._arrivals and self._arrivals[0][0] <= until_ns:
            arrives_ns, edge, grabbed = self._arrivals.pop(0)
            self._clock.wait_until(arrives_ns, threading.Event())
            self._judge.expect(edge)
            return grabbed
        self._clock.wait_until(until_ns, threading.Event())
        if not self._arrivals:
            if not self._reopened:
                raise CameraLostError("The script says so.", do="Wait.")
            if self._clock.now_ns() > self._script.times[-1] + 2_000_000_000:
                self._stop.set()
        return None

    def fire(self):
        raise AssertionError("a camera with hardware triggers is not fired")

    def read_clock(self):
        now_ns = self._clock.now_ns()
        return ClockReading(now_ns - 50_000, device_ns(now_ns), now_ns + 50_000)

    def trigger_count(self):
        return sum(time_ns <= self._clock.now_ns() for time_ns in self._near()) + self._before

    def _near(self):
        """The edges around now; counting all of them at every reading takes too long."""
        first = max(0, (self._clock.now_ns() - START_NS) // PERIOD_NS - 3)
        self._before = min(first, TRIGGERS)
        return self._script.times[first : first + 6]

    def health(self):
        return DeviceHealth()

    def close(self):
        pass


class PacedJudge:
    """Rejects every 17th edge's part. In an overrun it does not return until the overrun is over."""

    thresholds = Thresholds(score=0.5)
    bundle_id = "b"

    def __init__(self):
        self._changed = threading.Condition()
        self._decided = self._expected = -1
        self._overrun = False

    def judge(self, frame):
        with self._changed:
            assert self._changed.wait_for(lambda: not self._overrun, timeout=10)
        if frame.status is not FrameStatus.OK:
            return self.fault(frame, Reason.INCOMPLETE_FRAME), None
        edge = edge_of(frame)
        outcome = Outcome.REJECT if edge % BAD_EVERY == 0 else Outcome.PASS
        return Verdict(frame.part_id, outcome, (), (), 0.1, 0.5), None

    def fault(self, frame, reason):
        return fault_verdict(frame.part_id, reason, self.thresholds)

    def expect(self, edge):
        with self._changed:
            self._expected, self._overrun = edge, edge in OVERRUN
            self._changed.notify_all()

    def catch_up(self):
        """Wait until the last picture is decided. One that overflowed never is, hence the limit."""
        with self._changed:
            self._changed.wait_for(lambda: self._overrun or self._decided == self._expected, timeout=0.1)

    def decided(self, frame, inspection, verdict):
        with self._changed:
            self._decided = edge_of(frame)
            self._changed.notify_all()


def edge_of(frame):
    return int(frame.image.view(np.uint64)[0, 0])


class Watcher:
    def __init__(self, judge):
        self.parts, self.decided = [], judge.decided

    def settled(self, settled):
        self.parts.append(settled)


def station():
    return StationConfig.model_validate(
        {
            "station": "test",
            "bundle": "bundle",
            "camera": CAMERA,
            "decision": {"score": 0.5},
            "gate": {"travel_ms": 1500, "pulse_ms": 10, "decision_lead_ms": 5},
            "outputs": {
                "backend": "recorder",
                "lines": {"reject": {"start": False, "stop": False, "crash": True, "stall": True}},
            },
            "records": {"directory": "records"},
            "limits": {"queue_frames": QUEUE, "stall_ms": 1e9},
        }
    )


CAMERA = {
    "backend": "aravis",
    "serial": "D1",
    "exposure_us": 100.0,
    "pixel_format": "Mono8",
    "trigger": {"mode": "hardware"},
    "reconnect": {"first_ms": 200, "longest_ms": 400},
}


class Ran:
    def __init__(self, clock, counts_in_pictures):
        self.script = Script(7, counts_in_pictures)
        self.stop, self.judge = threading.Event(), PacedJudge()
        self._clock, self._openings = clock, 0
        config = station()
        self.watcher = Watcher(self.judge)
        self.pipeline = Pipeline(
            config,
            lambda on_trigger, beating: GenICamCamera(
                config.camera, on_trigger, beating, self._open, InlineCalls()
            ),
            self.judge,
            RecorderOutputs(config.outputs, clock),
            (self.watcher,),
            Alarms(),
            clock,
        )
        self.failed = self.pipeline.run(self.stop, self._supervise)
        self.counts, self.camera = self.pipeline.counts(), self.pipeline.camera.counters()

    def _open(self, config):
        self._openings += 1
        if self._openings == 2:
            raise OpenError("It is not back yet.", do="Wait.")
        return ScriptedDriver(self.script, self._clock, self.stop, self.judge, reopened=self._openings > 1)

    def _supervise(self):
        """When the camera is done nothing moves time on, but the last parts are still on their way."""
        if self.stop.is_set():
            self._clock.advance_ms(500)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("counts_in_pictures", [True, False])
def test_ten_thousand_triggers_are_all_accounted_for_and_no_picture_goes_to_another_part(
    stepped_clock, counts_in_pictures
):
    run = Ran(stepped_clock, counts_in_pictures)
    script, counts = run.script, run.counts
    assert run.failed is None

    # Every trigger ends as a verdict or a counted fault, and there are no others.
    assert counts.triggers == counts.verdicts == len(run.watcher.parts) == TRIGGERS
    assert counts.unaccounted == 0
    assert counts.passed + counts.rejected + counts.fault == TRIGGERS

    # Each picture went to the part whose edge it shows, timed by that edge.
    decided = {}
    for part in run.watcher.parts:
        if part.frame is not None:
            edge = edge_of(part.frame)
            assert edge not in decided
            decided[edge] = part.verdict.outcome
            assert (
                abs(part.trigger.triggered_ns - script.times[edge]) < 1_000_000
                or script.fates[edge] == "swapped"
            )
            if counts_in_pictures:
                assert part.trigger.part_id == edge + 1

    # What became of each follows from what happened to it, and from nothing else.
    reached = {edge for edge, fate in enumerate(script.fates) if fate not in ("lost", "ignored", "away")}
    assert set(decided) == reached
    overflowed = {edge for edge in decided if edge in OVERRUN and decided[edge] is Outcome.FAULT}
    assert len(OVERRUN) - 2 * QUEUE - 2 <= len(overflowed) <= len(OVERRUN)
    for edge in reached - set(OVERRUN) - {last + 1 for last in OVERRUN}:
        bad = Outcome.REJECT if edge % BAD_EVERY == 0 else Outcome.PASS
        assert decided[edge] is (Outcome.FAULT if script.fates[edge] == "incomplete" else bad)

    # The camera's own counts say the same.
    twice, lost = script.fates.count("twice"), script.fates.count("lost")
    swapped = script.fates.count("swapped")
    assert counts.extra_frames == twice
    assert (run.camera.triggers, run.camera.reconnects) == (TRIGGERS, 1)
    assert run.camera.delivered == len(reached) + twice
    assert run.camera.incomplete == script.fates.count("incomplete")
    assert lost <= run.camera.id_gaps <= lost + swapped
