"""Figures of one picture and of many: errors, what is allowed, flips, guard band."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide import Thresholds, decide, find_regions
from edge.manifest import (
    GOLDEN,
    MODEL_FP32,
    BundleManifest,
    MapSpec,
    OnnxHead,
    Preprocessing,
    ScoreSpec,
    Source,
    Tolerance,
    Tolerances,
)
from edge.messages import Inspection, Outcome, StageTimings
from export.verify.differences import (
    Allowed,
    Difference,
    Reading,
    allowed_between,
    difference,
    in_guard_band,
    map_level,
    pair_figures,
    reading,
)

ALLOWED = Allowed(score=0.01, grid=0.02, map=0.03)
NOTHING = Thresholds()


def inspection(score, anomaly_map):
    values = np.asarray(anomaly_map, np.float32)
    box = (0, 0, 2 * values.shape[1], 2 * values.shape[0])
    return Inspection(1, score, values, box, "b", StageTimings(0, 0, 0))


def found(first, second, *, levels=(0.0, 0.0), outcomes=(Outcome.PASS, Outcome.PASS), largest=0.0):
    readings = tuple(
        Reading(score, level, outcome)
        for score, level, outcome in zip((first, second), levels, outcomes, strict=True)
    )
    return Difference("x", readings, abs(second - first), largest, largest / 2, largest, largest / 2)


def test_errors_are_absolute_and_of_every_pixel():
    readings = (Reading(0.5, 1.0, Outcome.PASS), Reading(0.2, 1.0, Outcome.REJECT))
    grids = np.zeros((1, 2, 2), np.float32), np.asarray([[[0, -3], [0, 1]]], np.float32)
    maps = np.zeros((4, 4), np.float32), np.full((4, 4), 0.25, np.float32)
    one = difference("x", readings, grids, maps)
    assert (one.score, one.grid, one.grid_mean) == (pytest.approx(0.3), 3.0, 1.0)
    assert (one.map, one.map_mean) == (0.25, 0.25)
    assert one.flipped


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_out_of_any_tolerance(value):
    broken = np.full((4, 4), value, np.float32)
    one = difference(
        "x",
        (Reading(0.5, 1.0, Outcome.PASS), Reading(value, value, Outcome.FAULT)),
        (np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.float32)),
        (broken, broken),
    )
    figures = pair_figures(("a", "b"), [found(0.1, 0.1), one], ALLOWED, Thresholds(score=0.9, map=0.9))
    assert not figures.within
    assert not figures.passed
    assert ALLOWED.used(one) == math.inf
    assert figures.closeness.guard_band == 2  # nothing is known of how far the others could be carried


def test_figures_are_the_largest_and_the_mean():
    figures = pair_figures(
        ("a", "b"), [found(0.1, 0.104, largest=0.01), found(0.3, 0.298, largest=0.03)], ALLOWED, NOTHING
    )
    assert figures.score.maximum == pytest.approx(0.004)
    assert figures.score.mean == pytest.approx(0.003)
    assert figures.map.mean == pytest.approx(0.01)
    assert figures.closeness is None
    assert not figures.within  # 0.03 of the graph's map, of 0.02
    assert pair_figures(("a", "b"), [found(0.1, 0.104)], ALLOWED, NOTHING).passed


def test_a_flip_within_tolerance_is_still_no_proof():
    flipped = found(0.499, 0.501, outcomes=(Outcome.PASS, Outcome.REJECT))
    figures = pair_figures(("a", "b"), [flipped, found(0.1, 0.1)], ALLOWED, Thresholds(score=0.5))
    assert figures.within
    assert figures.flips == 1
    assert not figures.passed


def test_guard_band_is_what_the_largest_error_could_carry():
    thresholds = Thresholds(score=0.5, recheck_score=0.3, map=0.8)
    some = [
        found(0.10, 0.102, levels=(0.2, 0.2)),  # far from everything; its error of 0.002 is the largest
        found(0.4985, 0.499, levels=(0.2, 0.2)),  # the upper of its scores is 0.001 below
        found(0.3015, 0.3015, levels=(0.2, 0.2)),  # just above the recheck threshold
        found(0.40, 0.40, levels=(0.80, 0.80)),  # on the map threshold
        found(0.4975, 0.4975, levels=(0.2, 0.2)),  # 0.0025 below: out of reach
    ]
    figures = pair_figures(("a", "b"), some, ALLOWED, thresholds)
    assert figures.closeness.guard_band == 3
    assert figures.closeness.score_margin == pytest.approx(0.001)
    assert figures.closeness.map_margin == pytest.approx(0.0, abs=1e-7)


@given(
    first=st.floats(0, 1),
    second=st.floats(0, 1),
    limit=st.floats(0, 1),
    recheck=st.floats(0, 1),
)
def test_whatever_flips_lies_in_the_guard_band(first, second, limit, recheck):
    thresholds = Thresholds(score=limit, recheck_score=recheck if recheck < limit else None)
    empty = np.zeros((2, 2), np.float32)
    outcomes = [decide(inspection(score, empty), thresholds, "b").outcome for score in (first, second)]
    one = found(first, second, outcomes=outcomes)
    assert not one.flipped or in_guard_band(one, one.score, 0.0, thresholds)


@given(seed=st.integers(0, 10_000), least=st.sampled_from([0.0, 4.0, 12.0, 40.0, 500.0]))
def test_the_level_is_where_the_region_rule_changes_its_mind(seed, least):
    looked_at = inspection(0.1, np.random.default_rng(seed).random((6, 5)))
    level = map_level(looked_at, Thresholds(map=0.5, min_area_px=least))
    if level == -math.inf:
        assert not find_regions(looked_at, Thresholds(map=-1.0, min_area_px=least))
        return
    assert find_regions(looked_at, Thresholds(map=level, min_area_px=least))
    assert not find_regions(looked_at, Thresholds(map=level + 1e-5, min_area_px=least))


def test_the_level_without_a_least_area_is_the_peak():
    looked_at = inspection(0.1, [[0.1, 0.9], [0.3, 0.2]])
    assert reading(looked_at, Outcome.PASS, NOTHING).level == pytest.approx(0.9)
    assert math.isnan(map_level(inspection(0.1, [[0.1, math.nan]]), NOTHING))


def manifest(map_spec, score_spec):
    return BundleManifest(
        backbone="none",
        head=OnnxHead(origin="test"),
        preprocessing=Preprocessing(height_px=8, width_px=8, mean=(0, 0, 0), std=(1, 1, 1)),
        map=map_spec,
        score=score_spec,
        tolerances=Tolerances(fp32=Tolerance(score=0.001, map=0.004)),
        source=Source(files={}, exporter="test"),
        files={MODEL_FP32: "0" * 64, GOLDEN: "0" * 64},
    )


@pytest.mark.parametrize(
    ("rule", "score"),
    [
        ("graph", 0.003 / 0.5),  # 0.001 and 0.002 together, on a scale of half a unit
        ("map_peak", 0.012 / 0.25),  # the map's own
        ("mean_with_map_peak", 0.5 * 0.003 / 0.5 + 0.5 * 0.012 / 0.25),  # half of each
    ],
)
def test_what_is_allowed_follows_the_tolerances_through_the_scales(rule, score):
    own = manifest(MapSpec(grid=(2, 2), scale=(0.5, 0.75)), ScoreSpec(rule=rule, scale=(1.0, 1.5)))
    allowed = allowed_between(own, [Tolerance(score=0.001, map=0.004), Tolerance(score=0.002, map=0.008)])
    assert allowed.grid == pytest.approx(0.012)
    assert allowed.map == pytest.approx(0.012 / 0.25)
    assert allowed.score == pytest.approx(score)
