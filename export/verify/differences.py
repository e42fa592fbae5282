"""How far apart two rungs are on one picture, and what that sums up to over many. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.decide import Thresholds, find_regions
from edge.manifest import BundleManifest, Tolerance
from edge.messages import Inspection, Outcome
from export.verify.parity import map_span


@dataclass(frozen=True, slots=True)
class Reading:
    """What one rung says about one picture, in numbers.

    `level` is the highest map threshold at which a region would still reject: without a least area, the
    largest value of the map.
    """

    score: float
    level: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Difference:
    """Two rungs on one picture; errors are absolute, of the image score, the graph's map, the finished map."""

    name: str
    readings: tuple[Reading, Reading]
    score: float
    grid: float
    grid_mean: float
    map: float
    map_mean: float

    @property
    def flipped(self) -> bool:
        """Whether the two decide differently."""
        return self.readings[0].outcome is not self.readings[1].outcome


@dataclass(frozen=True, slots=True)
class Allowed:
    """Largest allowed errors of one pair, in the units of `Difference`."""

    score: float
    grid: float
    map: float

    def used(self, difference: Difference) -> float:
        """The largest error as a share of what is allowed; infinite for one that is not a number."""
        shares = (difference.score / self.score, difference.grid / self.grid, difference.map / self.map)
        return max(share if math.isfinite(share) else math.inf for share in shares)


@dataclass(frozen=True, slots=True)
class Spread:
    """The largest and the mean value over all pictures."""

    maximum: float
    mean: float


@dataclass(frozen=True, slots=True)
class Closeness:
    """How near the pictures lie to the thresholds.

    `guard_band` counts pictures so near to one that the largest error of the pair could carry them over it.
    The margins are the smallest distances of a score and of a map's level, None without such a threshold.
    """

    flips: int
    guard_band: int
    score_margin: float | None
    map_margin: float | None


@dataclass(frozen=True, slots=True)
class PairFigures:
    """Two rungs over a set of pictures. `closeness` is None when no threshold is in force."""

    first: str
    second: str
    pictures: int
    score: Spread
    grid: Spread
    map: Spread
    allowed: Allowed
    closeness: Closeness | None

    @property
    def within(self) -> bool:
        """Whether every error is within its tolerance; one that is not a number is not."""
        return (
            self.score.maximum <= self.allowed.score
            and self.grid.maximum <= self.allowed.grid
            and self.map.maximum <= self.allowed.map
        )

    @property
    def flips(self) -> int:
        """Pictures on which the two decide differently, as far as that can be counted."""
        return 0 if self.closeness is None else self.closeness.flips

    @property
    def passed(self) -> bool:
        """Within tolerance, and no verdict flips."""
        return self.within and self.flips == 0


def reading(inspection: Inspection, outcome: Outcome, thresholds: Thresholds) -> Reading:
    """The numbers of one inspection."""
    return Reading(inspection.score, map_level(inspection, thresholds), outcome)


def map_level(inspection: Inspection, thresholds: Thresholds) -> float:
    """The highest map threshold at which a region of the least area remains; -inf if none ever does.

    NaN when a value of the map is not finite.
    """
    values = inspection.anomaly_map
    if not np.isfinite(values).all():
        return math.nan
    high = float(values.max())
    if thresholds.min_area_px <= 0:
        return high
    low = float(values.min())
    if not _rejects(inspection, thresholds, low):
        return -math.inf
    # A lower threshold only adds pixels, so what rejects at one level rejects below it.
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if _rejects(inspection, thresholds, middle) else (low, middle)
        if high - low <= 1e-7 * max(abs(low), abs(high)):
            break
    return low


def difference(
    name: str,
    readings: tuple[Reading, Reading],
    grids: tuple[NDArray[np.float32], NDArray[np.float32]],
    maps: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> Difference:
    """Measure one picture; `grids` are the graph's maps, `maps` the finished ones."""
    with np.errstate(invalid="ignore"):  # infinite in both gives a NaN, which is out of any tolerance
        grid, whole = (np.abs(np.subtract(b, a, dtype=np.float64)) for a, b in (grids, maps))
    return Difference(
        name,
        readings,
        abs(readings[1].score - readings[0].score),
        float(grid.max()),
        float(grid.mean()),
        float(whole.max()),
        float(whole.mean()),
    )


def allowed_between(manifest: BundleManifest, tolerances: Sequence[Tolerance]) -> Allowed:
    """What two rungs may differ that may each differ so much from the reference.

    The tolerances are of the graph's outputs. Post-processing averages, so the finished map may differ by as
    much, in the unit of its scale; the image score by its rule.
    """
    grid = sum(one.map for one in tolerances)
    whole = grid / map_span(manifest.map)
    scale = manifest.score.scale or (0.0, 1.0)
    graph_score = sum(one.score for one in tolerances) / (scale[1] - scale[0])
    score = {
        "graph": graph_score,
        "map_peak": whole,
        "mean_with_map_peak": 0.5 * whole + 0.5 * graph_score,
    }[manifest.score.rule]
    return Allowed(score, grid, whole)


def pair_figures(
    names: tuple[str, str], found: Sequence[Difference], allowed: Allowed, thresholds: Thresholds
) -> PairFigures:
    """Sum up at least one picture."""
    figures = PairFigures(
        *names,
        len(found),
        score=_spread([one.score for one in found], [one.score for one in found]),
        grid=_spread([one.grid for one in found], [one.grid_mean for one in found]),
        map=_spread([one.map for one in found], [one.map_mean for one in found]),
        allowed=allowed,
        closeness=None,
    )
    if thresholds.score is None and thresholds.map is None:
        return figures
    return replace(figures, closeness=_closeness(found, figures, thresholds))


def score_margin(one: Difference, thresholds: Thresholds) -> float:
    """Distance of the nearer of the two scores to the nearest score threshold; infinite without one."""
    limits = [limit for limit in (thresholds.score, thresholds.recheck_score) if limit is not None]
    return min((abs(at.score - limit) for at in one.readings for limit in limits), default=math.inf)


def map_margin(one: Difference, thresholds: Thresholds) -> float:
    """Distance of the nearer of the two map levels to the map threshold; infinite without one."""
    if thresholds.map is None:
        return math.inf
    return min(abs(at.level - thresholds.map) for at in one.readings)


def in_guard_band(one: Difference, score: float, whole: float, thresholds: Thresholds) -> bool:
    """Whether errors of `score` and `whole` (of the finished map) could carry this picture over a threshold."""
    return not (score_margin(one, thresholds) > score and map_margin(one, thresholds) > whole)


def _closeness(found: Sequence[Difference], figures: PairFigures, thresholds: Thresholds) -> Closeness:
    margins = [(score_margin(one, thresholds), map_margin(one, thresholds)) for one in found]
    nearest = np.min(margins, axis=0)
    return Closeness(
        sum(one.flipped for one in found),
        sum(in_guard_band(one, figures.score.maximum, figures.map.maximum, thresholds) for one in found),
        None if thresholds.score is None else float(nearest[0]),
        None if thresholds.map is None else float(nearest[1]),
    )


def _rejects(inspection: Inspection, thresholds: Thresholds, level: float) -> bool:
    return bool(find_regions(inspection, Thresholds(map=level, min_area_px=thresholds.min_area_px)))


def _spread(largest: Sequence[float], means: Sequence[float]) -> Spread:
    """numpy hands a NaN on, where the built-in functions may swallow it."""
    return Spread(float(np.max(largest)), float(np.mean(means)))
