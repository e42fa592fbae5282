"""Light: what good frames of the running line look like, whether the lamp is steady, whether the strobe fits.

line as it runs ─▶ N frames ─▶ photometry of each ─▶ baseline, against which every later frame is compared
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.camera.bench import BenchCamera, Operator, Target
from calibration.camera.frame_stack import Progress, quiet
from calibration.camera.refusal import MeasurementRefused
from edge.light_config import LightConfig
from edge.messages import Box
from edge.photometry import PhotometricBaseline, Photometry, baseline_of, measure

LEAST_FRAMES = 16


@dataclass(frozen=True, slots=True)
class LightLimits:
    """`frames` are taken. `lowest` and `highest` bound the level of a reference patch, as shares of full
    scale; `least_bright` is what the bright quantile must reach, `saturated` the share of pixels at full
    scale. `most_flicker` is the deviation of the level, relative, that is refused on a patch."""

    frames: int = 64
    lowest: float = 0.15
    highest: float = 0.90
    least_bright: float = 0.2
    saturated: float = 0.01
    most_flicker: float = 0.02


@dataclass(frozen=True, slots=True)
class LightResult:
    """`levels` are those of the frames, `flicker` their deviation without the slow change, relative, and
    `drift` the change of a straight line through them from first to last, relative."""

    baseline: PhotometricBaseline
    levels: tuple[float, ...]
    flicker: float
    drift: float
    advice: tuple[str, ...]


def measure_light(
    camera: BenchCamera,
    operator: Operator,
    region: Box | None = None,
    patch: Box | None = None,
    strobe: LightConfig | None = None,
    limits: LightLimits | None = None,
    progress: Progress = quiet,
) -> LightResult:
    """Learn the baseline from frames of the line as it runs, with the settings in force.

    `region` is the station's region of interest, `patch` a reference patch of the raw frame that no part
    covers. Raises `MeasurementRefused` when either lies outside the frame, when it is dark or saturated, or
    flickers.
    """
    limits = limits or LightLimits()
    identity = camera.identity
    area = patch or region or (0, 0, identity.width_px, identity.height_px)
    _check_area(area, identity.width_px, identity.height_px)
    operator.present(Target.AS_IT_IS, "Let the line run with good parts, and the light as in production.")
    frames = max(limits.frames, LEAST_FRAMES)
    measured: list[Photometry] = []
    for taken in range(1, frames + 1):
        (image,) = camera.grab(1)
        measured.append(measure(image, identity.pixel_format, area))
        progress(taken, frames)
    return light_of(measured, patch, strobe or LightConfig(), camera.settings.exposure_us, limits)


def light_of(
    measured: list[Photometry],
    patch: Box | None,
    strobe: LightConfig,
    exposure_us: float,
    limits: LightLimits,
) -> LightResult:
    """The result of photometry already measured. Raises as `measure_light`."""
    levels = tuple(one.level for one in measured)
    flicker, drift = _flicker(levels)
    _check_level(measured, patch is not None, limits)
    if patch is not None and flicker > limits.most_flicker:
        raise MeasurementRefused(
            f"The reference patch flickers by {flicker:.1%}, {limits.most_flicker:.0%} are allowed.",
            do="Feed the lamp from a constant-current driver, shade daylight and hall lamps, and see that "
            "the strobe covers the whole exposure.",
        )
    advice = (
        *_steadiness_advice(flicker, drift, patch is not None, strobe),
        *strobe_advice(strobe, exposure_us),
    )
    return LightResult(baseline_of(measured, patch), levels, flicker, drift, advice)


def strobe_advice(light: LightConfig, exposure_us: float) -> tuple[str, ...]:
    """What the strobe's settings mean for this exposure; empty when there is nothing to say."""
    if light.width_us is None:
        return ()
    duty = f"The strobe's duty is {light.duty:.2%} of {light.max_duty or 0:.2%} allowed."
    if light.width_us < exposure_us:
        return (
            f"The strobe is on for {light.width_us:g} µs of an exposure of {exposure_us:g} µs: the rest "
            f"collects only stray light. Set the exposure to {light.width_us:g} µs or less.",
            duty,
        )
    if light.width_us > 1.5 * exposure_us + 50:
        return (
            f"The strobe is on for {light.width_us:g} µs, the exposure takes {exposure_us:g} µs: a shorter "
            "width_us spares the lamp.",
            duty,
        )
    return (duty,)


def _flicker(levels: tuple[float, ...]) -> tuple[float, float]:
    """Deviation from a straight line through the levels, and how far that line goes; both relative."""
    values, at = np.array(levels), np.linspace(-0.5, 0.5, len(levels))
    mean = float(values.mean())
    if mean <= 0:
        return 0.0, 0.0
    slope, start = np.polyfit(at, values, 1)
    return float((values - start - slope * at).std(ddof=2)) / mean, float(slope) / mean


def _check_area(area: Box, width_px: int, height_px: int) -> None:
    x, y, width, height = area
    if x < 0 or y < 0 or width < 8 or height < 8 or x + width > width_px or y + height > height_px:
        raise MeasurementRefused(
            f"The area {x},{y},{width},{height} does not lie in a frame of {width_px} x {height_px} px, or "
            "is smaller than 8 x 8.",
            do="Give it as X,Y,WIDTH,HEIGHT in pixels of the raw frame.",
        )


def _check_level(measured: list[Photometry], is_patch: bool, limits: LightLimits) -> None:
    level = float(np.mean([one.level for one in measured]))
    bright = float(np.mean([one.bright for one in measured]))
    saturated = float(np.mean([one.saturated for one in measured]))
    if saturated > limits.saturated or (is_patch and level > limits.highest):
        raise MeasurementRefused(
            f"The light is too strong to be watched: {saturated:.1%} of the pixels are saturated, the level is "
            f"{level:.0%} of full scale.",
            do="Run 'adclip calibrate camera' again for the exposure, or choose a darker reference patch.",
        )
    if bright < limits.least_bright or (is_patch and level < limits.lowest):
        raise MeasurementRefused(
            f"It is too dark: the level is {level:.0%} of full scale, its bright parts {bright:.0%}.",
            do="Switch the light on, check exposure and strobe, or choose a lighter reference patch.",
        )


def _steadiness_advice(flicker: float, drift: float, has_patch: bool, light: LightConfig) -> list[str]:
    said = []
    if not has_patch:
        said.append(
            "Without a reference patch the parts' own variation counts as the light's: fix a grey patch "
            "where no part ever lies and name it with --patch."
        )
        if flicker > light.warn / 4:
            said.append(
                f"The level varies by {flicker:.1%} from frame to frame, so only changes above "
                f"{4 * flicker:.0%} can be told from it."
            )
    if abs(drift) > light.warn / 5:
        said.append(f"The level changed by {drift:+.1%} while it was watched: let the lamp warm up first.")
    return said
