"""The hand on the gate: turns due parts into pulses at their moment."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from edge.messages import Action, ActionKind
from edge.outputs import DeclaredState, Outputs
from edge.schedule import PulseTrain

HANGING_WRITE_S = 0.25


@dataclass(frozen=True, slots=True)
class Step:
    """When the next line changes (None: nothing planned), and whether a pulse was cut at its longest time."""

    wake_ns: int | None
    overlong: bool


class Actuator:
    """Owns the lines of the gates. `step` is called by one thread, at the latest when the last step said."""

    def __init__(self, outputs: Outputs, trains: dict[str, PulseTrain]) -> None:
        self._outputs, self._trains = outputs, trains
        self._writing = threading.Lock()
        self._stood_down = False

    def step(self, now_ns: int, actions: Sequence[Action]) -> Step:
        """Take in the actions that have become due and put every line to its level of this moment."""
        for action in actions:
            if action.kind is ActionKind.FIRE:
                self._trains[action.line].add(action.due_ns, action.pulse_ms)
        overlong = any(train.overlong() for train in self._trains.values())
        with self._writing:
            for line, train in self._trains.items():
                level = train.level(now_ns)
                if not self._stood_down:
                    self._outputs.write(line, level)
        return Step(self._next_change_ns(now_ns), overlong)

    def stand_down(self, state: DeclaredState) -> None:
        """Put every line to its declared level for good: later steps change nothing. For any thread.

        When a step hangs in the device, the levels are written past it after a short wait.
        """
        self._stood_down = True
        taken = self._writing.acquire(timeout=HANGING_WRITE_S)
        try:
            self._outputs.enter(state)
        finally:
            if taken:
                self._writing.release()

    def _next_change_ns(self, now_ns: int) -> int | None:
        changes = [train.next_change_ns(now_ns) for train in self._trains.values()]
        return min((change for change in changes if change is not None), default=None)
