"""Many pictures of one scene as mean and noise of each pixel, without holding them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera.bench import BenchCamera
from edge.messages import RawImage

Map = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with pictures taken and pictures wanted."""
_AT_ONCE = 4


@dataclass(frozen=True, slots=True, eq=False)
class FrameStack:
    """`frames` pictures: `mean` and temporal `variance` (h, w) float32 in raw values; `first` and `second`
    are the means of the two halves in time, `levels` the mean level of each picture."""

    frames: int
    mean: Map
    variance: Map
    first: Map
    second: Map
    levels: tuple[float, ...]


def quiet(_taken: int, _wanted: int) -> None:
    """A `Progress` that says nothing."""


def grab_stack(camera: BenchCamera, count: int, progress: Progress = quiet) -> FrameStack:
    """Take `count` pictures, an even number, with the settings in force."""
    half = count // 2
    first, squares_1, levels_1 = _summed(camera, half, lambda taken: progress(taken, count))
    second, squares_2, levels_2 = _summed(camera, half, lambda taken: progress(half + taken, count))
    frames = 2 * half
    mean = (first + second) / frames
    # Sums of integers below 2**53 are exact, so the difference of squares loses nothing.
    variance = (squares_1 + squares_2 - frames * mean**2) / (frames - 1)
    return FrameStack(
        frames,
        mean.astype(np.float32),
        np.maximum(variance, 0).astype(np.float32),
        (first / half).astype(np.float32),
        (second / half).astype(np.float32),
        (*levels_1, *levels_2),
    )


def _summed(
    camera: BenchCamera, count: int, progress: Callable[[int], None]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[float]]:
    shape = camera.identity.height_px, camera.identity.width_px
    total, squares = np.zeros(shape), np.zeros(shape)
    levels: list[float] = []
    while len(levels) < count:
        for image in camera.grab(min(_AT_ONCE, count - len(levels))):
            _add(image, total, squares)
            levels.append(float(image.mean()))
        progress(len(levels))
    return total, squares, levels


def _add(image: RawImage, total: NDArray[np.float64], squares: NDArray[np.float64]) -> None:
    value = image.astype(np.float64)
    total += value
    value *= value
    squares += value
