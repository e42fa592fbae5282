"""Inspection + thresholds → Verdict. Pure: no clock, no file, no log.

Only positive proof of good passes: a finite score below its threshold and a finite map without a region above
its own. Everything else is REJECT, RECHECK or FAULT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.messages import (
    Box,
    Frame,
    FrameStatus,
    Inspection,
    Outcome,
    Reason,
    Region,
    Verdict,
)

_FAULT_OF_STATUS = {
    FrameStatus.INCOMPLETE: Reason.INCOMPLETE_FRAME,
    FrameStatus.MISSING: Reason.MISSING_FRAME,
    FrameStatus.FROZEN: Reason.FROZEN_FRAME,
    FrameStatus.OVERFLOW: Reason.OVERFLOW,
}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a part must stay below to pass.

    `score`: reject at or above. `recheck_score`: recheck from here up to `score`. `map`: pixel threshold on
    the smoothed map; a connected region of at least `min_area_px` raw-frame pixels at or above it rejects.
    None switches a rule off; with neither `score` nor `map` nothing can pass.
    """

    score: float | None = None
    recheck_score: float | None = None
    map: float | None = None
    min_area_px: float = 0.0
    mm_per_px: float | None = None


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """Limits on the values that the camera reports to have used; None means not judged."""

    exposure_us: tuple[float, float] | None = None
    gain_db: tuple[float, float] | None = None


def decide(inspection: Inspection, thresholds: Thresholds, bundle_id: str) -> Verdict:
    """Judge one inspection; `bundle_id` is the one that the thresholds belong to."""
    fault = _fault(inspection, bundle_id)
    if fault is not None:
        return _verdict(inspection, thresholds, Outcome.FAULT, (fault,), ())
    regions = find_regions(inspection, thresholds)
    score = inspection.score
    if thresholds.score is None and thresholds.map is None:
        return _verdict(inspection, thresholds, Outcome.RECHECK, (Reason.UNCALIBRATED,), regions)
    reasons = []
    if thresholds.score is not None and score >= thresholds.score:
        reasons.append(Reason.SCORE)
    if thresholds.map is not None and regions:
        reasons.append(Reason.REGION)
    if reasons:
        return _verdict(inspection, thresholds, Outcome.REJECT, tuple(reasons), regions)
    if thresholds.recheck_score is not None and score >= thresholds.recheck_score:
        return _verdict(inspection, thresholds, Outcome.RECHECK, (Reason.GREY_ZONE,), regions)
    return _verdict(inspection, thresholds, Outcome.PASS, (), regions)


def frame_fault(frame: Frame, limits: FrameLimits) -> Reason | None:
    """Why a frame must not be judged at all, or None."""
    if frame.status is not FrameStatus.OK or frame.image is None:
        return _FAULT_OF_STATUS.get(frame.status, Reason.MISSING_FRAME)
    if _outside(frame.exposure_us, limits.exposure_us) or _outside(frame.gain_db, limits.gain_db):
        return Reason.EXPOSURE
    return None


def fault_verdict(part_id: int, reason: Reason, thresholds: Thresholds, bundle_id: str = "") -> Verdict:
    """The verdict on a part that could not be judged."""
    return Verdict(
        part_id, Outcome.FAULT, (reason,), (), math.nan, _or_nan(thresholds.score), bundle_id=bundle_id
    )


def find_regions(inspection: Inspection, thresholds: Thresholds) -> tuple[Region, ...]:
    """Connected regions (8-neighbourhood) of the map at or above `thresholds.map`, largest first.

    Areas are counted in map pixels and scaled to the raw frame.
    """
    if thresholds.map is None:
        return ()
    anomaly_map = inspection.anomaly_map
    hot = (anomaly_map >= thresholds.map).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hot, connectivity=8)
    scale_x = inspection.roi_px[2] / anomaly_map.shape[1]
    scale_y = inspection.roi_px[3] / anomaly_map.shape[0]
    regions = []
    for label in range(1, count):
        x, y, width, height, pixels = (int(value) for value in stats[label])
        area_px = pixels * scale_x * scale_y
        if area_px < thresholds.min_area_px:
            continue
        window = slice(y, y + height), slice(x, x + width)
        peak = float(anomaly_map[window][labels[window] == label].max())
        box = _to_frame((x, y, width, height), inspection.roi_px, scale_x, scale_y)
        regions.append(Region(box, area_px, _area_mm2(area_px, thresholds.mm_per_px), peak))
    return tuple(sorted(regions, key=lambda region: -region.area_px))


def _fault(inspection: Inspection, bundle_id: str) -> Reason | None:
    if inspection.bundle_id != bundle_id:
        return Reason.WRONG_BUNDLE
    if not math.isfinite(inspection.score) or not _all_finite(inspection.anomaly_map):
        return Reason.NOT_A_NUMBER
    return None


def _all_finite(values: NDArray[np.float32]) -> bool:
    return values.size > 0 and bool(np.isfinite(values).all())


def _verdict(
    inspection: Inspection,
    thresholds: Thresholds,
    outcome: Outcome,
    reasons: tuple[Reason, ...],
    regions: tuple[Region, ...],
) -> Verdict:
    return Verdict(
        inspection.part_id,
        outcome,
        reasons,
        regions,
        inspection.score,
        _or_nan(thresholds.score),
        inspection.bundle_id,
        inspection.timings,
    )


def _outside(value: float, limits: tuple[float, float] | None) -> bool:
    """Whether a limit is declared and not proven kept; an unknown value (NaN) keeps no limit."""
    return limits is not None and not limits[0] <= value <= limits[1]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _to_frame(box: Box, roi_px: Box, scale_x: float, scale_y: float) -> Box:
    x, y, width, height = box
    left, top = roi_px[0] + round(x * scale_x), roi_px[1] + round(y * scale_y)
    right, bottom = roi_px[0] + round((x + width) * scale_x), roi_px[1] + round((y + height) * scale_y)
    return (left, top, max(1, right - left), max(1, bottom - top))


def _area_mm2(area_px: float, mm_per_px: float | None) -> float | None:
    return None if mm_per_px is None else area_px * mm_per_px**2
