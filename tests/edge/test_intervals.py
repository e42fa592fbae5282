"""Intervals of rates: exact ones against scipy and published values, grouped ones by their properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from edge.metrics import clopper_pearson, error_rate, grouped_interval, parts_needed


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_is_scipys_exact_interval(counted):
    errors, trials = counted
    expected = binomtest(errors, trials).proportion_ci(0.95, method="exact")
    assert clopper_pearson(errors, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(
    ("errors", "trials", "low", "high"),  # in percent, two-sided 95 %, as printed in tables
    [(0, 5, 0, 52.2), (0, 20, 0, 16.8), (0, 299, 0, 1.2), (2, 8, 3.2, 65.1), (1, 100, 0.03, 5.4)],
)
def test_clopper_pearson_by_the_table(errors, trials, low, high):
    found = clopper_pearson(errors, trials)
    assert 100 * found[0] == pytest.approx(low, abs=0.05)
    assert 100 * found[1] == pytest.approx(high, abs=0.05)


def test_without_a_trial_nothing_is_known():
    nothing = error_rate(0, 0)
    assert (nothing.low, nothing.high) == (0, 1)
    assert math.isnan(nothing.rate)


@pytest.mark.parametrize(("errors", "trials", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_impossible_counts_are_refused(errors, trials, confidence):
    with pytest.raises(ValueError, match="trials at confidence"):
        clopper_pearson(errors, trials, confidence)


@pytest.mark.parametrize(("rate", "parts"), [(0.1, 29), (0.05, 59), (0.02, 149), (0.01, 299), (0.001, 2995)])
def test_parts_needed_by_the_table(rate, parts):
    assert parts_needed(rate) == parts


def test_items_that_fail_whole_widen_the_interval():
    errors, groups = [True] * 10 + [False] * 90, [f"item {n // 10}" for n in range(100)]
    exact, grouped = error_rate(10, 100), grouped_interval(errors, groups)
    assert grouped.groups == 10
    assert grouped.method == "bootstrap"
    assert grouped.low <= exact.low < 0.1 < exact.high < grouped.high


def test_it_covers_what_it_promises():
    """95 % intervals over 30 items of 5 pictures whose item decides all five: they cover the truth."""
    rng, covered, runs = np.random.default_rng(8), 0, 100
    groups = [f"{n}" for n in range(30) for _ in range(5)]
    for _ in range(runs):
        errors = np.repeat(rng.random(30) < 0.2, 5)
        found = grouped_interval(errors.tolist(), groups)
        covered += found.low <= 0.2 <= found.high
    assert covered / runs >= 0.85  # a percentile bootstrap falls a little short; the exact one covers 0.55


@pytest.mark.parametrize(("error", "low", "high"), [(False, 0, 0.308), (True, 0.692, 1)])
def test_without_variation_each_item_is_one_trial(error, low, high):
    found = grouped_interval([error] * 50, [f"{n % 10}" for n in range(50)])
    assert found.method == "groups"
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4)


def test_one_item_says_nothing_about_others():
    found = grouped_interval([True, False, False], ["a", "a", "a"])
    assert (found.low, found.high) == (0, 1)


def test_equal_rates_in_all_items_do_not_claim_certainty():
    found = grouped_interval([True, False] * 8, [f"{n // 2}" for n in range(16)])
    exact = error_rate(8, 16)
    assert (found.low, found.high) == (exact.low, exact.high)


def test_the_same_input_gives_the_same_interval():
    errors, groups = [n % 7 == 0 for n in range(60)], [f"{n % 12}" for n in range(60)]
    assert grouped_interval(errors, groups) == grouped_interval(errors, groups)


@pytest.mark.parametrize(("errors", "groups"), [([], []), ([True], ["a", "b"])])
def test_trials_without_their_group_are_refused(errors, groups):
    with pytest.raises(ValueError, match="groups"):
        grouped_interval(errors, groups)
