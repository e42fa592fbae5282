"""Every trigger is accounted for: triggers = verdicts = passed + rejected + recheck + fault."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from edge.messages import ActionKind, Outcome

_FIELD_OF_OUTCOME = {
    Outcome.PASS: "passed",
    Outcome.REJECT: "rejected",
    Outcome.RECHECK: "recheck",
    Outcome.FAULT: "fault",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted since the start of the run; never reset within it.

    `frames` are pictures that arrived for a known part, whole or not; `extra_frames` those that came twice,
    too late, or for no trigger. `late_actions` are pulses that could no longer be given.
    """

    triggers: int = 0
    frames: int = 0
    extra_frames: int = 0
    verdicts: int = 0
    passed: int = 0
    rejected: int = 0
    recheck: int = 0
    fault: int = 0
    late_verdicts: int = 0
    late_actions: int = 0
    pulses: int = 0
    consecutive_rejects: int = 0

    @property
    def unaccounted(self) -> int:
        """Triggers that have no outcome (yet)."""
        return self.triggers - self.verdicts

    def counted(self, **more: int) -> Counts:
        """The same with the named counts raised."""
        return replace(self, **{name: getattr(self, name) + by for name, by in more.items()})

    def settled(self, outcome: Outcome, action: ActionKind) -> Counts:
        """The same with one more part that left the queue."""
        more = {"verdicts": 1, _FIELD_OF_OUTCOME[outcome]: 1}
        if action is not ActionKind.HOLD:
            more["pulses" if action is ActionKind.FIRE else "late_actions"] = 1
        in_a_row = 0 if outcome is Outcome.PASS else self.consecutive_rejects + 1
        return replace(self.counted(**more), consecutive_rejects=in_a_row)

    def as_dict(self) -> dict[str, int]:
        """All counts by name, with `unaccounted`."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"unaccounted": self.unaccounted}
