"""The figures against labels, beside scikit-learn's on the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.messages import Frame, Inspection, PixelFormat, StageTimings
from export.verify.labelled import Picture, Subject
from export.verify.ranking import RankingPool

SIDE = 12


def subject(number, defective, marked=True):
    image = np.zeros((SIDE, SIDE), np.uint8)
    mask = np.zeros((SIDE, SIDE), bool)
    if defective:
        mask[number % 5 : number % 5 + 4, 3:8] = True
    frame = Frame(number, number, 0, 0, image, PixelFormat.MONO8)
    return Subject(Picture(Path("x"), "x", defective), frame, mask if marked else None)


def inspection(score, anomaly_map):
    return Inspection(1, score, anomaly_map, (0, 0, SIDE, SIDE), "b", StageTimings(0, 0, 0))


@pytest.fixture
def answers():
    """(subject, score, map) of 14 pictures, every third defective and easier to tell than not."""
    random = np.random.default_rng(3)
    found = []
    for number in range(14):
        one = subject(number, number % 3 == 0)
        noise = random.random((SIDE, SIDE)).astype(np.float32)
        found.append(
            (one, float(random.random() + 0.5 * (number % 3 == 0)), noise + one.mask * np.float32(0.4))
        )
    return found


def test_every_rung_is_ranked_as_scikit_learn_ranks_it(answers):
    metrics = pytest.importorskip("sklearn.metrics")
    with RankingPool(["a", "b"]) as pool:
        for one, score, values in answers:
            pool.add(one, [inspection(score, values), inspection(-score, values**2)])
        (first, a), (second, b) = pool.rankings()
    assert (first, second) == ("a", "b")
    labels = [one.picture.defective for one, _, _ in answers]
    scores = [score for _, score, _ in answers]
    assert a.image_auroc == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert a.image_ap == pytest.approx(metrics.average_precision_score(labels, scores))
    assert b.image_auroc == pytest.approx(1 - a.image_auroc)
    pixels = np.concatenate([values.ravel() for _, _, values in answers])
    truth = np.concatenate([one.mask.ravel() for one, _, _ in answers])
    assert a.pixel_auroc == pytest.approx(metrics.roc_auc_score(truth, pixels))
    assert b.pixel_auroc == pytest.approx(a.pixel_auroc)  # squaring keeps the order
    assert (a.pictures, a.maps, a.regions) == (14, 14, 5)
    assert 0.5 < a.aupro < 1


def test_what_is_not_known_counts_nowhere(answers):
    one, score, values = answers[0]
    unlabelled = Subject(Picture(Path("x"), "x"), one.frame, None)
    broken = np.full_like(values, np.nan)
    with RankingPool(["a", "b"]) as pool:
        pool.add(unlabelled, [inspection(score, values)] * 2)
        pool.add(one, [inspection(score, values), inspection(score, broken)])
        pool.add(one, [inspection(np.nan, values), inspection(score, values)])
        assert pool.rankings() == ()
        pool.add(subject(1, False), [inspection(0.1, values)] * 2)
        pool.add(subject(3, True, marked=False), [inspection(0.4, values)] * 2)
        ((_, ranking), _) = pool.rankings()
    assert (ranking.pictures, ranking.maps, ranking.regions) == (2, 1, 0)
    assert ranking.image_auroc == 1.0
    assert np.isnan(ranking.pixel_auroc)


def test_maps_of_different_shape_are_kept_apart(answers):
    one, _, values = answers[0]
    with RankingPool(["a"]) as pool:
        pool.add(one, [inspection(0.5, values)])
        pool.add(subject(1, False), [inspection(0.1, np.zeros((3, 5), np.float32))])
        ((_, ranking),) = pool.rankings()
    assert ranking.maps == 2
    assert 0 <= ranking.pixel_auroc <= 1
