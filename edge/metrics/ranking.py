"""How well scores rank defective above good: AUROC, average precision, F1-max.

All take `labels` (n,) bool, true for defective, and `scores` (n,) float, higher for more anomalous; the order
is free. All raise ValueError when the lengths differ or a score is not finite: a part that could not be
judged has no rank, and the caller must say that it was left out.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CHUNK = 1 << 22
"""Values looked up at a time, so that the two index arrays of `ranked_above` stay at 64 MiB."""


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the share of (defective, good) pairs ranked rightly, a tie counting half.

    NaN when there is no defective or no good part, because then there is no pair.
    """
    defective, values = _checked(labels, scores)
    return share_ranked_above(np.sort(values[~defective]), values[defective])


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Sum over the thresholds of (recall gained) x precision, without interpolation.

    Every distinct score is a threshold. NaN when there is no defective part, because recall is not defined.
    """
    caught, called, _ = _cumulative(labels, scores)
    if caught.size == 0 or caught[-1] == 0:
        return math.nan
    gained = np.diff(caught, prepend=0) / caught[-1]
    return float(np.sum(gained * (caught / called)))


def f1_max(labels: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """(best F1, the threshold that gives it), a part being called defective at or above the threshold.

    Every distinct score is tried; of equal ones the highest wins, which rejects the fewest. The best on the
    very set it was found on is optimistic and depends on the share of defective parts.
    (NaN, NaN) when there is no defective part.
    """
    caught, called, thresholds = _cumulative(labels, scores)
    if caught.size == 0 or caught[-1] == 0:
        return math.nan, math.nan
    f1 = 2 * caught / (called + caught[-1])
    best = int(np.argmax(f1))
    return float(f1[best]), float(thresholds[best])


def share_ranked_above(good: NDArray[np.floating], defective: NDArray[np.floating]) -> float:
    """AUROC of `defective` (any order) over ascending `good`, counted exactly; NaN if one is empty."""
    if good.size == 0 or defective.size == 0:
        return math.nan
    twice = 0
    for start in range(0, defective.size, _CHUNK):
        some = defective[start : start + _CHUNK]
        twice += int(np.searchsorted(good, some, "left").sum())
        twice += int(np.searchsorted(good, some, "right").sum())
    return twice / (2 * good.size * defective.size)


def _cumulative(
    labels: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """For each distinct score, from high to low: defective parts at or above it, all parts, the score."""
    defective, values = _checked(labels, scores)
    order = np.argsort(-values, kind="stable")
    values = values[order]
    last_of_tie = np.flatnonzero(np.diff(values, append=-np.inf))
    caught = np.cumsum(defective[order], dtype=np.int64)[last_of_tie]
    return caught, (last_of_tie + 1).astype(np.int64), values[last_of_tie]


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    defective, values = np.asarray(labels, bool), np.asarray(scores, np.float64)
    if defective.ndim != 1 or defective.shape != values.shape:
        raise ValueError(f"labels {defective.shape} and scores {values.shape} must be (n,) each")
    if not np.isfinite(values).all():
        raise ValueError("a score is not finite")
    return defective, values
