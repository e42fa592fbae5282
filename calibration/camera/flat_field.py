"""The flat field: the factor that makes each pixel see an even grey target as even, and pixels that see
nothing.

    gain = mean(F − D) / (F − D), for each colour by itself; F is the mean grey picture, D the dark field

It is proven on pictures that were not used for it, through the same code that corrects the line's frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.bench import BenchCamera, Operator, Target
from calibration.camera.dark_field import DarkField
from calibration.camera.exposure import reach
from calibration.camera.frame_stack import FrameStack, Map, Progress, grab_stack, quiet
from calibration.camera.raw_levels import levels_of
from calibration.camera.raw_planes import planes, same_colour_px
from calibration.camera.refusal import MeasurementRefused, restored
from edge.correction import Correction
from edge.messages import PixelFormat

LEAST_FRAMES = 32
TARGET_LEVEL, LOWEST_LEVEL, HIGHEST_LEVEL = 0.72, 0.60, 0.80
"""Of the bright quantile of the grey target, as shares of full scale."""
MOST_SATURATED = 1e-3
MOST_GAIN = 4.0
MOST_UNMENDED = 1e-3
"""Share of the pixels that may need more than `MOST_GAIN`; beyond it the light is too uneven."""
DEAD_RESPONSE = 0.5
"""A pixel whose response differs from its neighbours' by more than this share is dead."""
MOST_DEAD_SHARE = 1e-3
MOST_MOVED, MOST_SPOT, MOST_DRIFT = 0.02, 0.05, 0.03
MOST_RESIDUAL = 0.01
_BLOCK = 16
_DEGREE = 4
_KERNEL = 5


@dataclass(frozen=True, slots=True, eq=False)
class FlatField:
    """`offset` and `gain` (h, w) float32 and `dead_px` (n, 2) as `edge.correction` takes them; hot pixels are
    among the dead. `level` is the share of full scale at which it was taken. `before` and `residual` are the
    deviation of the pixels from their colour's mean, relative, of pictures not used for it, before and after
    correction; the worst colour counts. `raw` and `corrected` are those pictures' means relative to their
    colour's mean. `stack` is what was measured."""

    offset: Map
    gain: Map
    dead_px: NDArray[np.intp]
    level: float
    exposure_us: float
    before: float
    residual: float
    raw: Map
    corrected: Map
    stack: FrameStack

    @property
    def gain_range(self) -> tuple[float, float]:
        """Least and largest factor."""
        return float(self.gain.min()), float(self.gain.max())


def measure_flat_field(
    camera: BenchCamera,
    operator: Operator,
    dark: DarkField,
    frames: int = LEAST_FRAMES,
    progress: Progress = quiet,
) -> FlatField:
    """Have the grey target shown and take the flat field; the exposure is changed for it and set back.

    Raises `MeasurementRefused` when the target is too dark or saturated, moves, has spots, is lit more
    unevenly than a gain of 4 can mend, or when the corrected picture is not even to within 1 %.
    """
    operator.present(
        Target.GREY,
        "Put the even grey target in place so that it fills the picture, a little above the belt.",
    )
    frames = max(frames, LEAST_FRAMES)
    whole = frames + LEAST_FRAMES
    with restored(camera):
        level = set_grey_level(camera)
        exposure_us = camera.settings.exposure_us
        stack = grab_stack(camera, frames, lambda taken, _: progress(taken, whole))
        field = flat_field_of(stack, dark, camera.identity.pixel_format)
        after = _verified(camera, field, LEAST_FRAMES, lambda taken, _: progress(frames + taken, whole))
    raw, corrected, uneven, residual = after
    if not residual <= MOST_RESIDUAL:
        raise MeasurementRefused(
            f"After the correction the grey target still differs by {residual:.2%}, more than "
            f"{MOST_RESIDUAL:.0%}.",
            do="Keep target, light and lens still while it is measured, let the lamp warm up, and measure "
            "again.",
        )
    return FlatField(*field, level, exposure_us, uneven, residual, raw, corrected, stack)


