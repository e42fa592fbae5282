import numpy as np
import pytest

from calibration.camera.bench import Target
from calibration.camera.raw_levels import colour_means
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lamp import SimulatedLamp
from calibration.camera.white_balance import find_white_balance
from edge.errors import ConfigError
from edge.messages import PixelFormat

COLOURS = [(1.05, 1.0, 0.85), (0.8, 1.0, 1.3), (2.2, 1.0, 0.5)]


class Misplaced:
    """An operator who puts the same wrong thing before the camera whatever is asked for."""

    def __init__(self, bench, target):
        self._bench, self._target = bench, target

    def present(self, target, what, view=0):
        self._bench.present(self._target, what)


def _bench(**changes):
    lamp = SimulatedLamp(**{"on_for_s": 1e5, **changes.pop("lamp", {})})
    return SimulatedBench(**{"width_px": 512, "height_px": 270, "lamp": lamp, **changes})


def _refused(bench, operator=None, error=MeasurementRefused):
    before = bench.settings
    with pytest.raises(error) as refused:
        find_white_balance(bench, operator or bench)
    assert bench.settings == before
    return refused.value


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("pixel_format", [PixelFormat.BAYER_RG8, PixelFormat.BAYER_RG12])
def test_the_gains_are_those_of_the_lamp_within_1_per_cent(colour, pixel_format):
    bench = _bench(lamp={"colour": colour}, pixel_format=pixel_format)
    result = find_white_balance(bench, bench)
    assert result.settings.red_gain == pytest.approx(bench.truth.red_gain, rel=0.01)
    assert result.settings.blue_gain == pytest.approx(bench.truth.blue_gain, rel=0.01)
    assert max(map(abs, (*result.errors, *result.second_errors))) <= 0.01
    assert result.trail[0][:2] == (1.0, 1.0)
    assert result.trail[-1][2] < result.trail[0][2]


def test_grey_is_neutral_afterwards_at_two_levels():
    bench = _bench()
    find_white_balance(bench, bench)
    bench.present(Target.GREY, "")
    for exposure_us in (300, 900):
        bench.set(exposure_us=exposure_us)
        means = np.mean(
            [colour_means(raw, PixelFormat.BAYER_RG8, (128, 60, 256, 150)) for raw in bench.grab(4)], axis=0
        )
        red, green, blue = means - bench.truth.black_level_dn
        assert red / green == pytest.approx(1, abs=0.01)
        assert blue / green == pytest.approx(1, abs=0.01)


def test_exposure_and_gain_stay_as_they_were():
    bench = _bench()
    bench.set(exposure_us=123, gain_db=4)
    result = find_white_balance(bench, bench)
    assert (result.settings.exposure_us, result.settings.gain_db) == (123, 4)
    assert bench.settings == result.settings


def test_the_black_level_is_found_without_covering_the_lens():
    bench = _bench()
    result = find_white_balance(bench, bench)
    assert result.black == pytest.approx([bench.truth.black_level_dn] * 3, abs=0.15)


def test_what_follows_from_the_gains_is_told():
    bench = _bench()
    assert "set the exposure once more" in find_white_balance(bench, bench).advice
    red = _bench(lamp={"colour": (2.2, 1.0, 1.4)})
    assert "headroom" in find_white_balance(red, red).advice


def test_a_target_that_is_too_dark_is_refused():
    refusal = _refused(_bench(lamp={"electrons_per_us": 0.001}))
    assert "too dark" in refusal.what
    assert "light" in refusal.do


def test_a_target_that_saturates_is_refused():
    refusal = _refused(_bench(lamp={"electrons_per_us": 5000.0}))
    assert "saturated" in refusal.what
    assert "aperture" in refusal.do


def test_a_flickering_lamp_is_refused():
    assert "flickers" in _refused(_bench(lamp={"flicker": 0.3})).what


def test_a_part_is_no_grey_target():
    bench = _bench()
    refusal = _refused(bench, Misplaced(bench, Target.PART))
    assert "not an even grey target" in refusal.what
    assert "grey" in refusal.do


def test_a_strongly_coloured_target_is_refused():
    refusal = _refused(_bench(grey_tint=(1.0, 0.1, 0.1)))
    assert "far from grey" in refusal.what
    assert "neutral grey" in refusal.do


def test_light_of_two_colours_is_refused():
    class TwoLamps(SimulatedBench):
        """The right third of the target is lit by a redder lamp."""

        def grab(self, count):
            pictures = super().grab(count)
            for raw in pictures:
                raw[0::2, 2 * raw.shape[1] // 3 // 2 * 2 :: 2] //= 2
            return pictures

    bench = TwoLamps(512, 270, lamp=SimulatedLamp(on_for_s=1e5))
    refusal = _refused(bench)
    assert "colour differs" in refusal.what
    assert "other lamps" in refusal.do


def test_a_grey_camera_has_nothing_to_balance():
    refusal = _refused(_bench(pixel_format=PixelFormat.MONO8), error=ConfigError)
    assert "no colours" in refusal.what
