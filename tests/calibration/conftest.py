"""A small run with everything in it: rejects of two kinds, an escape, overkill, a fault without a picture."""

import math

import numpy as np
import pytest

from calibration.results import PartResult, RunIdentity, run_result
from calibration.truth import Truth
from edge.account import Counts
from edge.decide import Thresholds
from edge.messages import ActionKind, Outcome, Reason

SIDE = 24
THRESHOLD = 0.5


def part(part_id, score, defect="", group="", **changes):
    """One part decided by its score alone, with a map that is hot at the defect and a picture."""
    rng = np.random.default_rng(part_id)
    mask = np.zeros((SIDE, SIDE), bool)
    if defect:
        mask[4:8, 4:14] = True
    outcome = Outcome.REJECT if score >= THRESHOLD else Outcome.PASS
    values = {
        "part_id": part_id,
        "outcome": outcome,
        "reasons": (Reason.SCORE,) if outcome is Outcome.REJECT else (),
        "score": score,
        "threshold": THRESHOLD,
        "latency_ms": 20.0 + part_id,
        "margin_ms": 100.0 - part_id,
        "truth": Truth(bool(defect), defect, None, group),
        "anomaly_map": (rng.random((SIDE, SIDE)) * 0.2 + mask * score).astype(np.float32),
        "mask": mask if defect else None,
        "thumbnail": rng.integers(60, 200, (SIDE, SIDE, 3), dtype=np.uint8),
    }
    return PartResult(**values | changes)


def fault(part_id, defect=""):
    """A part of which nothing was seen."""
    return part(
        part_id,
        math.nan,
        defect,
        outcome=Outcome.FAULT,
        reasons=(Reason.MISSING_FRAME,),
        latency_ms=math.nan,
        margin_ms=math.nan,
        anomaly_map=None,
        mask=None,
        thumbnail=None,
    )


def counted(parts):
    """What the line would have counted."""
    counts = Counts(triggers=len(parts), frames=sum(part.thumbnail is not None for part in parts))
    for each in parts:
        counts = counts.settled(each.outcome, ActionKind.HOLD if each.passed else ActionKind.FIRE)
    return counts


def judged(parts, **identity):
    """The result of a run of these parts."""
    values = {
        "bundle_id": "b" * 64,
        "config_id": "c" * 64,
        "thresholds": Thresholds(score=THRESHOLD),
        "title": "Test run",
    }
    return run_result(parts, counted(parts), RunIdentity(**values | identity))


@pytest.fixture
def make():
    """The builders above, by name."""
    return {"part": part, "fault": fault, "judged": judged, "counted": counted}


@pytest.fixture
def parts():
    """Good: 1-6 passed, 7 rejected, 8 a fault. Defective: 9, 10 scratch and 11 crack caught, 12 crack escaped."""
    good = [part(n, 0.05 * n) for n in range(1, 7)]
    bad = [part(9, 0.9, "scratch"), part(10, 0.7, "scratch"), part(11, 0.8, "crack"), part(12, 0.4, "crack")]
    return [*good, part(7, 0.6), fault(8), *bad]


@pytest.fixture
def result(parts):
    """The run of `parts`."""
    return judged(parts)
