"""Where a part lies in the region of interest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge.camera.scene.raster import PATCH_PX, Affine

# Half-ranges of the jitter the part feeder leaves.
_SHIFT = 0.03
_SCALE = 0.01


@dataclass(frozen=True, slots=True)
class Pose:
    """Maps the part's axes (u, v) to the ROI's (x, y): scale, then turn by `angle`, then shift. ROI units,
    radians.
    """

    x: float
    y: float
    angle: float
    scale: float

    def to_roi(self, u: float, v: float) -> tuple[float, float]:
        cos, sin = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        return self.x + cos * u - sin * v, self.y + sin * u + cos * v

    def patch_to_part(self) -> Affine:
        """The matrix from a pixel of the ROI's patch to its pixel in a patch drawn in the part's axes."""
        cos, sin = math.cos(self.angle) / self.scale, math.sin(self.angle) / self.scale
        turn = np.array([[cos, sin], [-sin, cos]])
        # Pixel centre k lies at (k + 0.5) / PATCH_PX - 0.5 in both frames.
        middle = (PATCH_PX - 1) / 2
        shift = middle - turn @ (np.array([self.x, self.y]) * PATCH_PX + middle)
        return np.column_stack([turn, shift])


def draw_pose(rng: np.random.Generator) -> Pose:
    """A part as it falls: any rotation, a few per cent off centre, one per cent larger or smaller."""
    x, y = rng.uniform(-_SHIFT, _SHIFT, 2)
    return Pose(
        float(x), float(y), float(rng.uniform(0, 2 * math.pi)), 1 + float(rng.uniform(-_SCALE, _SCALE))
    )
