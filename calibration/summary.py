"""The figures of a run as JSON for programs: `summary.json`."""

from __future__ import annotations

import json
import math
from typing import Any

from calibration.results import Detection, LeftOut, Rate, RunResult
from edge.messages import Outcome
from edge.metrics import ErrorRate, GroupedInterval


def summary(result: RunResult) -> dict[str, Any]:
    """All figures under stable names; rates are shares in [0, 1], times ms, what is undefined is None."""
    identity, outcomes = result.identity, result.outcomes
    content = {
        "note": identity.note,
        "title": identity.title,
        "station": identity.station,
        "started_utc": identity.started_utc,
        "simulated": identity.simulated,
        "product": identity.product,
        "seed": identity.seed,
        "bundle_id": identity.bundle_id,
        "config_id": identity.config_id,
        "parts": len(result.parts),
        "triggers": result.counts.triggers,
        "frames": result.counts.frames,
        "verdicts": result.counts.verdicts,
        "passed": outcomes[Outcome.PASS],
        "rejected": outcomes[Outcome.REJECT],
        "recheck": outcomes[Outcome.RECHECK],
        "fault": outcomes[Outcome.FAULT],
        "unaccounted": result.unaccounted,
        "late": result.late,
        "late_actions": result.counts.late_actions,
        "defective": result.defective,
        "truth_unknown": result.unknown,
        "escapes": result.escapes.exact.errors,
        "overkill": result.overkill.exact.errors,
        "escape_rate": _rate(result.escapes),
        "overkill_rate": _rate(result.overkill),
        "detection": {kind.defect: _detection(kind) for kind in result.detection},
        **_figures(result),
        **_times(result),
    }
    known: dict[str, Any] = _without_nan(content)
    return known


def summary_text(result: RunResult) -> str:
    """`summary` as JSON text, strictly valid: NaN is written as null."""
    return json.dumps(summary(result), indent=2, allow_nan=False) + "\n"


def _figures(result: RunResult) -> dict[str, Any]:
    image, pixel = result.image, result.pixel
    return {
        "image_auroc": image.auroc,
        "image_average_precision": image.average_precision,
        "image_f1_max": image.f1_max,
        "image_f1_max_threshold": image.f1_threshold,
        "image_parts": image.parts,
        "image_left_out": [_left_out(out) for out in image.left_out],
        "pixel_auroc": pixel.auroc,
        "aupro_30": pixel.aupro_30,
        "pixel_parts": pixel.parts,
        "pixel_regions": pixel.regions,
        "pixel_left_out": [_left_out(out) for out in pixel.left_out],
    }


def _times(result: RunResult) -> dict[str, Any]:
    latency, margin = result.latency_ms, result.margin_ms
    return {
        "latency_ms": {"p50": latency.p50, "p99": latency.p99, "max": latency.maximum},
        "margin_ms": {"min": margin.minimum, "p1": margin.p1, "p50": margin.p50},
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {**_exact(rate.exact), "by_group": _grouped(rate.by_group) if rate.by_group else None}


def _exact(found: ErrorRate) -> dict[str, Any]:
    return {
        "errors": found.errors,
        "trials": found.trials,
        "rate": found.rate,
        "low": found.low,
        "high": found.high,
        "confidence": found.confidence,
    }


def _grouped(found: GroupedInterval) -> dict[str, Any]:
    return {"groups": found.groups, "low": found.low, "high": found.high, "method": found.method}


def _detection(kind: Detection) -> dict[str, Any]:
    caught = kind.caught
    return {
        "parts": caught.trials,
        "not_passed": caught.errors,
        "rate": caught.rate,
        "low": caught.low,
        "high": caught.high,
        "faults": kind.faults,
    }


def _left_out(out: LeftOut) -> dict[str, Any]:
    return {"why": out.why, "part_ids": list(out.part_ids)}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
