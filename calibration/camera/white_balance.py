"""White balance on a neutral grey target: gains of red and blue so that grey has three equal values.

exposure to a middle level ─▶ black level from two exposures ─▶ G/R, G/B ─▶ set, again ─▶ check at a second level
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.bench import BenchCamera, Operator, Settings, Target
from calibration.camera.exposure import bring_into_range, reach, refuse_flicker
from calibration.camera.raw_levels import BAYER, Levels, colour_means, green_plane, levels_of
from calibration.camera.refusal import MeasurementRefused, restored, restored_if_refused
from edge.errors import ConfigError
from edge.messages import Box, PixelFormat, RawImage

FIELDS = 3
Colours = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WhiteBalanceLimits:
    """`level` is the bright quantile that the target is measured at, `second` the share of that exposure of the
    check. `error` is the most that a colour may differ from green, `uneven` the most that a colour's share may
    differ between the fields, `pattern` how strong a pattern the target may show, all relative."""

    level: float = 0.75
    second: float = 0.35
    error: float = 0.01
    uneven: float = 0.06
    pattern: float = 0.08
    saturated: float = 0.001
    unsteady: float = 0.02
    pictures: int = 4
    rounds: int = 4


@dataclass(frozen=True, slots=True)
class WhiteBalanceResult:
    """`errors` are red / green − 1 and blue / green − 1 at the level, `second_errors` at the lower one.
    `trail` has red gain, blue gain and the larger error of each round, first with gains of 1. `black` are the
    black levels of red, green and blue, in raw values."""

    settings: Settings
    errors: tuple[float, float]
    second_errors: tuple[float, float]
    black: tuple[float, float, float]
    trail: tuple[tuple[float, float, float], ...]
    advice: str


def find_white_balance(
    camera: BenchCamera, operator: Operator, limits: WhiteBalanceLimits | None = None
) -> WhiteBalanceResult:
    """Set the gains of red and blue; exposure and gain are afterwards as they were. The target is taken at its
    word: one colour all over, if it is not grey, cannot be told from a coloured lamp.

    Raises `ConfigError` for a camera without colours, and `MeasurementRefused`, with the settings as they were,
    when the target is saturated, too dark, uneven in colour, or cannot be balanced.
    """
    limits = limits or WhiteBalanceLimits()
    if camera.identity.pixel_format not in (*BAYER, PixelFormat.RGB8):
        raise ConfigError(
            f"The camera gives {camera.identity.pixel_format.value} pictures, which have no colours to balance.",
            do="Leave out the white balance.",
        )
    operator.present(
        Target.GREY, "Fill the picture with a neutral grey, matt target under the production light."
    )
    with restored_if_refused(camera):
        before = camera.settings
        camera.set(red_gain=1.0, blue_gain=1.0)
        found = _balance(camera, limits)
        camera.set(exposure_us=before.exposure_us, gain_db=before.gain_db)
    errors, second, black, trail = found
    return WhiteBalanceResult(
        camera.settings,
        (float(errors[0]), float(errors[1])),
        (float(second[0]), float(second[1])),
        (float(black[0]), float(black[1]), float(black[2])),
        tuple(trail),
        _advice(camera.settings),
    )


def _balance(
    camera: BenchCamera, limits: WhiteBalanceLimits
) -> tuple[Colours, Colours, Colours, list[tuple[float, float, float]]]:
    """Errors at the level and at the second one, black levels, and the trail."""
    bring_into_range(camera, limits.level)
    trail: list[tuple[float, float, float]] = []
    for _ in range(limits.rounds):
        # Gains may have pushed a colour up. Never longer: behind a gain below 1 a full pixel would not be seen.
        reach(camera, limits.level, tolerance=0.05, longest_us=camera.settings.exposure_us)
        images = _steady(camera, limits)
        black = _black(camera, limits)
        grey = _mean(images, camera, _middle(camera)) - black
        if not trail:
            _refuse_coloured(images, camera, black, limits)
        errors = _errors(grey)
        now = camera.settings
        trail.append((now.red_gain, now.blue_gain, float(np.abs(errors).max())))
        if np.abs(errors).max() <= limits.error / 4:
            break
        _set_gains(camera, now.red_gain / (1 + errors[0]), now.blue_gain / (1 + errors[1]))
    second = _second_level(camera, black, limits)
    for found, where in ((errors, "the level it was set at"), (second, "a lower level")):
        _refuse_remaining(found, where, limits)
    return errors, second, black, trail


def _steady(camera: BenchCamera, limits: WhiteBalanceLimits) -> tuple[RawImage, ...]:
    images = camera.grab(limits.pictures)
    levels = levels_of(images, camera.identity.pixel_format)
    refuse_flicker(levels, limits.unsteady)
    _refuse_saturated(levels, limits)
    return images


def _black(camera: BenchCamera, limits: WhiteBalanceLimits) -> Colours:
    """What would be left at no exposure: the straight line through two exposures, one twice the other."""
    whole_us = camera.settings.exposure_us
    half_us = camera.set(exposure_us=whole_us / 2).exposure_us
    half = _mean(camera.grab(limits.pictures), camera, _middle(camera))
    camera.set(exposure_us=whole_us)
    whole = _mean(camera.grab(limits.pictures), camera, _middle(camera))
    return half - (whole - half) * half_us / (whole_us - half_us)


def _second_level(camera: BenchCamera, black: Colours, limits: WhiteBalanceLimits) -> Colours:
    with restored(camera):
        camera.set(exposure_us=camera.settings.exposure_us * limits.second)
        grey = _mean(camera.grab(2 * limits.pictures), camera, _middle(camera)) - black
    return _errors(grey)


def _errors(grey: Colours) -> Colours:
    """Red and blue against green."""
    return np.array([grey[0] / grey[1] - 1, grey[2] / grey[1] - 1])


def _mean(images: tuple[RawImage, ...], camera: BenchCamera, area: Box) -> Colours:
    pixel_format = camera.identity.pixel_format
    return np.asarray(np.mean([colour_means(image, pixel_format, area) for image in images], axis=0))


def _middle(camera: BenchCamera) -> Box:
    """The middle half of the picture, where the lens takes least light."""
    width, height = camera.identity.width_px, camera.identity.height_px
    return width // 8 * 2, height // 8 * 2, width // 4 * 2, height // 4 * 2


def _set_gains(camera: BenchCamera, red: float, blue: float) -> None:
    low, high = camera.ranges.colour_gain
    if not (low <= red <= high and low <= blue <= high):
        raise MeasurementRefused(
            f"The target is far from grey: it would need a red gain of {red:.2f} and a blue gain of {blue:.2f}, "
            f"the camera has {low:g} to {high:g}.",
            do="Check that the target is neutral grey and that the lamp gives white light, not coloured.",
        )
    camera.set(red_gain=red, blue_gain=blue)


def _refuse_saturated(levels: Levels, limits: WhiteBalanceLimits) -> None:
    if levels.saturated > limits.saturated:
        raise MeasurementRefused(
            f"{levels.saturated:.1%} of the pixels are saturated, so the colours there are not to be trusted.",
            do="Use a matt target, turn it out of the lamp's reflection, and keep other lamps off it.",
        )


def _refuse_coloured(
    images: tuple[RawImage, ...], camera: BenchCamera, black: Colours, limits: WhiteBalanceLimits
) -> None:
    """A grey target has one colour everywhere and no pattern, however uneven the light."""
    pattern = _pattern(images, camera.identity.pixel_format)
    if pattern > limits.pattern:
        raise MeasurementRefused(
            f"This is not an even grey target: it shows a pattern of {pattern:.0%}.",
            do="Take the part away and fill the whole picture with one neutral grey, matt target.",
        )
    grey = [_mean(images, camera, area) - black for area in _areas(camera)]
    shares = np.array([means / means.sum() for means in grey])
    apart = float((np.ptp(shares, axis=0) / shares.mean(axis=0)).max())
    if apart > limits.uneven:
        raise MeasurementRefused(
            f"This is not an even grey target: its colour differs by {apart:.0%} between parts of the picture.",
            do="Fill the whole picture with one neutral grey target, and keep daylight and other lamps off it.",
        )


def _pattern(images: tuple[RawImage, ...], pixel_format: PixelFormat) -> float:
    """Relative distance from the picture's own slow course that 2 % of the pixels exceed."""
    plane = np.asarray(np.mean([green_plane(image, pixel_format)[0] for image in images], axis=0), np.float32)
    slow = cv2.GaussianBlur(plane, (0, 0), plane.shape[1] / 32, borderType=cv2.BORDER_REFLECT)
    return float(np.quantile(np.abs(plane / np.maximum(slow, 1.0) - 1), 0.98))


def _areas(camera: BenchCamera) -> list[Box]:
    width, height = camera.identity.width_px // FIELDS // 2 * 2, camera.identity.height_px // FIELDS // 2 * 2
    return [
        (column * width, row * height, width, height) for row in range(FIELDS) for column in range(FIELDS)
    ]


def _refuse_remaining(errors: Colours, where: str, limits: WhiteBalanceLimits) -> None:
    worst = float(np.abs(errors).max())
    if not worst <= limits.error:
        raise MeasurementRefused(
            f"Grey is not neutral at {where}: red or blue differs from green by {worst:.1%}.",
            do="Let the lamp warm up, switch gamma and all automatic functions of the camera off, and try again.",
        )


def _advice(settings: Settings) -> str:
    gains = f"Red gain {settings.red_gain:.3f} and blue gain {settings.blue_gain:.3f} make grey neutral."
    if max(settings.red_gain, settings.blue_gain) > 1.2:
        return f"{gains} They brighten red and blue, so set the exposure once more."
    if min(settings.red_gain, settings.blue_gain) < 1:
        return (
            f"{gains} Behind a gain below 1 a saturated pixel does not reach full scale: leave it headroom."
        )
    return gains
