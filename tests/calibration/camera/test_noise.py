"""Noise figures against the simulation's truth. Tolerances: K 2 %, read noise 3 %, PRNU and DSNU 5 %."""

import numpy as np
import pytest

from calibration.camera.dark_field import measure_dark_field
from calibration.camera.noise import (
    PhotonTransfer,
    deviations,
    measure_noise,
    noise_figures,
)
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lamp import SimulatedLamp
from edge.messages import PixelFormat

WARM = SimulatedLamp(on_for_s=3600.0)


def measured(pixel_format, gain_db=0.0, seed=6):
    bench = SimulatedBench(480, 320, seed=seed, pixel_format=pixel_format, lamp=WARM)
    bench.set(gain_db=gain_db)
    dark = measure_dark_field(bench, bench)
    return measure_noise(bench, bench, dark), bench


@pytest.mark.parametrize("pixel_format", [PixelFormat.BAYER_RG8, PixelFormat.BAYER_RG12, PixelFormat.MONO12])
@pytest.mark.parametrize("gain_db", [0.0, 6.0])
def test_system_gain(pixel_format, gain_db):
    noise, bench = measured(pixel_format, gain_db)
    expected = bench.truth.electrons_per_dn / 10 ** (gain_db / 20)
    assert noise.electrons_per_dn == pytest.approx(expected, rel=0.02)
    assert noise.linearity_error < 0.002


def test_read_noise_and_spatial_noise_where_12_bits_show_them():
    noise, bench = measured(PixelFormat.BAYER_RG12)
    truth = bench.truth
    assert noise.read_noise_e == pytest.approx(truth.read_noise_e, rel=0.03)
    assert noise.prnu == pytest.approx(truth.prnu_share, rel=0.05)
    assert noise.dsnu_e == pytest.approx(5e-4 * truth.full_scale_dn * truth.electrons_per_dn, rel=0.05)
    assert noise.saturation_e == pytest.approx(truth.full_well_e, rel=0.02)
    assert noise.snr_max_db == pytest.approx(10 * np.log10(truth.full_well_e), abs=0.1)


def test_8_bits_hide_the_read_noise():
    noise, bench = measured(PixelFormat.BAYER_RG8)
    assert noise.read_noise_e is None
    assert noise.dsnu_e is None
    assert noise.read_noise_below_e > bench.truth.read_noise_e


def test_colour_gains_do_not_change_the_figures():
    noise, bench = measured(PixelFormat.BAYER_RG12)
    bench.set(red_gain=1.6, blue_gain=1.4)
    dark = measure_dark_field(bench, bench)
    again = measure_noise(bench, bench, dark)
    assert again.electrons_per_dn == pytest.approx(noise.electrons_per_dn, rel=0.02)


def test_the_settings_are_set_back():
    _, bench = measured(PixelFormat.BAYER_RG8)
    assert bench.settings.exposure_us == 1000.0


class Gamma:
    """A camera with a gamma curve left on, which a double of the bench does not have."""

    def __init__(self, bench):
        self.bench = bench

    def __getattr__(self, name):
        return getattr(self.bench, name)

    def grab(self, count):
        """The bench's pictures, bent."""
        bent = (4095 * (image / 4095.0) ** (1 / 1.4) for image in self.bench.grab(count))
        return tuple(np.rint(image).astype(np.uint16) for image in bent)


def test_gamma_left_on_is_noticed():
    bench = SimulatedBench(480, 320, seed=6, pixel_format=PixelFormat.BAYER_RG12, lamp=WARM)
    camera = Gamma(bench)
    dark = measure_dark_field(camera, bench)
    with pytest.raises(MeasurementRefused, match="does not grow") as refusal:
        measure_noise(camera, bench, dark)
    assert "gamma" in refusal.value.do


def test_noise_that_does_not_grow_is_refused():
    bench = SimulatedBench(320, 256, seed=6, pixel_format=PixelFormat.MONO12, lamp=WARM)
    dark = measure_dark_field(bench, bench)
    points = [PhotonTransfer(100.0 * n, 300.0 * n, 5.0) for n in range(1, 14)]
    with pytest.raises(MeasurementRefused, match="does not grow"):
        noise_figures(points, dark, None, PixelFormat.MONO12)


def test_too_few_exposures_are_refused():
    with pytest.raises(MeasurementRefused, match="Only 3"):
        deviations([PhotonTransfer(100.0 * n, 50.0 * n, 1.0) for n in (1, 2, 3)], 200.0)


def test_linearity_of_a_known_bend():
    # A signal one per cent too large at one of ten exposures, on a straight line otherwise.
    points = [PhotonTransfer(10.0 * n, 20.0 * n * (1.01 if n == 5 else 1.0), 1.0) for n in range(1, 11)]
    away = dict(deviations(points, 210.0))
    assert away[20.0 * 5 * 1.01] == pytest.approx(0.009, abs=0.002)
