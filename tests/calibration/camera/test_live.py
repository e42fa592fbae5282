"""The terminal: plain lines in a pipe, one question for each target, the focus watched until Enter."""

import io
import os

from rich.console import Console

from calibration.camera.bench import Target
from calibration.camera.findings import Reading, judged
from calibration.camera.live import EVERY, CalmOperator, LiveSteps, focus_by_hand
from calibration.camera.session import Step
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lamp import SimulatedLamp


def piped():
    return Console(file=io.StringIO(), width=200)


def text_of(console):
    return console.file.getvalue()


class Noting:
    """An operator that notes what is asked for."""

    def __init__(self):
        self.asked = []

    def present(self, target, what, view=0):
        """One more."""
        self.asked.append((target, view))


def test_a_pipe_gets_a_line_now_and_then():
    console = piped()
    with LiveSteps(console) as live:
        live.begin(Step.WARM_UP)
        for number in range(2 * EVERY + 1):
            live.say(f"reading {number}")
            live.progress(number, 100)
    assert text_of(console).splitlines() == ["Warm-up", "  reading 0", "  reading 6", "  reading 12"]


def test_the_end_of_a_step_names_what_is_outside_its_limit():
    console = piped()
    outside = Reading(name="blur", value=3.0, unit="px", limit="at most 2 px", within=False)
    inside = Reading(name="lean", value=0.1, unit="px", limit="at most 1 px", within=True)
    report = judged("focus", "Focus", "blurred", (outside, inside), advice=("Turn the ring.",))
    with LiveSteps(console) as live:
        live.begin(Step.FOCUS)
        live.end(report)
    assert "blur: 3.00 px, at most 2 px" in text_of(console)
    assert "Turn the ring." in text_of(console)
    assert "lean" not in text_of(console)


def test_live_numbers_on_a_terminal_leave_no_trace():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with LiveSteps(console) as live:
        live.begin(Step.DARK)
        live.progress(3, 32)
        assert "3 of 32" in text_of(console)
        live.end(judged("dark", "Dark field", "black level 4 DN", ()))
    assert text_of(console).rstrip().endswith("black level 4 DN")


def test_a_target_in_its_place_is_not_asked_for_again():
    person, hand = Noting(), Noting()
    operator = CalmOperator(LiveSteps(piped()), person, hand)
    for target in (Target.GREY, Target.GREY, Target.DARK, Target.GREY):
        operator.present(target, "")
    for view in (0, 1):
        operator.present(Target.BOARD, "", view)
    wanted = [(Target.GREY, 0), (Target.DARK, 0), (Target.GREY, 0), (Target.BOARD, 0), (Target.BOARD, 1)]
    assert person.asked == hand.asked == wanted


def bench_of():
    return SimulatedBench(320, 256, lamp=SimulatedLamp(on_for_s=3600.0))


def test_focus_is_watched_until_enter(monkeypatch):
    bench, console = bench_of(), Console(file=io.StringIO(), force_terminal=True, width=100)
    ours, theirs = os.openpty()
    os.write(ours, b"\n")
    with os.fdopen(theirs) as keyboard:
        monkeypatch.setattr("sys.stdin", keyboard)
        best = focus_by_hand(bench, bench, console)
    os.close(ours)
    assert best is not None
    assert best > 0
    assert bench.settings.exposure_us == 1000.0


def test_without_a_terminal_nobody_watches():
    bench = bench_of()
    assert focus_by_hand(bench, bench, piped()) is None
