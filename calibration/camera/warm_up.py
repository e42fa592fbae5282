"""Warm-up: wait until the light stays as it is.

The light is stable when a straight line through the readings of the last minutes changes by no more than so many
per cent a minute, and no reading lies further from that line than the light may flicker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calibration.camera.bench import BenchCamera, Operator, Target
from calibration.camera.exposure import bring_into_range, refuse_flicker
from calibration.camera.raw_levels import levels_of
from calibration.camera.refusal import MeasurementRefused, restored
from edge.clock import Clock


@dataclass(frozen=True, slots=True)
class WarmUpLimits:
    """Stable is at most `most_per_min` of change a minute, over `window_s`. A reading of `pictures` pictures is
    taken every `interval_s`, for `longest_s` at most. `unsteady` is the most that pictures of one reading may
    differ, and that a reading may lie from the line."""

    most_per_min: float = 0.002
    window_s: float = 120.0
    interval_s: float = 10.0
    longest_s: float = 1800.0
    unsteady: float = 0.02
    pictures: int = 4

    @property
    def readings(self) -> int:
        """The number of readings in a window."""
        return max(3, round(self.window_s / self.interval_s) + 1)


@dataclass(frozen=True, slots=True)
class WarmUpReading:
    """`at_s` is since the first reading, `level` relative to it; `per_min` the relative change a minute over the
    window, None while the window is not full. `temperature_c` is the sensor's, None when it does not say."""

    at_s: float
    level: float
    per_min: float | None
    temperature_c: float | None


@dataclass(frozen=True, slots=True)
class WarmUpResult:
    """`curve` has every reading; `change` is the relative change of the level from the first to the last."""

    curve: tuple[WarmUpReading, ...]
    took_s: float
    change: float
    advice: str


def warm_up(
    camera: BenchCamera,
    operator: Operator,
    clock: Clock,
    limits: WarmUpLimits | None = None,
    on_reading: Callable[[WarmUpReading], None] = lambda reading: None,
) -> WarmUpResult:
    """Wait until the light is stable. The camera's settings are afterwards as they were.

    Raises `MeasurementRefused` when it is not stable in time, flickers, is too dark or saturated.
    """
    limits = limits or WarmUpLimits()
    operator.present(Target.AS_IT_IS, "Switch the light on as in production and leave the view as it is.")
    with restored(camera):
        bring_into_range(camera)
        curve = _curve(camera, clock, limits, on_reading)
    return WarmUpResult(curve, curve[-1].at_s, curve[-1].level - 1, _advice(curve))


def _curve(
    camera: BenchCamera, clock: Clock, limits: WarmUpLimits, on_reading: Callable[[WarmUpReading], None]
) -> tuple[WarmUpReading, ...]:
    begun_ns, never = clock.now_ns(), threading.Event()
    times: list[float] = []
    levels: list[float] = []
    curve: list[WarmUpReading] = []
    while True:
        times.append((clock.now_ns() - begun_ns) / 1e9)
        levels.append(_level(camera, limits))
        change = _change(times, levels, limits)
        curve.append(
            WarmUpReading(times[-1], levels[-1] / levels[0], change and change[0], camera.temperature_c())
        )
        on_reading(curve[-1])
        if change is not None and abs(change[0]) <= limits.most_per_min and change[1] <= limits.unsteady:
            return tuple(curve)
        if times[-1] >= limits.longest_s:
            raise _not_in_time(times[-1], change, limits)
        clock.wait_until(begun_ns + round(len(times) * limits.interval_s * 1e9), never)


def _level(camera: BenchCamera, limits: WarmUpLimits) -> float:
    found = levels_of(camera.grab(limits.pictures), camera.identity.pixel_format)
    refuse_flicker(found, limits.unsteady)
    if found.bright < 0.1 or found.bright > 0.98:
        raise MeasurementRefused(
            f"The light changed so much that the bright parts are at {found.bright:.0%} of full scale.",
            do="Leave the lamp, the aperture and the view alone while it warms up, then start again.",
        )
    return found.mean


def _change(times: list[float], levels: list[float], limits: WarmUpLimits) -> tuple[float, float] | None:
    """Relative change a minute over the last window, and the largest distance from the line; None before one
    is full."""
    if len(times) < limits.readings:
        return None
    last_s, last = np.array(times[-limits.readings :]), np.array(levels[-limits.readings :])
    slope, start = np.polyfit(last_s - last_s.mean(), last, 1)
    apart = np.abs(last - start - slope * (last_s - last_s.mean())).max()
    return float(60 * slope / start), float(apart / start)


def _not_in_time(
    after_s: float, change: tuple[float, float] | None, limits: WarmUpLimits
) -> MeasurementRefused:
    seen = (
        "was not watched for long enough" if change is None else f"still changes by {change[0]:+.2%} a minute"
    )
    return MeasurementRefused(
        f"After {after_s / 60:.0f} min the light {seen}; {limits.most_per_min:.2%} are allowed.",
        do="Check that the lamp's driver holds its current, that the lamp can cool, and that nothing moves "
        "in view; then start again.",
    )


def _advice(curve: tuple[WarmUpReading, ...]) -> str:
    took_min, change = curve[-1].at_s / 60, curve[-1].level - 1
    if abs(change) < 0.01:
        return f"The light is stable; it changed by {change:+.1%} in {took_min:.0f} min."
    return (
        f"The light changed by {change:+.1%} in {took_min:.0f} min before it was stable: set light.warm_up_s "
        f"to at least {60 * round(took_min + 0.5)} s."
    )
