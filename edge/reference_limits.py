"""What the library that an imported network comes from would say about a score. Pure.

anomalib normalises raw scores to [0, 1] so that 0.5 is its own threshold, clip((raw - threshold) / span +
0.5, 0, 1), and calls a picture anomalous from there on (1.x) or above it (2.x). It is told beside our verdict
and never part of it: the threshold is the best F1 of a validation set, and carries no promise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge.manifest import ReferenceLimits


@dataclass(frozen=True, slots=True)
class ReferenceJudgement:
    """The normalised score in [0, 1] and the label."""

    score: float
    bad: bool


def reference_judgement(limits: ReferenceLimits | None, raw_score: float) -> ReferenceJudgement | None:
    """The library's own judgement of a raw score; None without limits, or for a score that is no number."""
    if limits is None or limits.score is None or not math.isfinite(raw_score):
        return None
    normalised = (raw_score - limits.score.threshold) / limits.score.span + 0.5
    clipped = min(1.0, max(0.0, normalised))
    bad = clipped >= limits.bad_above if limits.bad_at_limit else clipped > limits.bad_above
    return ReferenceJudgement(clipped, bad)
