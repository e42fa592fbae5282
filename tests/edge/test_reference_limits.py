"""The library's own judgement, beside ours."""

import math

import pytest

from edge.manifest import ReferenceLimits, ReferenceScale
from edge.reference_limits import reference_judgement


def limits(**changes):
    return ReferenceLimits(source="anomalib 2", score=ReferenceScale(threshold=20.0, span=10.0), **changes)


@pytest.mark.parametrize(
    ("raw", "score", "bad"),
    [
        (20.0, 0.5, False),  # exactly at the threshold: strict in 2.x
        (20.1, 0.51, True),
        (14.0, 0.0, False),  # clipped
        (99.0, 1.0, True),
        (18.0, 0.3, False),
    ],
)
def test_normalised_as_the_library_does(raw, score, bad):
    found = reference_judgement(limits(), raw)
    assert found.score == pytest.approx(score)
    assert found.bad is bad


def test_version_1_counts_the_limit_itself_as_bad():
    assert reference_judgement(limits(bad_at_limit=True), 20.0).bad


def test_sensitivity_moves_the_label_and_not_the_score():
    found = reference_judgement(limits(bad_above=0.7), 21.0)
    assert (found.score, found.bad) == (pytest.approx(0.6), False)


@pytest.mark.parametrize("raw", [math.nan, math.inf])
def test_no_number_gives_no_judgement(raw):
    assert reference_judgement(limits(), raw) is None


def test_without_limits_there_is_no_judgement():
    assert reference_judgement(None, 1.0) is None
    assert reference_judgement(ReferenceLimits(source="anomalib 2"), 1.0) is None
