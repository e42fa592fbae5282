"""Thresholds with a stated guarantee.

Split conformal (Vovk et al. 2005; Angelopoulos & Bates 2021): with n scores of good parts that were used for
nothing else, a threshold just above the k-th smallest, k = ⌈(n + 1)(1 − α)⌉, rejects the next good part with
a probability of at most α, as long as good parts stay exchangeable with those of the calibration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge.errors import ConfigError


def conformal_threshold(good_scores: Sequence[float], overkill: float) -> float:
    """The threshold for rule "reject at or above", with P(overkill) ≤ `overkill` for the next good part.

    Raises `ConfigError` when a score is not finite, or when there are too few parts to carry the claim: it
    takes at least 1/α − 1.
    """
    if not 0 < overkill < 1:
        raise ConfigError(
            f"An overkill rate of {overkill} is not possible.", do="Ask for one between 0 and 1."
        )
    count = len(good_scores)
    rank = math.ceil((count + 1) * (1 - overkill))
    if rank > count:
        raise ConfigError(
            f"{count} good parts cannot carry an overkill rate of {overkill:.2%}.",
            do=f"Take at least {math.ceil(1 / overkill) - 1} good parts, or ask for a higher rate.",
        )
    ordered = np.sort(np.asarray(good_scores, np.float64))
    if not np.isfinite(ordered).all():
        raise ConfigError(
            "A score of a good part is not a number.", do="Find that picture and inspect it alone."
        )
    return float(np.nextafter(ordered[rank - 1], np.inf))
