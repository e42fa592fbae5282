"""Split conformal thresholds: the guarantee holds, and a claim that the data cannot carry is refused."""

import numpy as np
import pytest

from calibration.threshold import conformal_threshold
from edge.errors import ConfigError


def test_threshold_lies_just_above_the_kth_smallest():
    scores = [i / 100 for i in range(99)]
    # n = 99, 5 %: k = ceil(100 * 0.95) = 95
    threshold = conformal_threshold(scores, 0.05)
    assert sum(score >= threshold for score in scores) == 4
    assert threshold == np.nextafter(0.94, np.inf)


@pytest.mark.parametrize(("count", "rate"), [(99, 0.01), (999, 0.001), (19, 0.05)])
def test_least_number_of_parts(count, rate):
    scores = np.linspace(0, 1, count)
    assert conformal_threshold(scores, rate) > scores.max()
    with pytest.raises(ConfigError, match=f"{count - 1} good parts cannot carry"):
        conformal_threshold(scores[1:], rate)


def test_overkill_of_the_next_part_keeps_the_promise():
    rng, rate, trials = np.random.default_rng(0), 0.05, 20_000
    scores = rng.standard_normal((trials, 60))
    rejected = [s[-1] >= conformal_threshold(s[:-1], rate) for s in scores]
    # The exact probability is 3/60; four standard deviations of the simulation are allowed.
    assert np.mean(rejected) == pytest.approx(3 / 60, abs=4 * (0.05 * 0.95 / trials) ** 0.5)


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_impossible_rates(rate):
    with pytest.raises(ConfigError, match="not possible"):
        conformal_threshold([0.1] * 100, rate)


def test_scores_that_are_no_numbers():
    with pytest.raises(ConfigError, match="not a number"):
        conformal_threshold([0.1] * 100 + [float("nan")], 0.05)
