"""TensorRT's progress monitor, shown on the console: bars on a terminal, a line for each phase in a pipe."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class ProgressDisplay(Protocol):
    """What is shown while TensorRT builds. TensorRT calls from several threads, the display takes care."""

    def started(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase of `steps` steps has begun, within `parent` or on its own."""

    def stepped(self, phase: str, step: int) -> None:
        """Step `step`, counted from 0, has ended."""

    def finished(self, phase: str) -> None:
        """The phase has ended, perhaps before its last step."""


class Bars:
    """A bar for each phase that runs, for terminals."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self._tasks: dict[str, tuple[TaskID, int]] = {}

    def started(self, phase: str, parent: str | None, steps: int) -> None:
        """See `ProgressDisplay.started`."""
        with self._lock:
            depth = 0 if parent not in self._tasks else self._tasks[parent][1] + 1
            self._tasks[phase] = (self._progress.add_task("  " * depth + phase, total=steps), depth)

    def stepped(self, phase: str, step: int) -> None:
        """See `ProgressDisplay.stepped`."""
        with self._lock:
            if phase in self._tasks:
                self._progress.update(self._tasks[phase][0], completed=step + 1)

    def finished(self, phase: str) -> None:
        """See `ProgressDisplay.finished`. Its bar vanishes, so that bars do not pile up."""
        with self._lock:
            if phase in self._tasks:
                self._progress.remove_task(self._tasks.pop(phase)[0])


class Lines:
    """A line for each phase that is in no other, for pipes and logs."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def started(self, phase: str, parent: str | None, steps: int) -> None:
        """See `ProgressDisplay.started`."""
        if parent is None:
            self._write(f"TensorRT: {phase}, {steps} steps")

    def stepped(self, phase: str, step: int) -> None:
        """Nothing: there would be thousands."""

    def finished(self, phase: str) -> None:
        """Nothing: the next phase says it."""


def bars(console: Console) -> Progress:
    """The live display for `Bars`; use it as a context manager."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def progress_monitor(trt: Any, display: ProgressDisplay, keep_on: Callable[[], bool]) -> Any:
    """A monitor for TensorRT's builder. `keep_on` is asked after every step; False ends the build."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the class exists only once TensorRT is loaded
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            display.started(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            display.stepped(phase_name, step)
            return keep_on()

        def phase_finish(self, phase_name: str) -> None:
            display.finished(phase_name)

    return Monitor()
