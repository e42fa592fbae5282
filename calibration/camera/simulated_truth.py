"""What the steps should find on the simulated bench."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera.simulated_sheet import Map


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the steps should find.

    `mm_per_px` holds on the belt once the distortion is taken out; `camera_matrix` (3, 3) and `distortion` (5,)
    are OpenCV's, `vignetting` (h, w) is the lens's share of light, 1 on the axis. `evenness` (h, w) is all that a
    flat field sees: lens, lamp and pixels. `black_dn` (h, w) is each pixel's dark value, `black_level_dn` their
    mean. `electrons_per_dn` is K at 0 dB and a colour gain of 1; with a gain of g it is K / g. `red_gain` and
    `blue_gain` make grey neutral. `dead_px` (n, 2) are row and column of hot and dead pixels.
    """

    mm_per_px: float
    working_distance_mm: float
    camera_matrix: NDArray[np.float64]
    distortion: NDArray[np.float64]
    vignetting: Map
    evenness: Map
    black_level_dn: float
    black_dn: Map
    electrons_per_dn: float
    full_well_e: float
    read_noise_e: float
    prnu_share: float
    red_gain: float
    blue_gain: float
    dead_px: NDArray[np.intp]
    best_focus_mm: float
    full_scale_dn: int
