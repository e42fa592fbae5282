"""The loop with a camera and a judge made of plain lists: accounting, faults, drain, crash and stall.

The doubles model arrival order and failures. They do not model image content or how long a model takes.
"""

import threading
import time

import numpy as np
import pytest

from edge.camera import CameraCounters
from edge.clock import MonotonicClock
from edge.config import StationConfig
from edge.decide import Thresholds, fault_verdict
from edge.errors import OperateError
from edge.health import Alarms
from edge.messages import Frame, FrameStatus, Outcome, PixelFormat, Reason, Trigger, Verdict
from edge.outputs.recorder import RecorderOutputs
from edge.pipeline import Pipeline

THRESHOLDS = Thresholds(score=0.5)


def station(**changes):
    content = {
        "station": "test",
        "bundle": "bundle",
        "camera": {"backend": "replay", "source": "pictures"},
        "decision": {"score": 0.5},
        "gate": {"travel_ms": 120, "pulse_ms": 10, "decision_lead_ms": 5},
        "outputs": {
            "backend": "recorder",
            "lines": {"reject": {"start": False, "stop": False, "crash": True, "stall": True}},
        },
        "records": {"directory": "records"},
        "limits": {"queue_frames": 2, "stall_ms": 600},
    }
    return StationConfig.model_validate(content | changes)


class ScriptedCamera:
    """Plays a list of steps: ("trigger", id), ("frame", id), ("frame", id, status) or a callable."""

    description = "scripted"

    def __init__(self, script, on_trigger, clock, live):
        self.script, self.on_trigger, self.clock, self.live = script, on_trigger, clock, live
        self.triggered = {}

    def frames(self, stop):
        for step in self.script:
            if stop.is_set():
                return
            if callable(step):
                step(stop)
            elif step[0] == "trigger":
                self.triggered[step[1]] = self.clock.now_ns()
                self.on_trigger(Trigger(step[1], self.triggered[step[1]]))
            else:
                part_id = step[1]
                status = step[2] if len(step) > 2 else FrameStatus.OK
                image = np.full((4, 4), part_id % 251, np.uint8)
                yield Frame(
                    part_id,
                    part_id,
                    self.triggered.get(part_id, 0),
                    0,
                    image,
                    PixelFormat.MONO8,
                    status=status,
                )

    def counters(self):
        return CameraCounters(triggers=len(self.triggered))

    def close(self):
        pass


class ScriptedJudge:
    """Rejects the parts it is told to; `before` runs before each verdict and may fail or wait."""

    thresholds = THRESHOLDS
    bundle_id = "b"

    def __init__(self, bad=(), before=lambda frame: None):
        self.bad, self.before = set(bad), before

    def judge(self, frame):
        self.before(frame)
        if frame.status is not FrameStatus.OK:
            reason = Reason.FROZEN_FRAME if frame.status is FrameStatus.FROZEN else Reason.INCOMPLETE_FRAME
            return self.fault(frame, reason), None
        outcome = Outcome.REJECT if frame.part_id in self.bad else Outcome.PASS
        reasons = (Reason.SCORE,) if outcome is Outcome.REJECT else ()
        return Verdict(frame.part_id, outcome, reasons, (), 0.1, 0.5), None

    def fault(self, frame, reason):
        return fault_verdict(frame.part_id, reason, THRESHOLDS)


class Watcher:
    def __init__(self):
        self.parts = []

    def decided(self, frame, inspection, verdict):
        pass

    def settled(self, settled):
        self.parts.append(settled)


class Ran:
    """A finished run and everything there is to look at."""

    def __init__(self, script, judge=None, live=False, stop=None, config=None):
        self.config, clock = config or station(), MonotonicClock()
        self.outputs, self.watcher = RecorderOutputs(self.config.outputs, clock), Watcher()
        self.pipeline = Pipeline(
            self.config,
            lambda on_trigger, beating: ScriptedCamera(script, on_trigger, beating, live),
            judge or ScriptedJudge(),
            self.outputs,
            (self.watcher,),
            Alarms(),
            clock,
        )
        self.failed = self.pipeline.run(stop or threading.Event(), lambda: None)
        self.counts = self.pipeline.counts()
        self.outcomes = {s.trigger.part_id: s.verdict.outcome for s in self.watcher.parts}
        self.reasons = {s.trigger.part_id: s.verdict.reasons for s in self.watcher.parts}
        self.alarms = {alarm.name for alarm in self.pipeline.alarms.snapshot()}


def part(number):
    return [("trigger", number), ("frame", number)]


def parts(count):
    return [step for number in range(1, count + 1) for step in part(number)]


def test_every_part_is_decided_and_accounted_for():
    run = Ran(parts(20), ScriptedJudge(bad=[3, 11]))
    assert run.failed is None
    assert run.counts.triggers == run.counts.frames == run.counts.verdicts == 20
    assert (run.counts.passed, run.counts.rejected, run.counts.unaccounted) == (18, 2, 0)
    assert [number for number, outcome in run.outcomes.items() if outcome is Outcome.REJECT] == [3, 11]


def test_pulse_is_given_at_travel_time_after_the_trigger():
    run = Ran(part(1), ScriptedJudge(bad=[1]))
    on, off = [edge for edge in run.outputs.edges if edge.time_ns > run.watcher.parts[0].trigger.triggered_ns]
    due_ns = run.watcher.parts[0].action.due_ns
    assert due_ns == run.watcher.parts[0].trigger.triggered_ns + 120_000_000
    assert (on.level, off.level) == (True, False)
    assert due_ns <= on.time_ns < due_ns + 10_000_000
    assert off.time_ns >= due_ns + 10_000_000


