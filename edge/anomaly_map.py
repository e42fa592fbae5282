"""Grid map of the graph → one smoothed map at input size.

Facts from AnomalyCLIP: bilinear upsampling with half-pixel centres (`align_corners=False`), then a Gaussian
in scipy's definition, cut off at 4 sigma, with the edge mirrored and the edge pixel repeated. Layers are
summed on the grid, inside the graph; upsampling is linear, so that is equal to summing after it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

TRUNCATE_SIGMAS = 4.0


def smoothed_map(grid_map: NDArray[np.float32], image_size: int, sigma: float) -> NDArray[np.float32]:
    """(g, g) float32 → (image_size, image_size) float32, same range as the grid map.

    `sigma` is in pixels of the result; 0 leaves the upsampled map as it is.
    """
    full = cv2.resize(grid_map, (image_size, image_size), interpolation=cv2.INTER_LINEAR)
    if sigma == 0:
        return np.asarray(full, np.float32)
    side = 2 * int(TRUNCATE_SIGMAS * sigma + 0.5) + 1
    return np.asarray(
        cv2.GaussianBlur(full, (side, side), sigma, sigmaY=sigma, borderType=cv2.BORDER_REFLECT), np.float32
    )
