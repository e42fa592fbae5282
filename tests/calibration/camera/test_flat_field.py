"""The flat field against the simulation's truth, through the line's own correction, and what it refuses."""

import numpy as np
import pytest

from calibration.camera.bench import Target
from calibration.camera.dark_field import measure_dark_field
from calibration.camera.flat_field import MOST_RESIDUAL, measure_flat_field
from calibration.camera.raw_planes import planes
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lamp import SimulatedLamp
from calibration.camera.simulated_sensor import SimulatedSensor
from edge.correction import Correction
from edge.messages import PixelFormat

FORMATS = [PixelFormat.BAYER_RG8, PixelFormat.BAYER_RG12, PixelFormat.MONO8]


def warm(pixel_format=PixelFormat.BAYER_RG8, **lamp):
    lamp = SimulatedLamp(**{"on_for_s": 3600.0, **lamp})
    sensor = SimulatedSensor(hot_per_million=150.0, dead_per_million=150.0)
    return SimulatedBench(320, 256, seed=5, pixel_format=pixel_format, lamp=lamp, sensor=sensor)


def measured(bench, operator=None):
    dark = measure_dark_field(bench, bench)
    return measure_flat_field(bench, operator or bench, dark)


class Restless:
    """A camera before which the target is exchanged while the stack is taken."""

    def __init__(self, bench, after):
        self.bench, self.left = bench, after

    def __getattr__(self, name):
        return getattr(self.bench, name)

    def grab(self, count):
        """Pictures, of the part once `after` of them were taken."""
        self.left -= count
        if self.left < 0:
            self.bench.present(Target.PART, "")
        return self.bench.grab(count)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_residual_and_gain(pixel_format):
    bench = warm(pixel_format)
    flat = measured(bench)
    assert flat.before > 0.2
    assert flat.residual <= MOST_RESIDUAL
    good = np.ones(flat.gain.shape, bool)
    good[tuple(bench.truth.dead_px.T)] = False
    for gain, evenness, fine in zip(
        *(planes(field, pixel_format).values() for field in (flat.gain, bench.truth.evenness, good)),
        strict=True,
    ):
        product = (gain * evenness)[fine]
        # What one mean of 32 pictures leaves in a dark corner; no slope is left beside it.
        assert product.std() / product.mean() < 0.01


def test_dead_and_hot_pixels_are_the_truths():
    bench = warm()
    assert {tuple(px) for px in measured(bench).dead_px} == {tuple(px) for px in bench.truth.dead_px}


def test_a_new_grey_picture_is_even_on_the_line():
    bench = warm()
    flat = measured(bench)
    correction = Correction("", flat.offset, flat.gain, flat.dead_px, 2)
    bench.present(Target.GREY, "")
    bench.set(exposure_us=flat.exposure_us)
    mean = np.mean([correction.levelled(image, (0, 0, 320, 256)) for image in bench.grab(32)], axis=0)
    for plane in planes(mean, PixelFormat.BAYER_RG8).values():
        assert plane.std() / plane.mean() <= 0.01
        # Nothing sticks out where a dead pixel was replaced.
        assert np.abs(plane / plane.mean() - 1).max() < 0.08


def test_the_exposure_is_set_back():
    bench = warm()
    bench.set(exposure_us=321.0)
    measured(bench)
    assert bench.settings.exposure_us == 321.0


@pytest.mark.parametrize(
    ("lamp", "what"),
    [
        ({"electrons_per_us": 20_000.0}, "saturated"),  # even the shortest exposure is too long
        ({"electrons_per_us": 0.01}, "too dark"),
        ({"unevenness": 0.5}, "times darker"),  # no light at the right
    ],
)
def test_light_that_cannot_be_mended_is_refused(lamp, what):
    bench = warm(**lamp)
    with pytest.raises(MeasurementRefused, match=what):
        measured(bench)
    assert bench.settings.exposure_us == 1000.0


def test_a_part_in_place_of_the_target_is_refused():
    bench = warm()

    class Wrong:
        def present(self, target, what, view=0):
            bench.present(Target.PART, what)

    with pytest.raises(MeasurementRefused, match=r"not even|differ strongly|times darker"):
        measured(bench, Wrong())


def test_a_target_that_moves_is_refused():
    bench = warm()
    dark = measure_dark_field(bench, bench)
    # Found its level in six pictures or so; the stack's second half shows something else.
    with pytest.raises(MeasurementRefused, match=r"moved|changed"):
        measure_flat_field(Restless(bench, 28), bench, dark)


def test_a_cold_lamp_that_flickers_is_refused():
    bench = warm(flicker=0.2, flicker_hz=97.0)
    with pytest.raises(MeasurementRefused, match="light changed") as refusal:
        measured(bench)
    assert "constant-current" in refusal.value.do