def test_a_trigger_without_frame_is_a_fault_and_pulses():
    run = Ran([("trigger", 1), *part(2)])
    assert run.outcomes == {1: Outcome.FAULT, 2: Outcome.PASS}
    assert run.reasons[1] == (Reason.MISSING_FRAME,)
    assert run.counts.pulses == 1
    assert "missing_frame" in run.alarms


def test_frames_that_come_twice_or_for_nobody_change_nothing_but_raise_an_alarm():
    run = Ran([*part(1), ("frame", 1), ("frame", 9), *part(2)])
    assert run.outcomes == {1: Outcome.PASS, 2: Outcome.PASS}
    assert run.counts.extra_frames == 2
    assert {"duplicate_frame", "unknown_frame"} <= run.alarms


def test_a_frame_after_the_deadline_does_not_save_its_part():
    run = Ran([("trigger", 1), lambda stop: stop.wait(0.2), ("frame", 1)])
    assert run.reasons == {1: (Reason.MISSING_FRAME,)}
    assert "late_frame" in run.alarms


def test_an_incomplete_frame_is_a_fault():
    run = Ran([("trigger", 1), ("frame", 1, FrameStatus.INCOMPLETE)])
    assert run.reasons == {1: (Reason.INCOMPLETE_FRAME,)}


def test_a_live_picture_equal_to_the_one_before_is_a_fault():
    # The scripted picture of part 252 equals that of part 1.
    run = Ran([*part(1), *part(252)])
    assert run.outcomes == {1: Outcome.PASS, 252: Outcome.FAULT}
    assert run.reasons[252] == (Reason.FROZEN_FRAME,)


def test_verdict_that_comes_too_late_leaves_a_fault():
    run = Ran(part(1), ScriptedJudge(before=lambda frame: time.sleep(0.15)))
    assert run.reasons == {1: (Reason.NO_VERDICT_IN_TIME,)}
    assert run.counts.pulses == 1
    assert "late_verdict" in run.alarms


def test_a_live_camera_that_is_too_fast_overflows_into_faults():
    gate = threading.Event()
    script = [*parts(6), lambda stop: gate.set()]
    judge = ScriptedJudge(before=lambda frame: gate.wait(5))
    run = Ran(script, judge, live=True)
    overflowed = [number for number, why in run.reasons.items() if why == (Reason.OVERFLOW,)]
    assert len(overflowed) >= 3  # two wait in the queue, at most one more is being judged
    assert run.counts.verdicts == 6
    assert all(run.outcomes[number] is Outcome.FAULT for number in overflowed)


def test_a_camera_that_can_wait_is_held_back_instead():
    run = Ran(parts(12), ScriptedJudge(before=lambda frame: time.sleep(0.002)))
    assert run.counts.passed == 12


def test_stop_lets_the_parts_on_the_belt_reach_the_gate():
    stop = threading.Event()
    run = Ran([*parts(3), lambda _: stop.set(), *part(4)], ScriptedJudge(bad=[3]), stop=stop)
    assert run.failed is None
    assert run.counts.verdicts == run.counts.triggers
    assert run.outcomes[3] is Outcome.REJECT
    assert run.counts.pulses == 1
    assert run.outputs.levels == {"reject": False}


def test_a_thread_that_fails_puts_the_lines_to_their_crash_level():
    def fail(frame):
        raise RuntimeError("a bug")

    run = Ran(part(1), ScriptedJudge(before=fail))
    assert run.failed == "decide"
    assert run.outputs.levels == {"reject": True}
    assert run.counts.unaccounted == 0
    assert run.outcomes == {1: Outcome.FAULT}
    assert "crash" in run.alarms


def test_a_camera_that_fails_for_good_is_told_without_a_traceback(caplog):
    def fail(stop):
        raise OperateError("The cable is out.", do="Put it in.")

    run = Ran([*part(1), fail])
    assert run.failed == "capture"
    assert run.outputs.levels == {"reject": True}
    assert run.counts.unaccounted == 0
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "The cable is out. Put it in." in record.message
    assert record.exc_info is None


def test_a_thread_that_hangs_puts_the_lines_to_their_stall_level():
    release = threading.Event()
    run = Ran(part(1), ScriptedJudge(before=lambda frame: release.wait(10)))
    release.set()
    assert run.failed == "decide"
    assert run.outputs.levels == {"reject": True}
    assert "stall" in run.alarms


def test_many_rejects_in_a_row_raise_an_alarm_and_a_pass_ends_it():
    config = station(limits={"consecutive_rejects": 3, "stall_ms": 600})
    run = Ran(parts(5), ScriptedJudge(bad=[1, 2, 3]), config=config)
    (alarm,) = [a for a in run.pipeline.alarms.snapshot() if a.name == "consecutive_rejects"]
    assert (alarm.count, alarm.active) == (1, False)


def test_an_idle_line_is_not_a_stalled_line():
    run = Ran([lambda stop: stop.wait(0.01), *part(1)], config=station(limits={"stall_ms": 300}))
    assert run.failed is None


@pytest.mark.parametrize("live", [True, False])
def test_no_part_at_all(live):
    run = Ran([], live=live)
    assert (run.failed, run.counts.triggers) == (None, 0)
