import numpy as np
import pytest

from calibration.camera.refusal import MeasurementRefused
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lamp import SimulatedLamp
from calibration.camera.warm_up import WarmUpLimits, warm_up


def _bench(**lamp):
    return SimulatedBench(256, 136, lamp=SimulatedLamp(**lamp))


def _refused(bench, limits=None):
    before = bench.settings
    with pytest.raises(MeasurementRefused) as refused:
        warm_up(bench, bench, bench.clock, limits)
    assert bench.settings == before
    return refused.value


@pytest.mark.parametrize(("drop", "time_s"), [(0.05, 120), (0.12, 240), (0.20, 300)])
def test_it_ends_when_the_lamp_really_changes_by_no_more_than_the_rule_allows(drop, time_s):
    bench = _bench(warm_up_drop=drop, warm_up_s=time_s)
    result = warm_up(bench, bench, bench.clock)
    # The lamp's own rate now; over the window before it was a little higher.
    per_min = 60 / time_s * (bench.lamp_level() - 1) / bench.lamp_level()
    assert per_min <= WarmUpLimits().most_per_min
    # And not long before: a whole window earlier the rule was not met.
    earlier = per_min * np.exp(WarmUpLimits().window_s / time_s)
    assert earlier > WarmUpLimits().most_per_min
    assert abs(result.curve[-1].per_min) <= WarmUpLimits().most_per_min


def test_the_curve_is_the_lamps():
    bench = _bench(warm_up_drop=0.15, warm_up_s=200)
    result = warm_up(bench, bench, bench.clock)
    at_s = np.array([reading.at_s for reading in result.curve])
    seen = np.array([reading.level for reading in result.curve])
    # The first reading comes after a few pictures; the black level dilutes the change by a few per cent.
    true = (1 + 0.15 * np.exp(-at_s / 200)) / 1.15
    assert np.abs(seen - true).max() < 0.02
    assert result.change == pytest.approx(true[-1] - 1, rel=0.15)
    assert result.took_s == at_s[-1]
    assert result.curve[-1].temperature_c > result.curve[0].temperature_c


def test_a_warm_lamp_takes_one_window():
    bench = _bench(on_for_s=1e5)
    result = warm_up(bench, bench, bench.clock)
    assert result.took_s == pytest.approx(WarmUpLimits().window_s, abs=1)
    assert "stable" in result.advice


def test_the_advice_names_a_warm_up_that_is_long_enough():
    bench = _bench()
    result = warm_up(bench, bench, bench.clock)
    advised = float(result.advice.split("at least ")[1].split(" s")[0])
    assert result.took_s <= advised <= result.took_s + 120


def test_every_reading_is_told_as_it_comes():
    bench, told = _bench(warm_up_s=100), []
    result = warm_up(bench, bench, bench.clock, on_reading=told.append)
    assert tuple(told) == result.curve
    assert told[0].per_min is None
    assert told[0].level == 1


def test_the_settings_are_afterwards_as_before():
    bench = _bench(on_for_s=1e5)
    bench.set(exposure_us=77, gain_db=6)
    before = bench.settings
    warm_up(bench, bench, bench.clock)
    assert bench.settings == before


def test_a_lamp_that_does_not_settle_is_given_up_with_advice():
    refusal = _refused(_bench(warm_up_drop=0.3, warm_up_s=3000))
    assert "still changes" in refusal.what
    assert "driver" in refusal.do


def test_too_short_a_limit_is_given_up_without_a_claim():
    refusal = _refused(_bench(), WarmUpLimits(longest_s=30))
    assert "not watched for long enough" in refusal.what


def test_a_flickering_lamp_is_refused():
    refusal = _refused(_bench(flicker=0.3))
    assert "flickers" in refusal.what


def test_no_light_is_refused():
    refusal = _refused(_bench(electrons_per_us=0.0))
    assert "too dark" in refusal.what
    assert "switch the light on" in refusal.do


def test_a_lamp_that_goes_out_meanwhile_is_noticed():
    bench = _bench(warm_up_drop=20.0, warm_up_s=150)
    refusal = _refused(bench)
    assert "changed so much" in refusal.what