def set_grey_level(camera: BenchCamera) -> float:
    """Set the exposure for a grey target, and return its bright quantile as a share of full scale.

    Raises `MeasurementRefused` when the target saturates or stays dark."""
    reach(camera, TARGET_LEVEL, tolerance=0.03)
    levels = levels_of(camera.grab(2), camera.identity.pixel_format)
    if levels.bright > HIGHEST_LEVEL or levels.saturated > MOST_SATURATED:
        raise MeasurementRefused(
            f"The grey target is too bright: {levels.bright:.0%} of full scale, {levels.saturated:.1%} "
            "saturated.",
            do="Take a matt target without shine, close the aperture or dim the light.",
        )
    if levels.bright < LOWEST_LEVEL:
        raise MeasurementRefused(
            f"The grey target is too dark: {levels.bright:.0%} of full scale at the longest exposure, "
            f"{LOWEST_LEVEL:.0%} are needed.",
            do="Switch the light on, take a lighter target, give more light or open the aperture.",
        )
    return levels.bright


def flat_field_of(
    stack: FrameStack, dark: DarkField, pixel_format: PixelFormat
) -> tuple[Map, Map, NDArray[np.intp]]:
    """Offset, gain and dead pixels from a stack of grey pictures. Raises as `measure_flat_field`."""
    response = stack.mean - dark.offset
    hot = np.zeros(response.shape, bool)
    hot[tuple(dark.hot_px.T)] = True
    smooth = _neighbourhood(response, pixel_format)
    dead = hot | ~(np.abs(response - smooth) <= DEAD_RESPONSE * np.maximum(smooth, 1e-6))
    if dead.mean() > MOST_DEAD_SHARE:
        raise MeasurementRefused(
            f"{dead.mean():.2%} of the pixels differ strongly from their neighbours: this is no even target.",
            do="Take away whatever lies in the picture, or a patterned target, and show plain grey.",
        )
    response = np.where(dead, smooth, response)
    _check_still(stack, pixel_format)
    gain = _gain(response, dead, pixel_format)
    _check_plain(response, pixel_format)
    return _at_neighbours(dark.offset, dead, pixel_format), gain, np.argwhere(dead)


def _gain(response: Map, dead: NDArray[np.bool_], pixel_format: PixelFormat) -> Map:
    gain = np.empty_like(response)
    for of, seen, bad in zip(
        *(planes(field, pixel_format).values() for field in (gain, response)),
        planes(dead, pixel_format).values(),
        strict=True,
    ):
        of[...] = seen[~bad].mean(dtype=np.float64) / np.maximum(seen, 1e-6)
    unmended = float((gain > MOST_GAIN).mean())
    if unmended > MOST_UNMENDED:
        raise MeasurementRefused(
            f"{unmended:.1%} of the picture is more than {MOST_GAIN:g} times darker than the rest, which no "
            "correction mends.",
            do="Light the whole field evenly, take a lens whose image circle covers the sensor, or cut "
            "camera.region_px to the part that is lit.",
        )
    return np.minimum(gain, np.float32(MOST_GAIN))


def _neighbourhood(response: Map, pixel_format: PixelFormat) -> Map:
    smooth = np.empty_like(response)
    for of, seen in zip(
        planes(smooth, pixel_format).values(), planes(response, pixel_format).values(), strict=True
    ):
        of[...] = cv2.medianBlur(np.ascontiguousarray(seen), _KERNEL)
    return smooth


def _at_neighbours(offset: Map, dead: NDArray[np.bool_], pixel_format: PixelFormat) -> Map:
    """A dead pixel is replaced by its neighbours' value before the offset is taken off, so it has theirs."""
    return np.where(dead, _neighbourhood(offset, pixel_format), offset)


