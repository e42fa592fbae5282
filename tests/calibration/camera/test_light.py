"""The light's baseline, as the line will use it, and what is refused."""

import pytest

from calibration.camera.light import LightLimits, measure_light, strobe_advice
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lamp import SimulatedLamp
from edge.light_config import LightConfig
from edge.photometry import Condition, PhotometricLimits, assess, measure

PATCH = (150, 100, 40, 40)
FEW = LightLimits(frames=24)


def bench_with(seed=7, exposure_us=800.0, **lamp):
    bench = SimulatedBench(320, 256, seed=seed, lamp=SimulatedLamp(**{"on_for_s": 3600.0, **lamp}))
    bench.set(exposure_us=exposure_us)
    return bench


def test_later_frames_are_held_against_it():
    bench = bench_with()
    found = measure_light(bench, bench, patch=PATCH, limits=FEW)
    assert found.baseline.frames == 24
    assert found.baseline.patch_px == PATCH
    limits = PhotometricLimits()

    def condition():
        (image,) = bench.grab(1)
        return assess(measure(image, bench.identity.pixel_format, PATCH), found.baseline, limits).condition

    assert condition() is Condition.GOOD
    bench.set(exposure_us=0.9 * 800.0)
    assert condition() is Condition.WARN
    bench.set(exposure_us=0.7 * 800.0)
    assert condition() is Condition.FAULT


def test_steady_light():
    bench = bench_with()
    found = measure_light(bench, bench, patch=PATCH, limits=FEW)
    assert found.flicker < 0.005
    assert abs(found.drift) < 0.005
    assert found.advice == ()


def test_flicker_of_a_patch_is_refused():
    bench = bench_with(flicker=0.15, flicker_hz=97.0)
    with pytest.raises(MeasurementRefused, match="flickers") as refusal:
        measure_light(bench, bench, patch=PATCH, limits=FEW)
    assert "constant-current" in refusal.value.do


def test_without_a_patch_flicker_is_only_told():
    bench = bench_with(flicker=0.15, flicker_hz=97.0)
    found = measure_light(bench, bench, limits=FEW)
    assert found.baseline.patch_px is None
    assert any("--patch" in line for line in found.advice)
    assert any("from frame to frame" in line for line in found.advice)


def test_a_lamp_that_warms_up_is_told():
    bench = bench_with(on_for_s=0.0, warm_up_s=2.0)
    found = measure_light(bench, bench, patch=PATCH, limits=FEW)
    assert found.drift < -0.01
    assert any("warm up" in line for line in found.advice)


@pytest.mark.parametrize(
    ("exposure_us", "what"),
    [
        (20.0, "too dark"),
        (20_000.0, "too strong"),  # the patch saturates
    ],
)
def test_light_that_cannot_be_watched_is_refused(exposure_us, what):
    bench = bench_with(exposure_us=exposure_us)
    with pytest.raises(MeasurementRefused, match=what):
        measure_light(bench, bench, patch=PATCH, limits=FEW)


@pytest.mark.parametrize("patch", [(300, 10, 40, 40), (0, 0, 4, 4), (-2, 0, 40, 40)])
def test_a_patch_outside_the_frame_is_refused(patch):
    bench = bench_with()
    with pytest.raises(MeasurementRefused, match="does not lie in a frame of 320 x 256 px"):
        measure_light(bench, bench, patch=patch, limits=FEW)


def strobe(width_us):
    return LightConfig(mode="strobe_by_camera", width_us=width_us, rate_per_min=240, max_duty=0.05)


@pytest.mark.parametrize(
    ("light", "words"),
    [
        (strobe(500.0), "only stray light"),  # goes out before the exposure ends
        (strobe(5000.0), "spares the lamp"),
        (strobe(1010.0), "duty is 0.40%"),
    ],
)
def test_strobe_against_exposure(light, words):
    assert words in " ".join(strobe_advice(light, 1000.0))


def test_a_steady_lamp_needs_no_strobe_advice():
    assert strobe_advice(LightConfig(), 1000.0) == ()
