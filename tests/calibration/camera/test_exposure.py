import numpy as np
import pytest

from calibration.camera.exposure import ExposureLimits, LineMotion, find_exposure
from calibration.camera.raw_levels import levels_of
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lamp import SimulatedLamp
from calibration.camera.simulated_sensor import SimulatedSensor
from edge.messages import PixelFormat

TARGET = ExposureLimits().target


def _bench(electrons_per_us=10.0, **changes):
    lamp = SimulatedLamp(electrons_per_us=electrons_per_us, on_for_s=1e5)
    return SimulatedBench(**{"width_px": 512, "height_px": 270, "lamp": lamp, **changes})


def _refused(bench, motion=None, area=None):
    before = bench.settings
    with pytest.raises(MeasurementRefused) as refused:
        find_exposure(bench, bench, motion, area)
    assert bench.settings == before
    return refused.value


@pytest.mark.parametrize("start_us", [20, 900, 200_000])
@pytest.mark.parametrize("pixel_format", [PixelFormat.BAYER_RG8, PixelFormat.MONO8, PixelFormat.BAYER_RG12])
def test_the_bright_parts_reach_the_target_within_2_per_cent_from_any_start(start_us, pixel_format):
    bench = _bench(pixel_format=pixel_format)
    bench.set(exposure_us=start_us, gain_db=10)
    result = find_exposure(bench, bench)
    seen = levels_of(bench.grab(4), pixel_format)
    assert seen.bright == pytest.approx(TARGET, rel=0.02)
    assert seen.saturated < 0.001
    assert result.settings == bench.settings
    assert result.settings.gain_db == 0
    assert result.levels.dark > 0
    assert "without gain" in result.advice


@pytest.mark.parametrize("electrons_per_us", [0.1, 1, 100, 400])
def test_the_exposure_is_the_one_that_the_lamp_asks_for(electrons_per_us):
    usual, other = _bench(), _bench(electrons_per_us)
    expected = find_exposure(usual, usual).settings.exposure_us * 10 / electrons_per_us
    assert find_exposure(other, other).settings.exposure_us == pytest.approx(expected, rel=0.02)


def test_a_slow_line_leaves_the_exposure_alone_and_its_blur_is_told():
    bench = _bench()
    free = find_exposure(bench, bench)
    motion = LineMotion(speed_mm_s=100, mm_per_px=bench.truth.mm_per_px)
    result = find_exposure(bench, bench, motion)
    assert result.settings.exposure_us == pytest.approx(free.settings.exposure_us, rel=0.02)
    moved_mm = 100 * result.settings.exposure_us * 1e-6
    assert result.blur_px == pytest.approx(moved_mm / bench.truth.mm_per_px)


def test_a_faster_line_gets_gain_and_a_warning_and_no_more_blur_than_allowed():
    bench = _bench()
    motion = LineMotion(speed_mm_s=1000, mm_per_px=bench.truth.mm_per_px, most_blur_px=0.5)
    result = find_exposure(bench, bench, motion)
    assert result.settings.exposure_us == pytest.approx(motion.longest_us, abs=1)
    assert result.blur_px <= 0.5
    assert 2 < result.settings.gain_db <= 12
    assert result.levels.bright == pytest.approx(TARGET, rel=0.02)
    assert "gain" in result.advice
    assert "more light" in result.advice


def test_a_line_too_fast_for_the_light_is_refused_with_a_speed_that_would_do():
    bench = _bench()
    fast = LineMotion(speed_mm_s=20_000, mm_per_px=bench.truth.mm_per_px)
    refusal = _refused(bench, fast)
    assert "smear" in refusal.what
    assert "open the aperture" in refusal.do
    slower = float(refusal.do.split(" to ")[-1].split(" mm/s")[0])
    assert slower < 20_000
    result = find_exposure(bench, bench, LineMotion(0.97 * slower, bench.truth.mm_per_px))
    assert result.levels.bright > 0.85


def test_light_that_is_a_little_short_is_refused_with_how_much_more():
    refusal = _refused(_bench(0.006))
    assert "too dark" in refusal.what
    assert "times as much light" in refusal.do


def test_no_light_is_refused():
    refusal = _refused(_bench(0.0))
    assert "too dark" in refusal.what
    assert "cap" in refusal.do


def test_too_much_light_is_refused():
    refusal = _refused(_bench(5000.0))
    assert "saturated" in refusal.what
    assert "aperture" in refusal.do


def test_a_flickering_lamp_is_refused():
    refusal = _refused(_bench(lamp=SimulatedLamp(flicker=0.3, on_for_s=1e5)))
    assert "flickers" in refusal.what
    assert "constant-current" in refusal.do


def test_shine_that_saturates_a_few_pixels_is_refused():
    refusal = _refused(_bench(part="shiny"))
    assert "saturated" in refusal.what
    assert "polarisers" in refusal.do


def test_a_black_level_that_cuts_off_the_dark_is_refused():
    refusal = _refused(_bench(sensor=SimulatedSensor(black_share=-0.03)))
    assert "cut off" in refusal.what
    assert "black_level_percent" in refusal.do


def test_only_the_area_of_the_part_counts():
    # Without the white label in the middle the rest may be exposed for longer.
    bench = _bench()
    whole = find_exposure(bench, bench)
    area = (60, 60, 100, 150)
    result = find_exposure(bench, bench, area=area)
    assert result.settings.exposure_us > 1.2 * whole.settings.exposure_us
    assert levels_of(bench.grab(2), bench.identity.pixel_format, area).bright == pytest.approx(
        TARGET, rel=0.02
    )
    assert result.levels.counts.sum() == ExposureLimits().pictures * 100 * 150


def test_every_try_is_told_for_the_plot():
    bench = _bench()
    bench.set(exposure_us=100)
    result = find_exposure(bench, bench)
    exposures, levels = np.array(result.trail).T
    assert exposures[0] == 100
    assert exposures[-1] == result.settings.exposure_us
    assert np.all(np.diff(levels[np.argsort(exposures)]) >= -0.01)


def test_a_motion_without_speed_is_no_motion():
    with pytest.raises(ValueError, match="above 0"):
        LineMotion(0, 0.1)
