"""The lens of the simulated bench: where rays come from, how much light they bring, how sharp they are."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.simulated_sheet import SOFT_PX

Map = NDArray[np.float32]
SENSOR_WIDTH_MM = 4096 * 3.45e-3
"""The simulated sensor is always as wide as the real one, so fewer pixels are larger pixels."""

LEAST_BLUR_PX = 0.1
_BLUR_STEPS = 6
_RADII = 4096


@dataclass(frozen=True, slots=True)
class SimulatedLens:
    """A short lens square above the belt, at `working_distance_mm` from it.

    `k1` and `k2` are Brown's radial distortion as OpenCV counts it. `centre` is where the axis meets the
    picture, as shares of its sides. Light falls off with the cosine of the field angle to the power of
    `vignetting_power` (4 would be the natural law; lenses for sensors do somewhat better). `blur_px` is the
    standard deviation of the blur at best focus. The image plane lies `best_focus_mm` along the focus ring's
    travel, and leans by `tilt_mm` from the middle to the right and to the lower edge.
    """

    focal_mm: float = 8.0
    f_number: float = 2.8
    working_distance_mm: float = 300.0
    k1: float = -0.10
    k2: float = 0.02
    centre: tuple[float, float] = (0.503, 0.496)
    vignetting_power: float = 3.0
    blur_px: float = 0.6
    best_focus_mm: float = 0.35
    tilt_mm: tuple[float, float] = (0.0, 0.0)

    def camera_matrix(self, width_px: int, height_px: int) -> NDArray[np.float64]:
        """(3, 3) for pixel centres at whole numbers, in pixels."""
        focal_px = self.focal_mm / self.pitch_mm(width_px)
        x, y = self.centre[0] * width_px - 0.5, self.centre[1] * height_px - 0.5
        return np.array([[focal_px, 0.0, x], [0.0, focal_px, y], [0.0, 0.0, 1.0]])

    def pitch_mm(self, width_px: int) -> float:
        """Distance of neighbouring pixels on the sensor."""
        return SENSOR_WIDTH_MM / width_px

    def mm_per_px(self, width_px: int) -> float:
        """On the belt, once the distortion is taken out."""
        return self.working_distance_mm * self.pitch_mm(width_px) / self.focal_mm

    def rays(self, width_px: int, height_px: int) -> Map:
        """(h, w, 2): x / z and y / z of the ray that each pixel sees."""
        matrix = self.camera_matrix(width_px, height_px)
        x = (np.arange(width_px) - matrix[0, 2]) / matrix[0, 0]
        y = (np.arange(height_px)[:, None] - matrix[1, 2]) / matrix[1, 1]
        seen = np.hypot(x, y)
        stretch = self._straight_radius(seen) / np.maximum(seen, 1e-9)
        return np.stack([x * stretch, y * stretch], axis=2).astype(np.float32)

    def vignetting(self, rays: Map) -> Map:
        """(h, w): the share of the light on the axis that reaches each pixel."""
        tangent2 = rays[..., 0] ** 2 + rays[..., 1] ** 2
        return np.asarray((1 + tangent2) ** np.float32(-self.vignetting_power / 2), np.float32)

    def blurred(self, light: Map, focus_mm: float) -> Map:
        """(h, w, 3) as it falls on the sensor when the focus ring stands at `focus_mm`."""
        width_px = light.shape[1]
        if self.tilt_mm == (0.0, 0.0):
            return _gaussian(light, self._sigma_px(np.array(focus_mm - self.best_focus_mm), width_px).item())
        x = np.linspace(-1, 1, width_px, dtype=np.float32)
        y = np.linspace(-1, 1, light.shape[0], dtype=np.float32)[:, None]
        error_mm = focus_mm - self.best_focus_mm + self.tilt_mm[0] * x + self.tilt_mm[1] * y
        return _unevenly_blurred(light, self._sigma_px(error_mm, width_px))

    def _sigma_px(self, error_mm: NDArray[np.floating], width_px: int) -> NDArray[np.floating]:
        """What the lens adds to the blur of the sheets: its own, and the circle of confusion of a thin lens,
        error / f-number across, as a Gaussian of equal variance."""
        defocus_px = np.abs(error_mm) / self.f_number / 4 / self.pitch_mm(width_px)
        total2 = self.blur_px**2 + defocus_px**2
        return np.asarray(np.sqrt(np.maximum(total2 - SOFT_PX**2, LEAST_BLUR_PX**2)))

    def _straight_radius(self, seen: NDArray[np.float64]) -> NDArray[np.float64]:
        straight = np.linspace(0, 1.5 * float(seen.max()), _RADII)
        bent = straight * (1 + self.k1 * straight**2 + self.k2 * straight**4)
        return np.asarray(np.interp(seen, bent, straight))


def _gaussian(light: Map, sigma_px: float) -> Map:
    return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE), np.float32)


def _unevenly_blurred(light: Map, sigma_px: NDArray[np.floating]) -> Map:
    """Between pictures of evenly spaced blur, linearly for each pixel."""
    steps = np.linspace(float(sigma_px.min()), float(sigma_px.max()) + 1e-6, _BLUR_STEPS)
    place = (sigma_px - steps[0]) / (steps[1] - steps[0])
    mixed = np.zeros_like(light)
    for number, sigma in enumerate(steps):
        weight = np.maximum(0, 1 - np.abs(place - number)).astype(np.float32)
        mixed += weight[..., None] * _gaussian(light, float(sigma))
    return mixed
