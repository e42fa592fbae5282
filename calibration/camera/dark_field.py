"""The dark field: what each pixel says when no light falls on it, and which pixels are hot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera.bench import BenchCamera, Operator, Target
from calibration.camera.frame_stack import FrameStack, Map, Progress, grab_stack, quiet
from calibration.camera.raw_levels import full_scale
from calibration.camera.raw_planes import planes, same_colour_px
from calibration.camera.refusal import MeasurementRefused
from edge.messages import PixelFormat

LEAST_FRAMES = 32
HOT_DEVIATIONS, HOT_SHARE = 8.0, 0.02
"""A pixel is hot that lies above its plane's median by this many robust deviations and this share of full
scale."""
MOST_BAD_SHARE = 1e-3
MOST_DARK_SHARE, MOST_SLOPE_SHARE = 0.10, 0.005
MOST_CLIPPED = 1e-3
_FIELDS = 8


@dataclass(frozen=True, slots=True, eq=False)
class DarkField:
    """`offset` (h, w) float32 is the mean of `frames` dark pictures, in raw values, and at a hot pixel its
    plane's median. `hot_px` (n, 2) row and column. `variance` is the temporal noise of a good pixel, in raw
    values squared, before rounding is taken out. `clipped` is the share of raw pixels at 0, `slope` the
    largest difference between fields of the picture as a share of full scale."""

    frames: int
    offset: Map
    hot_px: NDArray[np.intp]
    black_level_dn: float
    variance: float
    clipped: float
    slope: float


def measure_dark_field(
    camera: BenchCamera, operator: Operator, frames: int = LEAST_FRAMES, progress: Progress = quiet
) -> DarkField:
    """Have the lens covered and take the dark field with the settings in force.

    Raises `MeasurementRefused` when light falls in, when the black level is cut off at 0, or when too many
    pixels are hot.
    """
    operator.present(Target.DARK, "Cover the lens so that no light falls in.")
    stack = grab_stack(camera, max(frames, LEAST_FRAMES), progress)
    clipped = float(np.mean([(image == 0).mean() for image in camera.grab(2)]))
    return dark_field_of(stack, clipped, camera.identity.pixel_format)


def dark_field_of(stack: FrameStack, clipped: float, pixel_format: PixelFormat) -> DarkField:
    """The dark field of a stack of dark pictures. Raises as `measure_dark_field`."""
    top = full_scale(pixel_format)
    hot = _hot(stack.mean, pixel_format)
    level, slope = float(np.median(stack.mean)), _slope(stack.mean, hot, pixel_format) / top
    _check_light(level / top, slope)
    _check_black_level(clipped, level)
    if hot.mean() > MOST_BAD_SHARE:
        raise MeasurementRefused(
            f"{hot.mean():.2%} of the pixels are hot, more than {MOST_BAD_SHARE:.1%}.",
            do="Let the camera cool, see that the lens is covered, and lower the gain or the exposure.",
        )
    return DarkField(
        stack.frames,
        _without_hot(stack.mean, hot, pixel_format),
        np.argwhere(hot),
        level,
        float(stack.variance[~hot].mean(dtype=np.float64)),
        clipped,
        slope,
    )


def _hot(mean: Map, pixel_format: PixelFormat) -> NDArray[np.bool_]:
    hot = np.zeros(mean.shape, bool)
    least = HOT_SHARE * full_scale(pixel_format)
    for plane, marked in zip(
        planes(mean, pixel_format).values(), planes(hot, pixel_format).values(), strict=True
    ):
        middle = np.median(plane)
        deviation = 1.4826 * float(np.median(np.abs(plane - middle)))
        marked[...] = plane - middle > max(least, HOT_DEVIATIONS * deviation)
    return hot


def _without_hot(mean: Map, hot: NDArray[np.bool_], pixel_format: PixelFormat) -> Map:
    """A hot pixel takes its neighbours' value, so it takes their offset."""
    offset = mean.copy()
    for plane, marked in zip(
        planes(offset, pixel_format).values(), planes(hot, pixel_format).values(), strict=True
    ):
        plane[marked] = np.median(plane)
    return offset


def _slope(mean: Map, hot: NDArray[np.bool_], pixel_format: PixelFormat) -> float:
    step = same_colour_px(pixel_format)
    fields = [
        float(np.mean(field))
        for rows in np.array_split(np.where(hot, np.median(mean), mean)[::step, ::step], _FIELDS)
        for field in np.array_split(rows, _FIELDS, axis=1)
    ]
    return max(fields) - min(fields)


def _check_light(level: float, slope: float) -> None:
    if level > MOST_DARK_SHARE or slope > MOST_SLOPE_SHARE:
        raise MeasurementRefused(
            f"The dark picture is not dark: its level is {level:.1%} of full scale and differs by {slope:.1%} "
            "across the picture.",
            do="Put the lens cap on or close the aperture, switch the lamp off, and measure again.",
        )


def _check_black_level(clipped: float, level: float) -> None:
    if clipped > MOST_CLIPPED or level <= 0:
        raise MeasurementRefused(
            f"The black level is cut off: {clipped:.1%} of the dark pixels are 0.",
            do="Raise camera.black_level_percent so that dark pixels lie above 0, and measure again.",
        )
