"""Verdict + time → Action: the part queue between camera and gate. Pure: time is passed in.

    trigger            frame         verdict   deadline  due           pulse end
       │                 │              │          │       │               │
    ───┴─────────────────┴──────────────┴──────────┴───────┴───────────────┴───▶ time
       ├─────────────────── travel_ms ────────────────────▶│◀── pulse_ms ─▶│
                                                   │◀─lead▶│
                                        │◀ margin ▶│

Everything is timed from the trigger, never from when the result arrives. A part without a verdict at its
deadline is a FAULT, so it is rejected. Every trigger leaves the queue with exactly one Action.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import Enum

from edge.decide import Thresholds, fault_verdict
from edge.messages import Action, ActionKind, Outcome, Reason, Trigger, Verdict

MS = 1_000_000


class Arrival(str, Enum):
    """What became of a frame or verdict that reached the queue."""

    EXPECTED = "expected"
    DUPLICATE = "duplicate"  # this part already has one
    LATE = "late"  # this part has already left the queue
    UNKNOWN = "unknown"  # no trigger with this part id was ever seen


@dataclass(frozen=True, slots=True)
class Gate:
    """Where the gate is and how it acts; see the drawing above."""

    line: str
    travel_ms: float
    pulse_ms: float
    decision_lead_ms: float
    fires_on_pass: bool = False

    def due_ns(self, triggered_ns: int) -> int:
        """When the part that triggered then is at the gate."""
        return triggered_ns + round(self.travel_ms * MS)

    def deadline_ns(self, triggered_ns: int) -> int:
        """The last moment at which a verdict on that part counts."""
        return self.due_ns(triggered_ns) - round(self.decision_lead_ms * MS)


@dataclass(frozen=True, slots=True)
class _Entry:
    trigger: Trigger
    framed: bool = False
    verdict: Verdict | None = None
    margin_ms: float = math.nan


class PartQueue:
    """All parts between photo-eye and gate, in the order of their triggers. Not thread-safe."""

    def __init__(self, gate: Gate, thresholds: Thresholds) -> None:
        self._gate, self._thresholds = gate, thresholds
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._last_part_id = 0

    def __len__(self) -> int:
        return len(self._entries)

    def trigger(self, trigger: Trigger) -> Arrival:
        """Take a part in. An id that is not above all before it is a DUPLICATE and changes nothing."""
        if trigger.part_id <= self._last_part_id:
            return Arrival.DUPLICATE
        self._last_part_id = trigger.part_id
        self._entries[trigger.part_id] = _Entry(trigger)
        return Arrival.EXPECTED

    def frame(self, part_id: int) -> Arrival:
        """Note that the picture of a part arrived; only an EXPECTED one may be decided."""
        arrival = self._arrival(part_id)
        if arrival is not Arrival.EXPECTED:
            return arrival
        entry = self._entries[part_id]
        if entry.framed:
            return Arrival.DUPLICATE
        self._entries[part_id] = replace(entry, framed=True)
        return Arrival.EXPECTED

    def verdict(self, verdict: Verdict, now_ns: int) -> Arrival:
        """Take a verdict in. After the part's deadline it is LATE, and the part stays a FAULT."""
        arrival = self._arrival(verdict.part_id)
        if arrival is not Arrival.EXPECTED:
            return arrival
        entry = self._entries[verdict.part_id]
        if entry.verdict is not None:
            return Arrival.DUPLICATE
        left_ns = self._gate.deadline_ns(entry.trigger.triggered_ns) - now_ns
        if left_ns < 0:
            return Arrival.LATE
        self._entries[verdict.part_id] = replace(entry, verdict=verdict, margin_ms=left_ns / MS)
        return Arrival.EXPECTED

    def next_deadline_ns(self) -> int | None:
        """When the next part must be acted on; None when the queue is empty."""
        first = next(iter(self._entries.values()), None)
        return None if first is None else self._gate.deadline_ns(first.trigger.triggered_ns)

    def due(self, now_ns: int) -> list[Action]:
        """Actions for all parts whose deadline has come, each part exactly once."""
        actions = []
        while self._entries:
            part_id, entry = next(iter(self._entries.items()))
            if self._gate.deadline_ns(entry.trigger.triggered_ns) > now_ns:
                break
            del self._entries[part_id]
            actions.append(self._action(entry, now_ns))
        return actions

    def _arrival(self, part_id: int) -> Arrival:
        if part_id in self._entries:
            return Arrival.EXPECTED
        return Arrival.LATE if 0 < part_id <= self._last_part_id else Arrival.UNKNOWN

    def _action(self, entry: _Entry, now_ns: int) -> Action:
        verdict = entry.verdict or self._undecided(entry)
        due_ns = self._gate.due_ns(entry.trigger.triggered_ns)
        wanted = (verdict.outcome is Outcome.PASS) == self._gate.fires_on_pass
        kind = ActionKind.FIRE if wanted else ActionKind.HOLD
        if kind is ActionKind.FIRE and now_ns >= due_ns + round(self._gate.pulse_ms * MS):
            kind = ActionKind.LATE
        return Action(
            verdict.part_id, kind, self._gate.line, due_ns, self._gate.pulse_ms, verdict, entry.margin_ms
        )

    def _undecided(self, entry: _Entry) -> Verdict:
        reason = Reason.NO_VERDICT_IN_TIME if entry.framed else Reason.MISSING_FRAME
        return fault_verdict(entry.trigger.part_id, reason, self._thresholds)


class PulseTrain:
    """When one line is to be on. Overlapping pulses merge into one longer pulse. Not thread-safe.

    `max_on_ms` bounds the on-time of a merged pulse: the line is put off then, whatever was asked for.
    """

    def __init__(self, max_on_ms: float | None = None) -> None:
        self._max_on_ns = None if max_on_ms is None else round(max_on_ms * MS)
        self._pulses: list[tuple[int, int]] = []

    def add(self, on_ns: int, pulse_ms: float) -> None:
        """Ask for a pulse; the order of calls does not matter."""
        pulses = sorted([*self._pulses, (on_ns, on_ns + round(pulse_ms * MS))])
        self._pulses = pulses[:1]
        for start, end in pulses[1:]:
            last_start, last_end = self._pulses[-1]
            if start <= last_end:
                self._pulses[-1] = (last_start, max(last_end, end))
            else:
                self._pulses.append((start, end))

    def level(self, now_ns: int) -> bool:
        """Whether the line is on at `now_ns`; forgets pulses that are over."""
        self._pulses = [pulse for pulse in self._pulses if pulse[1] > now_ns]
        return any(start <= now_ns < self._end(start, end) for start, end in self._pulses)

    def overlong(self) -> bool:
        """Whether merged pulses ask for more than the longest on-time allowed."""
        return any(self._end(start, end) < end for start, end in self._pulses)

    def next_change_ns(self, now_ns: int) -> int | None:
        """The next moment after `now_ns` at which the level changes; None when nothing is planned."""
        edges = [edge for start, end in self._pulses for edge in (start, self._end(start, end))]
        return min((edge for edge in edges if edge > now_ns), default=None)

    def _end(self, start: int, end: int) -> int:
        return end if self._max_on_ns is None else min(end, start + self._max_on_ns)
