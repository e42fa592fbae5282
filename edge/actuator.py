"""The hand on the gate: turns due parts into pulses at their moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.messages import Action, ActionKind
from edge.outputs import Outputs
from edge.schedule import PulseTrain


@dataclass(frozen=True, slots=True)
class Step:
    """When the next line changes (None: nothing planned), and whether a pulse was cut at its longest time."""

    wake_ns: int | None
    overlong: bool


class Actuator:
    """Owns the lines of the gates. `step` is called by one thread, at the latest when the last step said."""

    def __init__(self, outputs: Outputs, trains: dict[str, PulseTrain]) -> None:
        self._outputs, self._trains = outputs, trains

    def step(self, now_ns: int, actions: Sequence[Action]) -> Step:
        """Take in the actions that have become due and put every line to its level of this moment."""
        for action in actions:
            if action.kind is ActionKind.FIRE:
                self._trains[action.line].add(action.due_ns, action.pulse_ms)
        overlong = any(train.overlong() for train in self._trains.values())
        for line, train in self._trains.items():
            self._outputs.write(line, train.level(now_ns))
        return Step(self._next_change_ns(now_ns), overlong)

    def _next_change_ns(self, now_ns: int) -> int | None:
        changes = [train.next_change_ns(now_ns) for train in self._trains.values()]
        return min((change for change in changes if change is not None), default=None)
