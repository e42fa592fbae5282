"""What a frame's light is told by, and when it warns and faults: before scores drift, not because of a part."""

import cv2
import numpy as np
import pytest

from edge.messages import PixelFormat
from edge.photometry import (
    Condition,
    PhotometricBaseline,
    PhotometricLimits,
    Spread,
    assess,
    baseline_of,
    measure,
)

HEIGHT, WIDTH = 300, 420
WHOLE = (0, 0, WIDTH, HEIGHT)
LIMITS = PhotometricLimits()


def scene(seed=0, level=1.0, blur=0.0, tilt=0.0):
    """A textured plate under a lamp, with noise: Mono8."""
    random = np.random.default_rng(7)
    texture = cv2.GaussianBlur(random.normal(0, 60, (HEIGHT, WIDTH)), (0, 0), 1.2)
    _, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    light = level * (1 + tilt * (columns / WIDTH - 0.5))
    picture = (120 + texture) * light
    if blur:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    noise = np.random.default_rng(seed).normal(0, 2, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def numbers(**changes):
    return measure(scene(**changes), PixelFormat.MONO8, WHOLE)


@pytest.fixture(scope="module")
def baseline():
    return baseline_of([numbers(seed=seed) for seed in range(8)], None)


def test_levels_are_shares_of_full_scale():
    image = np.full((HEIGHT, WIDTH), 51, np.uint8)
    image[:30] = 255
    found = measure(image, PixelFormat.MONO8, WHOLE)
    assert found.level == pytest.approx(0.1 + 0.9 * 0.2)
    assert found.bright == 1
    assert found.dark == pytest.approx(0.2)
    assert found.saturated == pytest.approx(0.1)


def test_12_bits_and_8_bits_tell_the_same():
    eight = measure(scene(), PixelFormat.MONO8, WHOLE)
    twelve = measure(scene().astype(np.uint16) * 16, PixelFormat.MONO12, WHOLE)
    assert twelve.level == pytest.approx(eight.level, rel=0.005)
    assert twelve.sharpness == pytest.approx(eight.sharpness, rel=0.005)


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_only_green_of_a_bayer_frame_counts(corner):
    raw = np.full((HEIGHT, WIDTH), 250, np.uint8)
    raw[0::2, 1::2] = raw[1::2, 0::2] = 100  # green
    x, y = corner
    found = measure(raw, PixelFormat.BAYER_RG8, (x, y, 200, 100))
    assert found.level == pytest.approx(100 / 255)
    assert found.sharpness == 0


def test_a_large_frame_is_thinned_out_without_changing_the_numbers():
    large = cv2.resize(scene(), None, fx=5, fy=5, interpolation=cv2.INTER_NEAREST)
    found = measure(large, PixelFormat.MONO8, (0, 0, WIDTH * 5, HEIGHT * 5))
    assert found.level == pytest.approx(numbers().level, rel=0.01)
    assert found.gradient == pytest.approx(numbers().gradient, abs=0.02)


@pytest.mark.parametrize(
    ("changes", "condition", "reason"),
    [
        ({"seed": 99}, Condition.GOOD, ""),
        ({"level": 1.03}, Condition.GOOD, ""),
        ({"level": 0.92}, Condition.WARN, "light level -8%"),
        ({"level": 1.08}, Condition.WARN, "light level"),
        ({"level": 0.7}, Condition.FAULT, "light level -30%"),
        ({"level": 0.0}, Condition.FAULT, "light level"),
        ({"tilt": 0.14}, Condition.WARN, "light gradient"),
        ({"tilt": 0.5}, Condition.FAULT, "light gradient"),
        ({"blur": 3.0}, Condition.FAULT, "sharpness"),
    ],
)
def test_what_warns_and_what_faults(baseline, changes, condition, reason):
    found = assess(numbers(**changes), baseline, LIMITS)
    assert found.condition is condition
    assert found.reason.startswith(reason)


def test_parts_that_differ_in_brightness_widen_the_limits():
    varied = baseline_of([numbers(seed=k, level=1 + 0.04 * (k % 5 - 2)) for k in range(10)], None)
    assert assess(numbers(level=0.92), varied, LIMITS).condition is Condition.GOOD
    assert assess(numbers(level=0.6), varied, LIMITS).condition is Condition.FAULT


def test_a_glare_that_saturates_is_a_fault(baseline):
    image = scene()
    image[:40] = 255
    found = assess(measure(image, PixelFormat.MONO8, WHOLE), baseline, PhotometricLimits(fault=9, warn=8))
    assert found.condition is Condition.FAULT
    assert "saturated" in found.reason


def test_not_a_number_is_a_fault(baseline):
    broken = PhotometricBaseline(
        frames=2,
        level=Spread(mean=0, deviation=0),
        gradient=baseline.gradient,
        sharpness=baseline.sharpness,
        saturated=baseline.saturated,
    )
    assert assess(numbers(), broken, LIMITS).condition is Condition.FAULT


def test_a_baseline_needs_two_frames():
    with pytest.raises(ValueError, match="two frames"):
        baseline_of([numbers()], None)
