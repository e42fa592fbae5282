"""A run, judged: what was decided against what was true. Pure: parts in, figures out.

A part counts as physically passed only with the outcome PASS. RECHECK and FAULT leave the line through the
reject gate, so a good part with either is overkill, and a defective part with either has not escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.truth import Truth
from edge.account import Counts
from edge.decide import Thresholds
from edge.messages import Outcome, Reason
from edge.metrics import (
    ErrorRate,
    GroupedInterval,
    auroc,
    average_precision,
    error_rate,
    f1_max,
    grouped_interval,
    pool_pixels,
    pooled_aupro,
    pooled_auroc,
)

AUPRO_LIMIT = 0.3
SIMULATED_NOTE = "simulated line: shows the appliance, not the accuracy you will get"


@dataclass(frozen=True, slots=True, eq=False)
class PartResult:
    """One part: decision, truth, and what there is to see.

    `score` and `threshold` are NaN when there is none. `latency_ms` is from the trigger to the verdict and
    `margin_ms` from the verdict to the deadline; NaN when no verdict came in time. `truth` is None when
    nobody knows; its own mask may be dropped, `mask` (S, S) bool is the one on the grid of `anomaly_map`
    (S, S) float32 and of `thumbnail` (S, S, 3) uint8 RGB. Each of the three is None when it is not at hand.
    """

    part_id: int
    outcome: Outcome
    reasons: tuple[Reason, ...]
    score: float
    threshold: float
    latency_ms: float = math.nan
    margin_ms: float = math.nan
    truth: Truth | None = None
    anomaly_map: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    thumbnail: NDArray[np.uint8] | None = None
    source: str = ""

    @property
    def passed(self) -> bool:
        """Whether the part went through the gate as good."""
        return self.outcome is Outcome.PASS

    @property
    def escaped(self) -> bool:
        """Defective and passed."""
        return self.truth is not None and self.truth.defective and self.passed

    @property
    def overkilled(self) -> bool:
        """Good and not passed."""
        return self.truth is not None and not self.truth.defective and not self.passed


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Whose figures these are. `product` and `seed` are the simulated line's; `started_utc` is ISO 8601."""

    bundle_id: str
    config_id: str
    thresholds: Thresholds
    title: str = "Inspection run"
    station: str = ""
    started_utc: str = ""
    simulated: bool = False
    product: str = ""
    seed: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Everything a reader must know besides the figures, as one line."""
        return "; ".join([SIMULATED_NOTE, *self.notes] if self.simulated else self.notes)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Parts that a figure does not cover, and why."""

    why: str
    part_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ImageFigures:
    """Figures of the image score over `parts` parts; NaN when a class is absent."""

    auroc: float
    average_precision: float
    f1_max: float
    f1_threshold: float
    parts: int
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class PixelFigures:
    """Figures of the maps over `parts` parts with `regions` defect regions; NaN when there is no defect."""

    auroc: float
    aupro_30: float
    parts: int
    regions: int
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate with its exact interval and, where pictures share an item, the one that counts items."""

    exact: ErrorRate
    by_group: GroupedInterval | None


@dataclass(frozen=True, slots=True)
class Detection:
    """How many parts with one kind of defect were kept from passing; `faults` of them without a judgement."""

    defect: str
    caught: ErrorRate
    faults: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles of a time in milliseconds over the parts that have it; NaN when none has."""

    minimum: float
    p1: float
    p50: float
    p99: float
    maximum: float
    parts: int


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """Everything that the reports say, computed once.

    `counts` are the line's own; outcomes are counted again from `parts`. `unknown` parts have no truth and
    enter no rate. `late` parts had no verdict by their deadline.
    """

    identity: RunIdentity
    counts: Counts
    parts: tuple[PartResult, ...]
    outcomes: dict[Outcome, int]
    unaccounted: int
    defective: int
    unknown: int
    escapes: Rate
    overkill: Rate
    detection: tuple[Detection, ...]
    image: ImageFigures
    pixel: PixelFigures
    latency_ms: Spread
    margin_ms: Spread
    late: int