def _blocks(field: Map, pixel_format: PixelFormat) -> dict[str, Map]:
    """Means of blocks of each colour."""
    return {
        name: np.asarray(
            cv2.resize(
                np.ascontiguousarray(plane),
                (max(2, plane.shape[1] // _BLOCK), max(2, plane.shape[0] // _BLOCK)),
                interpolation=cv2.INTER_AREA,
            ),
            np.float32,
        )
        for name, plane in planes(field, pixel_format).items()
    }


def _check_still(stack: FrameStack, pixel_format: PixelFormat) -> None:
    drift = (max(stack.levels) - min(stack.levels)) / float(np.mean(stack.levels))
    if drift > MOST_DRIFT:
        raise MeasurementRefused(
            f"The light changed by {drift:.1%} while the grey target was taken.",
            do="Let the lamp warm up, feed it from a constant-current driver, and shade daylight.",
        )
    first, second = (_blocks(half, pixel_format) for half in (stack.first, stack.second))
    moved = max(
        float(np.abs(second[name] / second[name].mean() - first[name] / first[name].mean()).max())
        for name in first
    )
    if moved > MOST_MOVED:
        raise MeasurementRefused(
            f"The grey target or its light moved: parts of the picture changed by {moved:.1%}.",
            do="Fix the target, step back so that no shadow falls on it, and measure again.",
        )


def _check_plain(response: Map, pixel_format: PixelFormat) -> None:
    """Shading is smooth: what a surface of the fourth degree does not describe lies on the target."""
    worst = max(_spot(blocks) for blocks in _blocks(response, pixel_format).values())
    if worst > MOST_SPOT:
        raise MeasurementRefused(
            f"The grey target is not even: a spot or an edge on it differs by {worst:.1%}.",
            do="Show a clean, matt target that fills the whole picture, a little out of focus, and wipe "
            "the lens.",
        )


def _spot(blocks: Map) -> float:
    rows, columns = blocks.shape
    x = np.tile(np.linspace(-1, 1, columns), rows)
    y = np.repeat(np.linspace(-1, 1, rows), columns)
    powers = [x**across * y**down for across in range(_DEGREE + 1) for down in range(_DEGREE + 1 - across)]
    shape = np.stack(powers, axis=1)
    # Vignetting is a product of cosines, so its logarithm is what a low degree describes.
    values = np.log(np.maximum(blocks.ravel().astype(np.float64), 1e-6))
    smooth = shape @ np.linalg.lstsq(shape, values, rcond=None)[0]
    return float(np.abs(values - smooth).max())


def _verified(
    camera: BenchCamera, field: tuple[Map, Map, NDArray[np.intp]], frames: int, progress: Progress
) -> tuple[Map, Map, float, float]:
    """New pictures through the line's own correction: relative before and after, and their deviations."""
    identity = camera.identity
    correction = Correction("", *field, same_colour_px(identity.pixel_format))
    shape = identity.height_px, identity.width_px
    raw, corrected = np.zeros(shape), np.zeros(shape)
    for taken in range(1, frames + 1):
        (image,) = camera.grab(1)
        raw += image
        corrected += correction.levelled(image, (0, 0, shape[1], shape[0]))
        progress(taken, frames)
    raw_relative = _relative((raw / frames - field[0]).astype(np.float32), identity.pixel_format)
    relative = _relative((corrected / frames).astype(np.float32), identity.pixel_format)
    return (
        raw_relative,
        relative,
        _deviation(raw_relative, identity.pixel_format),
        _deviation(relative, identity.pixel_format),
    )


def _relative(values: Map, pixel_format: PixelFormat) -> Map:
    relative = np.empty_like(values)
    for of, seen in zip(
        planes(relative, pixel_format).values(), planes(values, pixel_format).values(), strict=True
    ):
        of[...] = seen / seen.mean(dtype=np.float64)
    return relative


def _deviation(relative: Map, pixel_format: PixelFormat) -> float:
    return max(float(plane.std(dtype=np.float64)) for plane in planes(relative, pixel_format).values())
