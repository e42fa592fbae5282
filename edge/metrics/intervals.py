"""How far a counted rate can be trusted: exact intervals, and intervals that respect groups.

Pictures of one physical item resemble each other, so a hundred pictures of five items are evidence about five
items. Where groups are known, whole groups are resampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """`errors` of `trials` with the exact two-sided interval (`low`, `high`) in [0, 1]."""

    errors: int
    trials: int
    low: float
    high: float
    confidence: float = CONFIDENCE

    @property
    def rate(self) -> float:
        """errors / trials; NaN without a trial."""
        return self.errors / self.trials if self.trials else math.nan


@dataclass(frozen=True, slots=True)
class GroupedInterval:
    """A two-sided interval for a rate, with groups and not single trials as the independent evidence.

    `method` is `bootstrap`, or `groups` where resampling cannot say anything: see `grouped_interval`.
    """

    low: float
    high: float
    groups: int
    method: Literal["bootstrap", "groups"]
    confidence: float = CONFIDENCE


def clopper_pearson(errors: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact two-sided interval for a rate; (0, 1) without a trial.

    low = Beta⁻¹(a/2; k, n-k+1), high = Beta⁻¹(1-a/2; k+1, n-k) for k errors in n trials, a = 1 - confidence
    (Clopper and Pearson 1934). Raises ValueError unless 0 <= errors <= trials and 0 < confidence < 1.
    """
    if not (0 <= errors <= trials and 0 < confidence < 1):
        raise ValueError(f"{errors} errors in {trials} trials at confidence {confidence}")
    tail = (1 - confidence) / 2
    low = 0.0 if errors == 0 else float(betaincinv(errors, trials - errors + 1, tail))
    high = 1.0 if errors == trials else float(betaincinv(errors + 1, trials - errors, 1 - tail))
    return low, high


def error_rate(errors: int, trials: int, confidence: float = CONFIDENCE) -> ErrorRate:
    """The rate with its Clopper–Pearson interval."""
    return ErrorRate(errors, trials, *clopper_pearson(errors, trials, confidence), confidence)


def parts_needed(rate: float, confidence: float = CONFIDENCE) -> int:
    """Independent parts without one error that it takes to claim "at most `rate`" (one-sided)."""
    return math.ceil(math.log(1 - confidence) / math.log1p(-rate))


def grouped_interval(
    errors: Sequence[bool], groups: Sequence[str], *, seed: int = 0, confidence: float = CONFIDENCE
) -> GroupedInterval:
    """Interval for the share of true `errors`, resampling whole `groups` (percentile bootstrap).

    `groups[i]` names the group of trial i. The interval is never narrower than the exact one, which a few
    groups of equal rate would make it. Where no trial is an error, or every one is, all resamples are alike
    and the bootstrap would claim certainty; there the exact interval is given with each group as one trial
    (method `groups`). One group says nothing about others: (0, 1). Equal input and seed give equal output.
    Raises ValueError without a trial.
    """
    if len(errors) != len(groups) or not groups:
        raise ValueError(f"{len(errors)} errors and {len(groups)} groups")
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    trials_of = np.bincount(index, minlength=names.size)
    errors_of = np.bincount(index[np.asarray(errors, bool)], minlength=names.size)
    total, count = int(errors_of.sum()), int(names.size)
    if count == 1:
        return GroupedInterval(0.0, 1.0, count, "groups", confidence)
    if total in (0, len(errors)):
        low, high = clopper_pearson(count if total else 0, count, confidence)
        return GroupedInterval(low, high, count, "groups", confidence)
    tail = (1 - confidence) / 2
    quantiles = np.quantile(_resampled_rates(errors_of, trials_of, seed), [tail, 1 - tail])
    low, high = clopper_pearson(total, len(errors), confidence)
    return GroupedInterval(
        min(low, float(quantiles[0])), max(high, float(quantiles[1])), count, "bootstrap", confidence
    )


def _resampled_rates(
    errors_of: NDArray[np.integer], trials_of: NDArray[np.integer], seed: int
) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    drawn = random.multinomial(errors_of.size, np.full(errors_of.size, 1 / errors_of.size), RESAMPLES)
    rates: NDArray[np.float64] = (drawn @ errors_of) / (drawn @ trials_of)
    return rates
