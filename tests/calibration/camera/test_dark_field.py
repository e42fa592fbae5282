"""The dark field against the simulation's truth, and what it refuses."""

import numpy as np
import pytest

from calibration.camera.bench import Target
from calibration.camera.dark_field import measure_dark_field
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_sensor import SimulatedSensor
from edge.messages import PixelFormat


class Careless:
    """An operator who leaves the grey target where it is."""

    def __init__(self, bench):
        self.bench = bench

    def present(self, target, what, view=0):
        """Whatever is asked for."""
        self.bench.present(Target.GREY, what)


def bench_with(pixel_format=PixelFormat.BAYER_RG12, **sensor):
    return SimulatedBench(320, 256, seed=4, pixel_format=pixel_format, sensor=SimulatedSensor(**sensor))


@pytest.mark.parametrize("pixel_format", [PixelFormat.BAYER_RG12, PixelFormat.MONO8])
def test_black_level_and_hot_pixels_are_the_truths(pixel_format):
    bench = bench_with(pixel_format, hot_per_million=200.0)
    dark = measure_dark_field(bench, bench)
    truth = bench.truth
    # 8 bits round the level; 12 bits resolve each pixel's own.
    assert dark.black_level_dn == pytest.approx(truth.black_level_dn, abs=0.5)
    hot = 200.0 * 320 * 256 / 1e6
    assert {tuple(px) for px in dark.hot_px} == {tuple(px) for px in truth.dead_px[: round(hot)]}


def test_offset_follows_each_pixel():
    bench = bench_with()
    dark = measure_dark_field(bench, bench)
    good = np.ones(dark.offset.shape, bool)
    good[tuple(dark.hot_px.T)] = False
    away = (dark.offset - bench.truth.black_dn)[good]
    # Temporal noise of one raw value, over the root of 32 pictures.
    assert away.std() < 0.25
    assert bench.truth.black_dn.std() > 1.5


def test_temporal_noise_of_a_good_pixel():
    bench = bench_with()
    dark = measure_dark_field(bench, bench)
    truth = bench.truth
    assert dark.variance == pytest.approx(
        (truth.read_noise_e / truth.electrons_per_dn) ** 2 + 1 / 12, rel=0.03
    )


def test_an_uncovered_lens_is_refused():
    bench = bench_with()
    with pytest.raises(MeasurementRefused, match="not dark") as refusal:
        measure_dark_field(bench, Careless(bench))
    assert "cap" in refusal.value.do


def test_a_black_level_cut_off_is_refused():
    bench = bench_with(black_share=0.0)
    with pytest.raises(MeasurementRefused, match="cut off") as refusal:
        measure_dark_field(bench, bench)
    assert "black_level_percent" in refusal.value.do


def test_a_sensor_with_many_hot_pixels_is_refused():
    bench = bench_with(hot_per_million=5000.0)
    with pytest.raises(MeasurementRefused, match="hot"):
        measure_dark_field(bench, bench)