def run_result(parts: Iterable[PartResult], counts: Counts, identity: RunIdentity) -> RunResult:
    """Compute every figure of a run. The order of `parts` is kept in lists and pictures."""
    parts = tuple(parts)
    known = [part for part in parts if part.truth is not None]
    bad = [part for part in known if part.truth is not None and part.truth.defective]
    good = [part for part in known if part.truth is not None and not part.truth.defective]
    margins = _spread([part.margin_ms for part in parts])
    return RunResult(
        identity=identity,
        counts=counts,
        parts=parts,
        outcomes={outcome: sum(part.outcome is outcome for part in parts) for outcome in Outcome},
        unaccounted=max(abs(counts.unaccounted), abs(counts.triggers - len(parts))),
        defective=len(bad),
        unknown=len(parts) - len(known),
        escapes=_rate([part.escaped for part in bad], bad),
        overkill=_rate([part.overkilled for part in good], good),
        detection=_detection(bad),
        image=_image_figures(parts),
        pixel=_pixel_figures(parts),
        latency_ms=_spread([part.latency_ms for part in parts]),
        margin_ms=margins,
        late=len(parts) - margins.parts,
    )


def _rate(errors: Sequence[bool], parts: Sequence[PartResult]) -> Rate:
    exact = error_rate(sum(errors), len(parts))
    groups = [_group(part) for part in parts]
    if len(set(groups)) == len(groups):
        return Rate(exact, None)
    return Rate(exact, grouped_interval(errors, groups))


def _group(part: PartResult) -> str:
    """The part's group; a part without one stands for itself."""
    group = part.truth.group if part.truth else ""
    return f"group {group}" if group else f"part {part.part_id}"


def _detection(bad: Sequence[PartResult]) -> tuple[Detection, ...]:
    kinds = sorted({part.truth.defect for part in bad if part.truth})
    return tuple(
        _detection_of(kind, [part for part in bad if part.truth and part.truth.defect == kind])
        for kind in kinds
    )


def _detection_of(kind: str, parts: Sequence[PartResult]) -> Detection:
    caught = error_rate(sum(not part.passed for part in parts), len(parts))
    return Detection(kind, caught, sum(part.outcome is Outcome.FAULT for part in parts))


def _image_figures(parts: Sequence[PartResult]) -> ImageFigures:
    used, left_out = _divide(parts, _no_score)
    labels = [part.truth is not None and part.truth.defective for part in used]
    scores = [part.score for part in used]
    best, threshold = f1_max(labels, scores)
    return ImageFigures(
        auroc(labels, scores), average_precision(labels, scores), best, threshold, len(used), left_out
    )


def _pixel_figures(parts: Sequence[PartResult]) -> PixelFigures:
    used, left_out = _divide(parts, _no_map)
    maps = [part.anomaly_map for part in used if part.anomaly_map is not None]
    masks = [
        np.zeros(anomaly_map.shape, bool) if part.mask is None else part.mask
        for part, anomaly_map in zip(used, maps, strict=True)
    ]
    pool = pool_pixels(maps, masks)
    return PixelFigures(
        pooled_auroc(pool), pooled_aupro(pool, AUPRO_LIMIT), len(used), pool.regions, left_out
    )


def _no_score(part: PartResult) -> str | None:
    if part.truth is None:
        return "no truth is known"
    return None if math.isfinite(part.score) else "no score (fault)"


def _no_map(part: PartResult) -> str | None:
    if part.truth is None:
        return "no truth is known"
    if part.anomaly_map is None:
        return "no map (fault, picture not kept, or not sampled)"
    if not np.isfinite(part.anomaly_map).all():
        return "the map is not finite"
    return "defective without a mask" if part.truth.defective and part.mask is None else None


def _divide(
    parts: Sequence[PartResult], why_not: Callable[[PartResult], str | None]
) -> tuple[list[PartResult], tuple[LeftOut, ...]]:
    used: list[PartResult] = []
    out: dict[str, list[int]] = {}
    for part in parts:
        why = why_not(part)
        if why is None:
            used.append(part)
        else:
            out.setdefault(why, []).append(part.part_id)
    return used, tuple(LeftOut(why, tuple(ids)) for why, ids in out.items())


def _spread(values: Sequence[float]) -> Spread:
    """Quantiles with linear interpolation between the two nearest values."""
    known = np.asarray([value for value in values if math.isfinite(value)])
    if known.size == 0:
        return Spread(math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    low, p1, p50, p99, high = (float(value) for value in np.percentile(known, [0, 1, 50, 99, 100]))
    return Spread(low, p1, p50, p99, high, int(known.size))
