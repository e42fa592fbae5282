"""Exposure: as bright as it can be without saturating, short enough for the belt's speed, gain only as a last
resort.

    gain 0 dB ─▶ exposure until the bright quantile is at its target ─▶ too long for the speed? ─▶ gain, or refuse
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from calibration.camera.bench import BenchCamera, Operator, Settings, Target
from calibration.camera.raw_levels import Levels, levels_of
from calibration.camera.refusal import MeasurementRefused, restored_if_refused
from edge.messages import Box

CLIPPED = 0.985
"""A bright quantile above this says only that the picture is too bright, not how much."""
LEAST_SIGNAL = 0.05
"""Less than this between dark and bright, with all the exposure and gain there are, is no light at all."""
MOST_STEP = 8.0
MOST_TRIES = 12


@dataclass(frozen=True, slots=True)
class LineMotion:
    """How the part moves while it is exposed by a steady light; a strobe shorter than the exposure smears it
    less. Raises `ValueError` for what is not above 0."""

    speed_mm_s: float
    mm_per_px: float
    most_blur_px: float = 1.0

    def __post_init__(self) -> None:
        if not min(self.speed_mm_s, self.mm_per_px, self.most_blur_px) > 0:
            raise ValueError("speed, scale and blur must lie above 0")

    @property
    def longest_us(self) -> float:
        """The exposure in which the part moves by `most_blur_px`."""
        return self.most_blur_px * self.mm_per_px / self.speed_mm_s * 1e6

    def blur_px(self, exposure_us: float) -> float:
        """How far the part moves in an exposure."""
        return self.speed_mm_s * exposure_us * 1e-6 / self.mm_per_px


@dataclass(frozen=True, slots=True)
class ExposureLimits:
    """Shares of full scale. `lowest` to `highest` is where the bright quantile should be, their middle the
    target, met within `tolerance` of itself. `unsteady` is the most that pictures may differ."""

    lowest: float = 0.85
    highest: float = 0.92
    tolerance: float = 0.02
    saturated: float = 0.001
    most_gain_db: float = 12.0
    unsteady: float = 0.02
    pictures: int = 6

    @property
    def target(self) -> float:
        """The middle of the band."""
        return (self.lowest + self.highest) / 2


@dataclass(frozen=True, slots=True, eq=False)
class ExposureResult:
    """`levels` is what the area looks like now; `trail` the exposures in microseconds that were tried, each with
    its bright quantile. `blur_px` is None without a speed, `longest_us` the exposure that it allows."""

    settings: Settings
    levels: Levels
    target: float
    blur_px: float | None
    longest_us: float | None
    trail: tuple[tuple[float, float], ...]
    advice: str


def find_exposure(
    camera: BenchCamera,
    operator: Operator,
    motion: LineMotion | None = None,
    area: Box | None = None,
    limits: ExposureLimits | None = None,
) -> ExposureResult:
    """Set exposure, and gain if need be, for a good part. Raises `MeasurementRefused`, with the settings as they
    were, when light, shine or speed do not allow it."""
    limits = limits or ExposureLimits()
    operator.present(Target.PART, "Put a good part in its place under the light.")
    with restored_if_refused(camera):
        camera.set(gain_db=camera.ranges.gain_db[0])
        longest_us = None if motion is None else motion.longest_us
        trail = reach(camera, limits.target, area, limits.tolerance / 2, longest_us)
        levels = levels_of(camera.grab(limits.pictures), camera.identity.pixel_format, area)
        refuse_flicker(levels, limits.unsteady)
        if levels.bright < limits.target * (1 - limits.tolerance):
            levels = _amplified(camera, area, levels, motion, limits)
        elif levels.saturated > limits.saturated:
            levels = _lowered(camera, area, levels, limits)
        _refuse_unfit(levels, limits)
    return _result(camera.settings, levels, trail, motion, limits)


def reach(
    camera: BenchCamera,
    target: float,
    area: Box | None = None,
    tolerance: float = 0.02,
    longest_us: float | None = None,
    level: Callable[[Levels], float] = lambda levels: levels.bright,
) -> tuple[tuple[float, float], ...]:
    """Change the exposure until `level`, a share of full scale, is at `target` within `tolerance` of it, or a
    bound is met. Returns what was tried, (microseconds, level), the last in force. Raises `MeasurementRefused`
    when the shortest exposure saturates."""
    low, high = camera.ranges.exposure_us
    high = max(low, min(high, longest_us or high))
    trail: list[tuple[float, float]] = []
    wanted = camera.settings.exposure_us
    for _ in range(MOST_TRIES):
        exposure_us = camera.set(exposure_us=min(high, max(low, wanted))).exposure_us
        found = levels_of(camera.grab(2), camera.identity.pixel_format, area)
        trail.append((exposure_us, level(found)))
        if abs(trail[-1][1] - target) <= tolerance * target:
            break
        wanted = _next_exposure(trail, target)
        if (wanted >= high and exposure_us >= high * 0.999) or (wanted <= low and exposure_us <= low * 1.001):
            break
    if trail[-1][1] > CLIPPED:
        raise MeasurementRefused(
            f"The picture is saturated even at the shortest exposure, {trail[-1][0]:g} µs.",
            do="Close the aperture or dim the light, then try again.",
        )
    return tuple(trail)


def bring_into_range(camera: BenchCamera, target: float = 0.7, least: float = 0.3) -> None:
    """Set gain 0 dB and an exposure that lets a picture be measured. Raises `MeasurementRefused` when it is
    saturated or too dark whatever the exposure."""
    camera.set(gain_db=camera.ranges.gain_db[0])
    exposure_us, bright = reach(camera, target, tolerance=0.1)[-1]
    if bright < least:
        raise MeasurementRefused(
            f"The picture is too dark: at {exposure_us:g} µs its bright parts reach {bright:.0%} of full scale.",
            do="Take the cap off, switch the light on, give more light or open the aperture.",
        )


def refuse_flicker(levels: Levels, most: float) -> None:
    """Raises `MeasurementRefused` when the pictures of one burst differ too much to be of a steady lamp."""
    if levels.unsteady > most:
        raise MeasurementRefused(
            f"The light flickers: pictures taken one after the other differ by {levels.unsteady:.1%}.",
            do="Feed the lamp from a constant-current driver (not from dimmed mains), shade daylight and hall "
            "lamps, or expose for whole periods of the mains (10 ms at 50 Hz).",
        )


def _next_exposure(trail: list[tuple[float, float]], target: float) -> float:
    """On the straight line through the last two readings that were not clipped."""
    exposure_us, level = trail[-1]
    if level > CLIPPED:
        return exposure_us / 4
    straight = [reading for reading in trail if reading[1] <= CLIPPED][-2:]
    factor = target / max(level, 1e-3)
    if len(straight) == 2:
        (before_us, before), _ = straight
        slope = (level - before) / (exposure_us - before_us) if exposure_us != before_us else 0.0
        if slope > 0:
            factor = 1 + (target - level) / (slope * exposure_us)
    return exposure_us * min(MOST_STEP, max(1 / MOST_STEP, factor))


def _amplified(
    camera: BenchCamera, area: Box | None, levels: Levels, motion: LineMotion | None, limits: ExposureLimits
) -> Levels:
    """The levels at the longest exposure with as much gain as the target needs."""
    highest_db = min(limits.most_gain_db, camera.ranges.gain_db[1])
    for _ in range(MOST_TRIES):
        if abs(levels.bright - limits.target) <= limits.tolerance / 2 * limits.target:
            return levels
        missing = limits.target / max(levels.bright, 1e-3)
        gain_db = camera.settings.gain_db + 20 * math.log10(min(missing, MOST_STEP))
        if gain_db > highest_db and camera.settings.gain_db >= highest_db * 0.999:
            break
        camera.set(gain_db=min(highest_db, max(camera.ranges.gain_db[0], gain_db)))
        levels = levels_of(camera.grab(limits.pictures), camera.identity.pixel_format, area)
    if levels.bright >= limits.lowest:
        return levels
    raise _too_dark(camera.settings, levels, motion, limits)


def _lowered(camera: BenchCamera, area: Box | None, levels: Levels, limits: ExposureLimits) -> Levels:
    """The levels at the lower end of the band, where fewer pixels saturate."""
    camera.set(exposure_us=camera.settings.exposure_us * limits.lowest / levels.bright)
    return levels_of(camera.grab(limits.pictures), camera.identity.pixel_format, area)


def _too_dark(
    settings: Settings, levels: Levels, motion: LineMotion | None, limits: ExposureLimits
) -> MeasurementRefused:
    what = (
        f"It is too dark: at {settings.exposure_us:.0f} µs and {settings.gain_db:.1f} dB the bright parts reach "
        f"{levels.bright:.0%} of full scale instead of {limits.target:.0%}."
    )
    signal = levels.bright - levels.dark
    if signal < LEAST_SIGNAL:
        return MeasurementRefused(what, do="Take the cap off, switch the light on, and open the aperture.")
    times = limits.target / signal * 10 ** (settings.gain_db / 20)
    stops = math.ceil(2 * math.log2(times)) / 2
    do = f"Give {times:.1f} times as much light, or open the aperture by {stops:g} stops"
    if motion is None:
        return MeasurementRefused(what, do=f"{do}.")
    with_gain = 10 ** (limits.most_gain_db / 20)
    slower = motion.speed_mm_s / max(1.0, times / with_gain)
    return MeasurementRefused(
        f"{what[:-1]}, and a longer exposure would smear the part over more than {motion.most_blur_px:g} px.",
        do=f"{do}; or slow the line from {motion.speed_mm_s:g} to {slower:.0f} mm/s.",
    )


def _refuse_unfit(levels: Levels, limits: ExposureLimits) -> None:
    if levels.saturated > limits.saturated:
        raise MeasurementRefused(
            f"{levels.saturated:.2%} of the pixels are saturated although the rest is not too bright.",
            do="Diffuse the light or cross polarisers against shine, or give the area of the part alone.",
        )
    if levels.dark <= 0:
        raise MeasurementRefused(
            "The darkest pixels are at 0, so what is dark is cut off.",
            do="Raise camera.black_level_percent until the covered camera shows a little above 0.",
        )


def _result(
    settings: Settings,
    levels: Levels,
    trail: tuple[tuple[float, float], ...],
    motion: LineMotion | None,
    limits: ExposureLimits,
) -> ExposureResult:
    blur_px = None if motion is None else motion.blur_px(settings.exposure_us)
    return ExposureResult(
        settings=settings,
        levels=levels,
        target=limits.target,
        blur_px=blur_px,
        longest_us=None if motion is None else motion.longest_us,
        trail=trail,
        advice=_advice(settings, blur_px),
    )


def _advice(settings: Settings, blur_px: float | None) -> str:
    smear = " Without a line speed, motion blur was not looked at."
    if blur_px is not None:
        smear = f" The part moves by {blur_px:.2f} px meanwhile."
    if settings.gain_db > 0.05:
        return (
            f"{settings.exposure_us:.0f} µs is the longest exposure there can be, so a gain of "
            f"{settings.gain_db:.1f} dB makes up for missing light and adds noise: more light or a wider "
            f"aperture would be better.{smear}"
        )
    return f"{settings.exposure_us:.0f} µs without gain uses the sensor's range.{smear}"
