"""Decisions: only positive proof of good passes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide import FrameLimits, Thresholds, decide, fault_verdict, find_regions, frame_fault
from edge.messages import (
    Frame,
    FrameStatus,
    Inspection,
    Outcome,
    PixelFormat,
    Reason,
    StageTimings,
)

BUNDLE = "b" * 64


def inspection(score=0.1, anomaly_map=None, roi=(0, 0, 16, 16), bundle_id=BUNDLE):
    grid = np.zeros((16, 16), np.float32) if anomaly_map is None else anomaly_map
    return Inspection(7, score, grid, roi, bundle_id, StageTimings(1.0, 2.0, 3.0))


def hot_map(*pixels, value=0.9):
    grid = np.zeros((16, 16), np.float32)
    for y, x in pixels:
        grid[y, x] = value
    return grid


@pytest.mark.parametrize(
    ("score", "outcome", "reasons"),
    [
        (0.0, Outcome.PASS, ()),
        (0.299, Outcome.PASS, ()),
        (0.3, Outcome.RECHECK, (Reason.GREY_ZONE,)),  # the grey zone begins at its threshold
        (0.499, Outcome.RECHECK, (Reason.GREY_ZONE,)),
        (0.5, Outcome.REJECT, (Reason.SCORE,)),  # at the threshold counts as above
        (1.0, Outcome.REJECT, (Reason.SCORE,)),
    ],
)
def test_score_rule(score, outcome, reasons):
    verdict = decide(inspection(score), Thresholds(score=0.5, recheck_score=0.3), BUNDLE)
    assert (verdict.outcome, verdict.reasons, verdict.threshold) == (outcome, reasons, 0.5)


def test_a_region_rejects_whatever_the_score():
    found = decide(inspection(0.0, hot_map((3, 4))), Thresholds(score=0.5, map=0.8), BUNDLE)
    assert found.outcome is Outcome.REJECT
    assert found.reasons == (Reason.REGION,)


def test_both_rules_are_named():
    found = decide(inspection(0.9, hot_map((3, 4))), Thresholds(score=0.5, map=0.8), BUNDLE)
    assert found.reasons == (Reason.SCORE, Reason.REGION)


def test_region_below_the_minimum_area_does_not_reject():
    # Each map pixel covers 2 x 2 pixels of the frame, so two of them are 8.
    grid = hot_map((3, 4), (3, 5))
    roi = (100, 50, 32, 32)
    assert decide(inspection(0.0, grid, roi), Thresholds(map=0.8, min_area_px=8.1), BUNDLE).outcome is (
        Outcome.PASS
    )
    assert decide(inspection(0.0, grid, roi), Thresholds(map=0.8, min_area_px=8.0), BUNDLE).outcome is (
        Outcome.REJECT
    )


def test_regions_are_in_frame_pixels_largest_first_and_join_diagonally():
    grid = hot_map((0, 0), (1, 1), (10, 12), value=0.5)
    grid[1, 1] = 0.7
    large, small = find_regions(inspection(0.0, grid, (100, 50, 32, 16)), Thresholds(map=0.5, mm_per_px=0.1))
    assert large.box_px == (100, 50, 4, 2)
    assert large.area_px == pytest.approx(4.0)  # two map pixels of 2 x 1
    assert large.area_mm2 == pytest.approx(0.04)
    assert large.peak == pytest.approx(0.7)
    assert small.box_px == (124, 60, 2, 1)


def test_without_any_threshold_nothing_passes():
    found = decide(inspection(0.0), Thresholds(), BUNDLE)
    assert (found.outcome, found.reasons) == (Outcome.RECHECK, (Reason.UNCALIBRATED,))
    assert math.isnan(found.threshold)


def test_another_bundle_is_a_fault():
    found = decide(inspection(0.0, bundle_id="c" * 64), Thresholds(score=0.5), BUNDLE)
    assert (found.outcome, found.reasons) == (Outcome.FAULT, (Reason.WRONG_BUNDLE,))


@given(
    score=st.floats(allow_nan=True, allow_infinity=True),
    value=st.floats(allow_nan=True, allow_infinity=True, width=32),
    threshold=st.one_of(st.none(), st.floats(0, 1)),
    map_threshold=st.one_of(st.none(), st.floats(0.01, 4)),
)
def test_pass_needs_positive_proof(score, value, threshold, map_threshold):
    thresholds = Thresholds(score=threshold, map=map_threshold)
    verdict = decide(inspection(score, hot_map((5, 5), value=value)), thresholds, BUNDLE)
    if verdict.outcome is Outcome.PASS:
        assert math.isfinite(score)
        assert math.isfinite(value)
        assert threshold is not None or map_threshold is not None
        assert threshold is None or score < threshold
        assert map_threshold is None or np.float32(value) < map_threshold
    if not (math.isfinite(score) and math.isfinite(value)):
        assert verdict.outcome is Outcome.FAULT


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"status": FrameStatus.INCOMPLETE}, Reason.INCOMPLETE_FRAME),
        ({"status": FrameStatus.MISSING}, Reason.MISSING_FRAME),
        ({"status": FrameStatus.FROZEN}, Reason.FROZEN_FRAME),
        ({"status": FrameStatus.OVERFLOW}, Reason.OVERFLOW),
        ({"image": None}, Reason.MISSING_FRAME),  # whatever the status says
        ({"exposure_us": 99.0}, Reason.EXPOSURE),
        ({"exposure_us": float("nan")}, Reason.EXPOSURE),  # unknown keeps no declared limit
        ({"gain_db": 6.1}, Reason.EXPOSURE),
    ],
)
def test_frames_that_must_not_be_judged(changes, fault):
    content = {
        "part_id": 1,
        "frame_id": 1,
        "triggered_ns": 0,
        "captured_ns": 1,
        "image": np.zeros((4, 4), np.uint8),
        "pixel_format": PixelFormat.MONO8,
        "exposure_us": 150.0,
        "gain_db": 0.0,
    }
    limits = FrameLimits(exposure_us=(100.0, 200.0), gain_db=(0.0, 6.0))
    assert frame_fault(Frame(**(content | changes)), limits) is fault


def test_undeclared_limits_are_not_judged():
    frame = Frame(1, 1, 0, 1, np.zeros((4, 4), np.uint8), PixelFormat.MONO8)
    assert frame_fault(frame, FrameLimits()) is None


def test_fault_verdict_is_never_a_pass():
    verdict = fault_verdict(3, Reason.RUNNER_ERROR, Thresholds(score=0.5))
    assert (verdict.part_id, verdict.outcome, verdict.threshold) == (3, Outcome.FAULT, 0.5)
    assert math.isnan(verdict.score)
