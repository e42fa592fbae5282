"""AUROC, average precision and F1-max against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as yardstick

from edge.metrics import auroc, average_precision, f1_max

# Scores from a small set, so that ties within and between the classes are the rule.
graded = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40)


def split(parts):
    return [bad for bad, _ in parts], [score / 3 for _, score in parts]


@settings(deadline=None, max_examples=40)
@given(graded.filter(lambda parts: len({bad for bad, _ in parts}) == 2))
def test_auroc_is_scikit_learns_with_ties(parts):
    labels, scores = split(parts)
    assert auroc(labels, scores) == pytest.approx(yardstick.roc_auc_score(labels, scores), abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(graded.filter(lambda parts: any(bad for bad, _ in parts)))
def test_average_precision_is_scikit_learns_with_ties(parts):
    labels, scores = split(parts)
    expected = yardstick.average_precision_score(labels, scores)
    assert average_precision(labels, scores) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(graded.filter(lambda parts: any(bad for bad, _ in parts)))
def test_f1_max_is_the_best_of_all_thresholds(parts):
    labels, scores = split(parts)
    tried = {t: yardstick.f1_score(labels, [score >= t for score in scores]) for t in set(scores)}
    best, threshold = f1_max(labels, scores)
    assert best == pytest.approx(max(tried.values()), abs=1e-9)
    assert threshold == max(t for t, f1 in tried.items() if f1 == pytest.approx(best, abs=1e-12))


def test_many_scores_are_ranked_exactly():
    rng = np.random.default_rng(3)
    labels, scores = rng.random(20_000) < 0.03, rng.normal(size=20_000).astype(np.float32)
    assert auroc(labels, scores) == pytest.approx(yardstick.roc_auc_score(labels, scores), abs=1e-9)


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 1.0),  # all pairs right
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 0.0),  # all wrong
        ([0, 1], [0.5, 0.5], 0.5),  # a tie counts half
    ],
)
def test_auroc_by_hand(labels, scores, expected):
    assert auroc(labels, scores) == expected


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]])
def test_auroc_is_not_defined_with_one_class(labels):
    assert math.isnan(auroc(labels, [0.5] * len(labels)))


@pytest.mark.parametrize("labels", [[], [0, 0]])
def test_precision_is_not_defined_without_a_defective_part(labels):
    scores = [0.5] * len(labels)
    assert math.isnan(average_precision(labels, scores))
    assert all(math.isnan(value) for value in f1_max(labels, scores))


@pytest.mark.parametrize("figure", [auroc, average_precision, f1_max])
@pytest.mark.parametrize(("labels", "scores"), [([0, 1], [0.1, math.nan]), ([0, 1], [0.1])])
def test_scores_that_cannot_be_ranked_are_refused(figure, labels, scores):
    with pytest.raises(ValueError, match=r"not finite|\(n,\) each"):
        figure(labels, scores)
