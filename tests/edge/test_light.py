"""The light: its duty limit, its watch, and what a badly lit frame becomes."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from edge.bundle import open_bundle
from edge.clock import MonotonicClock
from edge.config import OnnxRuntimeConfig
from edge.decide import FrameLimits, Thresholds
from edge.health import Alarms
from edge.inspection import Inspector, Judge
from edge.light import LightAlarms, light_watch
from edge.light_config import LightConfig
from edge.messages import Frame, Outcome, PixelFormat, Reason
from edge.photometry import Assessment, Condition, baseline_of, measure
from edge.runner import open_runner

BUNDLE = Path(__file__).resolve().parents[2] / "models" / "demo"
WHOLE = (0, 0, 320, 240)


def picture(level, seed=0):
    noise = np.random.default_rng(seed).normal(0, 3, (240, 320))
    return np.clip(np.rint(level + noise), 0, 255).astype(np.uint8)


def frame(image):
    return Frame(1, 1, 0, 0, image, PixelFormat.MONO8)


@pytest.fixture(scope="module")
def baseline():
    return baseline_of([measure(picture(120, k), PixelFormat.MONO8, WHOLE) for k in range(6)], None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"mode": "strobe_by_camera", "width_us": 400}, "needs rate_per_min, max_duty: ask the lamp's maker"),
        (
            {"mode": "strobe_by_controller", "width_us": 900, "rate_per_min": 600, "max_duty": 0.008},
            r"duty of 0.90%, above max_duty 0.80%",
        ),
        ({"mode": "always_on", "max_duty": 0.1}, "belong to a strobe"),
        ({"warn": 0.2, "fault": 0.15}, "warn must lie below fault"),
        ({"mode": "flash"}, "always_on"),
    ],
)
def test_nonsense_is_refused_and_nothing_is_clipped(content, message):
    with pytest.raises(ValidationError, match=message):
        LightConfig.model_validate(content)


def test_a_strobe_within_its_duty_is_taken():
    light = LightConfig(mode="strobe_by_camera", width_us=500, rate_per_min=600, max_duty=0.01)
    assert light.duty == pytest.approx(0.005)


def judge(baseline, told):
    bundle = open_bundle(BUNDLE)
    runner = open_runner(bundle, OnnxRuntimeConfig(threads=1))
    inspector = Inspector(bundle, runner, bundle.manifest.preprocessing, MonotonicClock().now_ns)
    watch = light_watch(LightConfig(), baseline)
    return Judge(inspector, Thresholds(score=1.0), FrameLimits(), lambda *_: None, watch, told.append)


def test_a_badly_lit_frame_is_a_fault_and_never_judged(baseline):
    told = []
    verdict, inspection = judge(baseline, told).judge(frame(picture(70)))
    assert (verdict.outcome, verdict.reasons, inspection) == (Outcome.FAULT, (Reason.LIGHT,), None)
    assert told[0].condition is Condition.FAULT


def test_a_drifting_frame_is_judged_and_told_of(baseline):
    told = []
    verdict, inspection = judge(baseline, told).judge(frame(picture(111)))
    assert inspection is not None
    assert Reason.LIGHT not in verdict.reasons
    assert told[0].condition is Condition.WARN


def test_without_a_baseline_nothing_is_found():
    verdict, inspection = judge(None, []).judge(frame(picture(3)))
    assert inspection is not None
    assert Reason.LIGHT not in verdict.reasons


def test_alarms_come_once_and_go_when_it_is_over():
    alarms = Alarms()
    taken = LightAlarms(alarms)
    for condition in ("warn", "warn", "fault", "fault", "good", "good"):
        taken.take(Assessment(Condition(condition), f"it is {condition}"))
    found = {alarm.name: (alarm.count, alarm.active) for alarm in alarms.snapshot()}
    assert found == {"light_drifts": (1, False), "light_fault": (1, False)}
