"""The hand on the gate: pulses at their moment, and declared levels that nothing overrides."""

import threading

from edge.actuator import Actuator
from edge.messages import Action, ActionKind, Outcome, Verdict
from edge.outputs import DeclaredState
from edge.schedule import PulseTrain

MS = 1_000_000


class Lines:
    """One line `reject` whose crash level is on. Models no device behaviour beyond that."""

    lines = ("reject",)

    def __init__(self):
        self.level = False

    def write(self, line, level):
        self.level = level

    def enter(self, state):
        self.level = state is DeclaredState.CRASH

    def close(self):
        pass


def fire(part_id, due_ms, kind=ActionKind.FIRE):
    verdict = Verdict(part_id, Outcome.REJECT, (), (), 0.9, 0.5)
    return Action(part_id, kind, "reject", due_ms * MS, 20.0, verdict)


def test_a_pulse_begins_and_ends_at_its_moments():
    lines = Lines()
    actuator = Actuator(lines, {"reject": PulseTrain()})
    assert actuator.step(95 * MS, [fire(1, 100)]).wake_ns == 100 * MS
    assert lines.level is False
    assert actuator.step(100 * MS, []).wake_ns == 120 * MS
    assert lines.level is True
    assert actuator.step(120 * MS, []).wake_ns is None
    assert lines.level is False


def test_hold_and_late_leave_the_line_at_rest():
    lines = Lines()
    actuator = Actuator(lines, {"reject": PulseTrain()})
    step = actuator.step(100 * MS, [fire(1, 100, ActionKind.HOLD), fire(2, 100, ActionKind.LATE)])
    assert (lines.level, step.wake_ns) == (False, None)


def test_a_cut_pulse_is_told():
    actuator = Actuator(Lines(), {"reject": PulseTrain(max_on_ms=30)})
    assert not actuator.step(100 * MS, [fire(1, 100)]).overlong
    assert actuator.step(101 * MS, [fire(2, 115)]).overlong


def test_after_standing_down_no_step_changes_a_line():
    lines = Lines()
    actuator = Actuator(lines, {"reject": PulseTrain()})
    actuator.step(95 * MS, [fire(1, 100)])
    actuator.stand_down(DeclaredState.CRASH)
    for now in (100, 110, 120, 500):
        actuator.step(now * MS, [])
        assert lines.level is True


def test_standing_down_does_not_wait_for_a_device_that_hangs():
    release, hanging = threading.Event(), threading.Event()

    class HangingLines(Lines):
        def write(self, line, level):
            hanging.set()
            release.wait(10)

    lines = HangingLines()
    actuator = Actuator(lines, {"reject": PulseTrain()})
    thread = threading.Thread(target=lambda: actuator.step(0, []))
    thread.start()
    hanging.wait(10)
    actuator.stand_down(DeclaredState.CRASH)
    assert lines.level is True
    release.set()
    thread.join()
