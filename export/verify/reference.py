"""What the shipped post-processing is measured against: the same steps from other code, in float64.

After the network it shares nothing with `edge.anomaly_map`: every step is a matrix product, a convolution of
scipy or numpy arithmetic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, gaussian_filter

from edge.manifest import GridBlur, MapSpec

Map = NDArray[np.float64]


def reference_map(grid_map: NDArray[np.float32], spec: MapSpec, size_px: tuple[int, int]) -> Map:
    """(rows, columns) → (height, width) float64: blur on the grid, bilinear, Gaussian, placing, scale."""
    values = _blurred(grid_map.astype(np.float64), spec.grid_blur)
    covered = size_px if spec.covers_px is None else (spec.covers_px[3], spec.covers_px[2])
    rows = bilinear_weights(values.shape[0], covered[0], align_corners=spec.align_corners)
    columns = bilinear_weights(values.shape[1], covered[1], align_corners=spec.align_corners)
    values = gaussian_filter(rows @ values @ columns.T, spec.sigma_px, mode="reflect", truncate=4.0)
    values = _placed(values, spec, size_px)
    low, high = spec.scale or (0.0, 1.0)
    return np.asarray((values - low) / (high - low))


def bilinear_weights(inputs: int, outputs: int, *, align_corners: bool) -> Map:
    """(outputs, inputs): each row holds the weights of one output sample, the edges clamped."""
    if align_corners:
        centres = np.arange(outputs) * ((inputs - 1) / max(outputs - 1, 1))
    else:
        centres = np.clip((np.arange(outputs) + 0.5) * inputs / outputs - 0.5, 0, inputs - 1)
    return np.maximum(0.0, 1.0 - np.abs(centres[:, None] - np.arange(inputs)))


def _blurred(grid: Map, blur: GridBlur | None) -> Map:
    """The edge is mirrored about its own cell, which scipy calls mirror."""
    if blur is None:
        return grid
    offsets = np.arange(blur.kernel) - blur.kernel // 2
    weights = np.exp(-0.5 * (offsets / blur.sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        grid = correlate1d(grid, weights, axis, mode="mirror")
    return grid


def _placed(values: Map, spec: MapSpec, size_px: tuple[int, int]) -> Map:
    if spec.covers_px is None:
        return values
    x, y, width, height = spec.covers_px
    margins = ((y, size_px[0] - y - height), (x, size_px[1] - x - width))
    return np.pad(values, margins, constant_values=values.min())
