"""The builder's progress on a terminal and in a pipe."""

import io
from types import SimpleNamespace

from rich.console import Console

from export.engine.progress import Bars, Lines, bars, progress_monitor


class ProgressMonitor:
    """Stands for TensorRT's base class: it needs its own initialiser to be called, and nothing else here."""

    def __init__(self):
        self.ready = True


def build(monitor):
    """The calls of a small build; whether it went to its end."""
    assert monitor.ready
    monitor.phase_start("Building", None, 3)
    monitor.phase_start("Timing", "Building", 2)
    went_on = all(monitor.step_complete("Timing", step) for step in range(2))
    monitor.phase_finish("Timing")
    monitor.step_complete("Building", 0)
    return went_on


def monitor(display, keep_on=lambda: True):
    return progress_monitor(SimpleNamespace(IProgressMonitor=ProgressMonitor), display, keep_on)


def test_on_a_terminal_running_phases_have_a_bar_inside_their_parents():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with bars(console) as progress:
        seen = monitor(Bars(progress))
        seen.phase_start("Building", None, 3)
        seen.phase_start("Timing", "Building", 2)
        seen.step_complete("Timing", 0)
        assert [(task.description, task.completed, task.total) for task in progress.tasks] == [
            ("Building", 0, 3),
            ("  Timing", 1, 2),
        ]
        seen.phase_finish("Timing")
        assert [task.description for task in progress.tasks] == ["Building"]
        seen.phase_finish("Building")
        assert progress.tasks == []


def test_what_was_never_started_does_no_harm():
    with bars(Console(file=io.StringIO())) as progress:
        seen = monitor(Bars(progress))
        assert seen.step_complete("Timing", 4)
        seen.phase_finish("Timing")
        seen.phase_start("Inner", "unknown", 1)
        assert [task.description for task in progress.tasks] == ["Inner"]


def test_in_a_pipe_a_line_for_each_outer_phase():
    lines = []
    assert build(monitor(Lines(lines.append)))
    assert lines == ["TensorRT: Building, 3 steps"]


def test_the_build_ends_when_told_to():
    assert not build(monitor(Lines(lambda _line: None), keep_on=lambda: False))
