"""How well a defect can be seen at the model's input.

A camera station is set up until the defects it has to find can be seen; the simulated line keeps to the
same rule and draws no defect fainter than `MIN_CONTRAST_TO_NOISE` or smaller than `MIN_AREA_PX`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.camera.scene.raster import FloatImage, area_resize, dilate
from edge.camera.scene.sensor import luminance_noise

MODEL_PX = 256
MIN_CONTRAST_TO_NOISE = 3.2  # the limit of 3 that the station is set up for, with a margin
MIN_AREA_PX = 24.0
_NEIGHBOURHOOD_PX = 9
_NOISE_FLOOR = 0.012  # of full scale


@dataclass(frozen=True, slots=True)
class Visibility:
    contrast_to_noise: float
    area_px: float  # of the defect at the model's input, in pixels there

    @property
    def sufficient(self) -> bool:
        return self.contrast_to_noise >= MIN_CONTRAST_TO_NOISE and self.area_px >= MIN_AREA_PX


def visibility(
    clean: FloatImage, defective: FloatImage, extent: FloatImage, face: FloatImage, roi_side_px: int
) -> Visibility:
    """Contrast-to-noise ratio and area of a defect at the model's input, 256 x 256 pixels over the ROI.

    All four are (512, 512) float32 patches of the ROI: luminance of the part without and with the defect
    (signal, 1 being full scale), the defect's extent and the metal face without its edges (shares, 0 to 1).
    Each is averaged by area to 256 x 256. The ratio is

        mean |defective - clean| over the mask / (deviation of clean around the mask + 0.012)

    where the mean is weighted by the share of each pixel the mask covers, and the deviation is that of the
    clean face, texture and shading included, within 9 pixels of the mask, with the variance of the sensor's
    noise there added to it. Vignetting is left out. A defect that lies nowhere on the face has ratio 0 and
    area 0.
    """
    weight = area_resize(extent, MODEL_PX)
    area = float(weight.sum())
    near = dilate(weight > 0, _NEIGHBOURHOOD_PX) & (area_resize(face, MODEL_PX) > 0.99)
    if area == 0 or not near.any():
        return Visibility(0.0, 0.0)
    clean_small = area_resize(np.clip(clean, 0, 1), MODEL_PX)
    change = np.abs(area_resize(np.clip(defective, 0, 1), MODEL_PX) - clean_small)
    contrast = float((change * weight).sum()) / area
    around = clean_small[near]
    noise = luminance_noise(float(around.mean()), (roi_side_px / MODEL_PX) ** 2)
    spread = float(np.hypot(around.std(), noise))
    return Visibility(contrast / (spread + _NOISE_FLOOR), area)
