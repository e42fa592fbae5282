"""The live table of a demo: what just happened on the line, readable in a terminal and in a pipe."""

from __future__ import annotations

import math
import threading
from collections import deque
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edge.account import Counts
from edge.messages import Frame, Inspection, Outcome, Verdict
from edge.pipeline import Settled

ROWS = 14
STYLES = {
    Outcome.PASS: "green",
    Outcome.REJECT: "bold red",
    Outcome.RECHECK: "yellow",
    Outcome.FAULT: "magenta",
}
PIPE_EVERY = 20
"""In a pipe: one line for every part that is not passed, and a line of counts this often."""


class LiveView:
    """An `Observer` that draws. Parts come from the line's threads, drawing is done by the main thread."""

    def __init__(self, console: Console, product: str, parts: int) -> None:
        self._console, self._product, self._parts = console, product, parts
        self._rows: deque[Settled] = deque(maxlen=ROWS)
        self._fresh: deque[Settled] = deque()
        self._lock = threading.Lock()
        self._live: Live | None = None

    def __enter__(self) -> LiveView:
        self._console.print(
            f"{self._product}, {self._parts} parts on a simulated line: shows the appliance, not the "
            "accuracy you will get. Ctrl-C ends it.",
            highlight=False,
        )
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
        else:
            self._print_fresh()

    def decided(self, frame: Frame, inspection: Inspection | None, verdict: Verdict) -> None:
        """See `Observer.decided`; the table waits until the part has left the line."""

    def settled(self, settled: Settled) -> None:
        """See `Observer.settled`. Keeps the part without its picture."""
        seen = Settled(settled.trigger, None, settled.action, settled.decided_ns)
        with self._lock:
            self._fresh.append(seen)

    def refresh(self, counts: Counts) -> None:
        """Draw what is new; called by the main thread."""
        if self._live is None:
            self._print_fresh()
            return
        self._rows.extend(self._take_fresh())
        self._live.update(self._screen(counts), refresh=True)

    def _take_fresh(self) -> list[Settled]:
        with self._lock:
            fresh = list(self._fresh)
            self._fresh.clear()
        return fresh

    def _print_fresh(self) -> None:
        for part in self._take_fresh():
            number = part.trigger.part_id
            if part.verdict.outcome is not Outcome.PASS or number % PIPE_EVERY == 0:
                score, why = _score(part), _why(part)
                self._console.print(
                    f"part {number:>5}  {part.verdict.outcome.value.upper():<8} score {score}  "
                    f"latency {_latency(part)} ms  {why}".rstrip(),
                    highlight=False,
                )

    def _screen(self, counts: Counts) -> RenderableType:
        table = Table()
        for name, align in (
            ("part", "right"),
            ("score", "right"),
            ("verdict", "left"),
            ("why", "left"),
            ("latency ms", "right"),
            ("margin ms", "right"),
        ):
            table.add_column(name, justify="right" if align == "right" else "left")
        for part in self._rows:
            outcome = part.verdict.outcome
            table.add_row(
                str(part.trigger.part_id),
                _score(part),
                Text(outcome.value.upper(), STYLES[outcome]),
                _why(part),
                _latency(part),
                _number(part.action.margin_ms),
            )
        return Group(self._headline(counts), self._bar(counts), table)

    def _bar(self, counts: Counts) -> Table:
        """The bar in a grid of its own: by itself it would not end its line."""
        grid = Table.grid()
        grid.add_row(ProgressBar(self._parts, counts.verdicts, width=72))
        return grid

    def _headline(self, counts: Counts) -> Text:
        return Text.assemble(
            (f"{counts.verdicts}/{self._parts} parts  ", "bold"),
            (f"passed {counts.passed}  ", STYLES[Outcome.PASS]),
            (f"rejected {counts.rejected}  ", STYLES[Outcome.REJECT]),
            (f"recheck {counts.recheck}  ", STYLES[Outcome.RECHECK]),
            (f"fault {counts.fault}  ", STYLES[Outcome.FAULT]),
            f"on the belt {counts.unaccounted}",
        )


def _score(part: Settled) -> str:
    return _number(part.verdict.score, 3)


def _why(part: Settled) -> str:
    return ", ".join(reason.value for reason in part.verdict.reasons)


def _latency(part: Settled) -> str:
    if part.decided_ns is None:
        return "-"
    return _number((part.decided_ns - part.trigger.triggered_ns) / 1e6)


def _number(value: float, digits: int = 0) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
