"""Golden frames: the fixed pictures that travel in every bundle, so that any engine can be tested on any
device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Golden

SEED = 518
SIZES_PX = ((240, 180), (96, 96), (1024, 48))
"""Width and height. The strip is shrunk in one direction at every usual input size, which takes the
antialiasing to the test; all three together stay below 400 kB."""


def golden_frames() -> tuple[NDArray[np.uint8], ...]:
    """The frames, each (h, w, 3) uint8 RGB; the same at every call."""
    random = np.random.default_rng(SEED)
    return tuple(_frame(width, height, random) for width, height in SIZES_PX)


def arrays(golden: Golden) -> dict[str, NDArray[np.generic]]:
    """The golden frames by their names in `golden.npz`."""
    images = {f"image_{i}": image for i, image in enumerate(golden.images)}
    return {**images, "image_score": golden.image_score, "grid_map": golden.grid_map}


def _frame(width: int, height: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Shading, a fine texture, sensor noise, and a bright spot with a dark scratch."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    base = random.uniform(70, 160, 3)
    texture = 18 * np.sin(random.uniform(150, 400) * x) * np.cos(random.uniform(150, 400) * y)
    picture = base + (60 * x + 40 * y + texture)[..., None] + random.normal(0, 5, (height, width, 3))
    centre_y, centre_x = random.uniform(0.3, 0.7, 2) * (y.max(), x.max())
    picture[np.hypot(y - centre_y, x - centre_x) < 0.03] = random.uniform(180, 255, 3)
    picture[np.abs(y - centre_y - 0.4 * (x - centre_x) - 0.05) < 0.004] = random.uniform(0, 40, 3)
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)
