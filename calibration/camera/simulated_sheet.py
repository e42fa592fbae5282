"""Flat things before the simulated camera: a picture with a scale, held in a pose."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
SOFT_PX = 0.5
"""Deviation of the blur that every sheet has already, in pixels of the camera where it lies on the belt. Without
it edges would jump from pixel to pixel; the lens adds what its own blur has more."""


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """From a sheet's coordinates to the camera's, as OpenCV has them: x right, y down, z away from the camera;
    a rotation vector (3,) and a translation (3,) in mm."""

    rotation: NDArray[np.float64]
    translation_mm: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """`reflectance` (rows, columns, 3) of 0 to 1; its top left corner lies at `corner_mm` of the sheet."""

    reflectance: Map
    texel_mm: float
    corner_mm: tuple[float, float]

    def softened(self, sigma_px: float, mm_per_px: float) -> Sheet:
        """Blurred by so many pixels of the camera, as it sees the belt."""
        soft = cv2.GaussianBlur(self.reflectance, (0, 0), sigma_px * mm_per_px / self.texel_mm)
        return replace(self, reflectance=np.asarray(soft, np.float32))

    def seen(self, rays: Map, pose: Pose) -> tuple[Map, Map]:
        """What the rays (h, w, 2) meet: reflectance (h, w, 3), and (h, w) the share of each that meets it."""
        x, y = self._met(rays, pose)
        at_x = (x - np.float32(self.corner_mm[0])) / np.float32(self.texel_mm) - np.float32(0.5)
        at_y = (y - np.float32(self.corner_mm[1])) / np.float32(self.texel_mm) - np.float32(0.5)
        colour = cv2.remap(self.reflectance, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        whole = np.ones(self.reflectance.shape[:2], np.float32)
        share = cv2.remap(
            whole, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0.0
        )
        return np.asarray(colour, np.float32), np.asarray(share, np.float32)

    def _met(self, rays: Map, pose: Pose) -> tuple[Map, Map]:
        """Where the rays meet the sheet's plane, in its mm; the plane lies before the camera everywhere."""
        rotation = np.asarray(cv2.Rodrigues(pose.rotation)[0], np.float64)
        forward = np.column_stack([rotation[:, 0], rotation[:, 1], pose.translation_mm])
        back = np.linalg.inv(forward).astype(np.float32)
        x, y = rays[..., 0], rays[..., 1]
        depth = back[2, 0] * x + back[2, 1] * y + back[2, 2]
        return (
            (back[0, 0] * x + back[0, 1] * y + back[0, 2]) / depth,
            (back[1, 0] * x + back[1, 1] * y + back[1, 2]) / depth,
        )
