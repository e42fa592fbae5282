import pytest

from calibration.camera.focus import FocusGuide, FocusLimits, Turn, check_focus, watch_focus
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lamp import SimulatedLamp
from calibration.camera.simulated_lens import SimulatedLens
from edge.messages import PixelFormat

TOLERANCE_MM = 0.06
"""Of the image plane; at f/2.8 it costs a circle of 21 µm, one and a half pixels of the simulated sensor."""


def _bench(off_mm=0.0, **changes):
    lens = changes.pop("lens", SimulatedLens())
    lamp = changes.pop("lamp", SimulatedLamp(on_for_s=1e5))
    return SimulatedBench(
        **{"width_px": 1024, "height_px": 300, "lens": lens, "lamp": lamp, **changes},
        focus_mm=lens.best_focus_mm + off_mm,
    )


def _turn_as_told(bench, step_mm, most=60):
    """A hand that does what the readings say and knows nothing else; the readings it got."""
    readings, live = [], watch_focus(bench, bench)
    for reading in live:
        readings.append(reading)
        if reading.turn is Turn.LOCK or len(readings) == most:
            break
        if reading.turn is Turn.TURN_BACK:
            step_mm /= -2
        bench.turn_focus(step_mm)
    live.close()
    return readings


def _refused(bench, **how):
    before = bench.settings
    with pytest.raises(MeasurementRefused) as refused:
        check_focus(bench, bench, **how)
    assert bench.settings == before
    return refused.value


@pytest.mark.parametrize(("start_mm", "step_mm"), [(-0.9, 0.2), (-0.4, -0.2), (0.05, -0.1), (0.8, 0.25)])
def test_a_hand_that_follows_the_readings_ends_at_the_true_best_focus(start_mm, step_mm):
    bench = _bench(start_mm)
    readings = _turn_as_told(bench, step_mm)
    assert readings[-1].turn is Turn.LOCK
    assert bench.focus_mm == pytest.approx(bench.truth.best_focus_mm, abs=TOLERANCE_MM)
    assert readings[-1].share > 0.98
    result = check_focus(bench, bench, best_seen=readings[-1].best)
    assert "lock the ring" in result.advice


def test_the_best_reading_is_held():
    bench = _bench(-0.5)
    readings = _turn_as_told(bench, 0.2)
    sharpness = [reading.now.sharpness for reading in readings]
    assert [reading.best for reading in readings] == [max(sharpness[: n + 1]) for n in range(len(sharpness))]
    assert all(r.share == pytest.approx(r.now.sharpness / r.best) for r in readings)


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        # over the top and back
        ([80, 90, 100, 90, 96, 100], "START GO_ON GO_ON TURN_BACK GO_ON LOCK"),
        # the wrong way first: back at the start is not yet the best place
        ([80, 70, 80, 90, 100, 90, 97, 99], "START TURN_BACK GO_ON GO_ON GO_ON TURN_BACK GO_ON LOCK"),
        # the same in small steps
        ([100, 97, 94, 97, 100, 104], "START GO_ON TURN_BACK GO_ON GO_ON GO_ON"),
        # it stood at the best place: softer on both sides
        ([100, 90, 99, 90, 97, 100], "START TURN_BACK GO_ON TURN_BACK GO_ON LOCK"),
        # back in too large a step, which may have jumped over a better place
        ([70, 100, 80, 100, 120], "START GO_ON TURN_BACK GO_ON GO_ON"),
        # back, but not all the way
        ([50, 100, 90, 94], "START GO_ON TURN_BACK GO_ON"),
        # a little below the best on one side is not yet past it
        ([80, 100, 98, 96, 94], "START GO_ON GO_ON GO_ON TURN_BACK"),
        # nobody turns
        ([100, 100, 100], "START START START"),
        # the hand rests past the best place: noise does not turn the advice about
        ([80, 100, 90, 90.2, 89.9, 90.1], "START GO_ON TURN_BACK TURN_BACK TURN_BACK TURN_BACK"),
    ],
)
def test_the_guide_tells_which_way(readings, expected):
    guide = FocusGuide()
    assert " ".join(guide.take(value).name for value in readings) == expected


@pytest.mark.parametrize("pixel_format", [PixelFormat.BAYER_RG8, PixelFormat.MONO8])
@pytest.mark.parametrize("off_mm", [-1.0, -0.6, 0.6, 1.0])
def test_the_blur_is_that_of_the_lens(off_mm, pixel_format):
    bench = _bench(off_mm, pixel_format=pixel_format)
    result = check_focus(bench, bench, limits=FocusLimits(most_blur_px=50))
    circle_px = abs(off_mm) / 2.8 / (4096 * 3.45e-3 / 1024)
    assert result.blur_px == pytest.approx(circle_px / 4, rel=0.2)


def test_a_sharp_and_square_camera_is_told_so():
    bench = _bench()
    result = check_focus(bench, bench)
    assert result.soft == ""
    assert result.blur_px < FocusLimits().most_blur_px
    assert "evenly" in result.advice
    assert [len(row) for row in result.sharpness.fields] == [3, 3, 3]


@pytest.mark.parametrize(
    ("tilt_mm", "off_mm", "soft"),
    [
        # The plane of focus leans to the right: with the left in focus the right is soft, and the other way.
        ((0.5, 0.0), 0.4, "right"),
        ((0.5, 0.0), -0.4, "left"),
        ((0.3, 0.3), 0.4, "lower right"),
        ((-0.3, 0.3), 0.4, "lower left"),
    ],
)
def test_the_soft_side_of_a_leaning_camera_is_named(tilt_mm, off_mm, soft):
    bench = _bench(off_mm, lens=SimulatedLens(tilt_mm=tilt_mm))
    result = check_focus(bench, bench, limits=FocusLimits(most_blur_px=50))
    assert soft in result.soft
    assert "not square" in result.advice
    assert result.lean_px > FocusLimits().lean_px


@pytest.mark.parametrize("off_mm", [-0.8, 0.6, 3.0])
def test_a_blurred_picture_is_refused(off_mm):
    refusal = _refused(_bench(off_mm))
    assert "blurred" in refusal.what
    assert "Turn the focus ring" in refusal.do


def test_a_picture_that_was_sharper_before_says_to_turn_back():
    bench = _bench()
    best = check_focus(bench, bench).sharpness.sharpness
    bench.turn_focus(0.25)
    refusal = _refused(bench, best_seen=best)
    assert "sharper before" in refusal.what
    assert "back" in refusal.do


def test_nothing_to_focus_on_is_refused():
    refusal = _refused(_bench(part="blank"))
    assert "no contrast" in refusal.what
    assert "printed page" in refusal.do


def test_no_light_is_refused():
    refusal = _refused(_bench(lamp=SimulatedLamp(electrons_per_us=0.0)))
    assert "too dark" in refusal.what


def test_the_exposure_is_set_for_watching_and_set_back():
    bench = _bench()
    bench.set(exposure_us=20, gain_db=3)
    before = bench.settings
    live = watch_focus(bench, bench)
    reading = next(live)
    assert bench.settings != before
    assert reading.now.blur_px is not None
    live.close()
    assert bench.settings == before
