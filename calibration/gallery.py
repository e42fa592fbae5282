"""Which parts are shown, and in which order: a rule that can be stated, not a choice of the prettiest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from calibration.results import PartResult, RunResult


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Parts shown together, the first of `total`. `wrong` says that the appliance erred on them."""

    heading: str
    none: str
    parts: tuple[PartResult, ...]
    total: int
    wrong: bool

    @property
    def count(self) -> str:
        """How many there are and how many are shown."""
        shown = len(self.parts)
        return f"{self.total}" if shown == self.total else f"{shown} of {self.total} shown"


def blocks(result: RunResult, most: int, row: int = 1) -> tuple[Block, ...]:
    """Rejected parts, escapes and overkill, together at most `most` pictures.

    Escapes and overkill get up to a third each, in part order; rejected parts take the rest, in turn from
    each kind of defect, each kind in part order. Where not all of them fit, they fill whole rows of `row`.
    """
    escapes = [part for part in result.parts if part.escaped]
    overkill = [part for part in result.parts if part.overkilled]
    rejected = [part for part in result.parts if not part.passed and not part.overkilled]
    wrong = (
        Block(
            "Escapes: defective parts that passed", "No escape in this run", *_first(escapes, most // 3), True
        ),
        Block(
            "Overkill: good parts that did not pass",
            "No overkill in this run",
            *_first(overkill, most // 3),
            True,
        ),
    )
    left = most - sum(len(block.parts) for block in wrong)
    left = left if len(rejected) <= left else left - left % row
    heading = "Rejected defective parts" if result.unknown == 0 else "Rejected"
    return (Block(heading, "No other part was rejected", *_first(in_turn(rejected), left), False), *wrong)


def in_turn(parts: Sequence[PartResult]) -> list[PartResult]:
    """One of each kind of defect, then the second of each, and so on."""
    kinds: dict[str, list[PartResult]] = {}
    for part in parts:
        kinds.setdefault(part.truth.defect if part.truth else "", []).append(part)
    rounds = zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    return [part for one_of_each in rounds for part in one_of_each if part is not None]


def _first(parts: Sequence[PartResult], most: int) -> tuple[tuple[PartResult, ...], int]:
    return tuple(parts[:most]), len(parts)
