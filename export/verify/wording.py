"""How figures are written: the same in the terminal and on the page."""

from __future__ import annotations

import math

from export.verify.differences import Allowed, PairFigures
from export.verify.ranking import Ranking

UNDEFINED = "not defined"

RANKING_NAMES = {
    "image_auroc": "image AUROC",
    "image_ap": "image average precision",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO to 0.3",
}
"""Fields of `Ranking` and what they are called."""


def error(value: float) -> str:
    """An absolute error; `not finite` where a rung gave no number."""
    if not math.isfinite(value):
        return "not finite"
    return f"{value:.1e}" if value else "0"


def share(value: float) -> str:
    """An error as a share of what is allowed."""
    if not math.isfinite(value):
        return "beyond"
    percent = 100 * value
    return f"{percent:.0f} %" if percent >= 1 or percent == 0 else "< 1 %"


def margin(value: float | None) -> str:
    """A distance to a threshold; `none` without one."""
    if value is None:
        return "none"
    return f"{value:.2g}" if math.isfinite(value) else "not finite"


def merit(value: float) -> str:
    """A figure of merit."""
    return f"{value:.4f}" if math.isfinite(value) else UNDEFINED


def change(first: float, second: float) -> str:
    """What became of a figure of merit, signed; empty where it is not defined."""
    gained = second - first
    if not math.isfinite(gained):
        return ""
    return f"{gained:+.1e}" if gained else "0"


def used(figures: PairFigures) -> dict[str, float]:
    """The largest errors of a pair as shares of what is allowed, by what they are of."""
    allowed: Allowed = figures.allowed
    return {
        "score": figures.score.maximum / allowed.score,
        "grid map": figures.grid.maximum / allowed.grid,
        "anomaly map": figures.map.maximum / allowed.map,
    }


def merits(ranking: Ranking) -> dict[str, float]:
    """The four figures of merit by name."""
    return {name: getattr(ranking, field) for field, name in RANKING_NAMES.items()}
