"""A calibration in the terminal: live numbers where there is a person, plain lines in a pipe."""

from __future__ import annotations

import select
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from calibration.camera.bench import BenchCamera, Operator, Target
from calibration.camera.findings import Outcome, StepReport
from calibration.camera.focus import FocusReading, watch_focus
from calibration.camera.session import TITLES, Step

EVERY = 6
"""In a pipe every sixth live line is printed."""
_MARK = {
    Outcome.PASSED: "[green]✓[/green]",
    Outcome.ADVICE: "[yellow]![/yellow]",
    Outcome.REFUSED: "[red]✗[/red]",
    Outcome.KEPT: "·",
    Outcome.LEFT_OUT: "·",
}


class LiveSteps:
    """A `Watch` on a console. Used by one thread; `pause` before anything else writes or asks."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._title = ""
        self._shown: Progress | None = None
        self._task: TaskID | None = None
        self._said = 0

    def __enter__(self) -> LiveSteps:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()

    def begin(self, step: Step) -> None:
        """See `Watch.begin`."""
        self.begin_titled(TITLES[step])

    def begin_titled(self, title: str) -> None:
        """A step by its name."""
        self.pause()
        self._title, self._said = title, 0
        self._console.print(title, style="bold", markup=False, highlight=False)

    def say(self, words: str) -> None:
        """See `Watch.say`."""
        if self._console.is_terminal:
            self._update(words=words)
        elif self._said % EVERY == 0:
            self._console.print(f"  {words}", markup=False, highlight=False, soft_wrap=True)
        self._said += 1

    def progress(self, done: int, wanted: int) -> None:
        """See `Watch.progress`."""
        if self._console.is_terminal:
            self._update(done=done, wanted=wanted, words=f"{done} of {wanted}")

    def end(self, report: StepReport) -> None:
        """See `Watch.end`."""
        self.pause()
        self._console.print(f"  {_MARK[report.outcome]} ", end="")
        self._console.print(report.summary, markup=False, highlight=False, soft_wrap=True)
        for reading in report.readings:
            if reading.within is False:
                words = f"    {reading.name}: {reading.text}, {reading.limit}"
                self._console.print(words, style="yellow", markup=False, highlight=False, soft_wrap=True)
        for line in (*report.advice, *report.notes):
            if line != report.summary:
                self._console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)

    def pause(self) -> None:
        """Leave the terminal to somebody else."""
        if self._shown is not None:
            self._shown.stop()
        self._shown, self._task = None, None

    def _update(self, *, words: str, done: int = 0, wanted: int | None = None) -> None:
        if self._shown is None or self._task is None:
            bar = () if wanted is None else (BarColumn(24),)
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                *bar,
                TextColumn("{task.fields[words]}"),
            )
            self._shown = Progress(*columns, console=self._console, transient=True)
            self._task = self._shown.add_task(self._title, total=wanted, words=words)
            self._shown.start()
        self._shown.update(self._task, completed=done, total=wanted, words=words)


class CalmOperator:
    """An `Operator` that leaves the terminal to the question, asks for no target twice in a row, and lets a
    simulated bench follow."""

    def __init__(self, live: LiveSteps, *others: Operator) -> None:
        self._live, self._others = live, others
        self._last: Target | None = None

    def present(self, target: Target, what: str, view: int = 0) -> None:
        """See `Operator.present`."""
        if target is self._last and target is not Target.BOARD:
            return
        self._live.pause()
        for other in self._others:
            other.present(target, what, view)
        self._last = target


def focus_by_hand(camera: BenchCamera, operator: Operator, console: Console) -> float | None:
    """Show the sharpness while a person turns the ring, until Enter; returns the best that was seen.

    None where there is no terminal to watch and press Enter in.
    """
    if not (console.is_terminal and sys.stdin.isatty()):
        return None
    best = None
    readings = watch_focus(camera, operator)
    try:
        with console.status("") as status:
            for reading in readings:
                best = reading.best
                status.update(f"{_focus_words(reading)}  (Enter when it is locked)")
                if select.select([sys.stdin], [], [], 0)[0]:
                    sys.stdin.readline()
                    break
    finally:
        readings.close()  # type: ignore[attr-defined]
    return best


def _focus_words(reading: FocusReading) -> str:
    blur = reading.now.blur_px
    blurred = "no edges" if blur is None else f"blur {blur:.2f} px"
    return f"sharpness {reading.share:.0%} of the best, {blurred}: {reading.turn.value}"
