"""Output lines that keep (time, line, level) instead of driving anything.

It declares and enters start, stop, crash and stall levels as a device does. It does not model rise times, a
refused request, or a line that another process holds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TextIO

from edge.clock import Clock
from edge.config import RecorderOutputConfig
from edge.errors import OpenError, OperateError
from edge.outputs import DeclaredState

KEPT_EDGES = 100_000
"""Edges kept in memory; older ones are dropped first. The file, when there is one, keeps all."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One change of one line, at monotonic `time_ns`."""

    time_ns: int
    line: str
    level: bool


class RecorderOutputs:
    """See the module; the written levels are in `edges`, the present ones in `levels`."""

    def __init__(self, config: RecorderOutputConfig, clock: Clock) -> None:
        self.edges: deque[Edge] = deque(maxlen=KEPT_EDGES)
        self.levels: dict[str, bool] = {}
        self._config, self._clock = config, clock
        self._file: TextIO | None = _open_file(config)
        self.enter(DeclaredState.START)

    @property
    def lines(self) -> tuple[str, ...]:
        """See `Outputs.lines`."""
        return tuple(self._config.lines)

    def write(self, line: str, level: bool) -> None:
        """See `Outputs.write`. Writing the level that a line already has leaves no edge."""
        if line not in self._config.lines:
            raise OperateError(f"There is no output line '{line}'.", do="Name it under outputs.lines.")
        if self.levels.get(line) == level:
            return
        self.levels[line] = level
        edge = Edge(self._clock.now_ns(), line, level)
        self.edges.append(edge)
        self._keep(edge)

    def enter(self, state: DeclaredState) -> None:
        """See `Outputs.enter`."""
        for line, declared in self._config.lines.items():
            self.write(line, bool(getattr(declared, state.value)))

    def close(self) -> None:
        """See `Outputs.close`."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _keep(self, edge: Edge) -> None:
        if self._file is None:
            return
        try:
            self._file.write(f"{edge.time_ns},{edge.line},{int(edge.level)}\n")
        except OSError:
            # The lines must go on working when the disk does not; memory still has the edge.
            self._file = None


def _open_file(config: RecorderOutputConfig) -> TextIO | None:
    if config.file is None:
        return None
    try:
        config.file.parent.mkdir(parents=True, exist_ok=True)
        file = config.file.open("w", encoding="utf-8", buffering=1)
        file.write("time_ns,line,level\n")
    except OSError as fault:
        raise OpenError(
            f"The output recorder cannot write {config.file}: {fault.strerror}.",
            do="Choose a writable outputs.file, or leave it out.",
        ) from fault
    return file
