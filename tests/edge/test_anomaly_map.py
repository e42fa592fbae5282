"""Upsampling and smoothing, against the definitions written out."""

import numpy as np
import pytest
from scipy import ndimage

from edge.anomaly_map import smoothed_map


def half_pixel_bilinear(grid, size):
    """Bilinear interpolation with half-pixel centres and clamped edges, written out."""
    side = grid.shape[0]
    position = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, side - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, side - 1)
    share = position - low
    rows = grid[low] * (1 - share)[:, None] + grid[high] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, high] * share


@pytest.mark.parametrize(
    ("side", "size", "sigma"), [(4, 134, 4.0), (10, 140, 4.0), (16, 256, 2.5), (7, 49, 0.0)]
)
def test_equals_the_definition(side, size, sigma):
    grid = np.random.default_rng(1).random((side, side)).astype(np.float32)
    upsampled = half_pixel_bilinear(grid.astype(np.float64), size)
    # scipy's default: cut off at 4 sigma, edge pixel repeated.
    wanted = ndimage.gaussian_filter(upsampled, sigma) if sigma else upsampled
    found = smoothed_map(grid, size, sigma)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=3e-6)


def test_not_a_number_is_handed_on():
    grid = np.zeros((4, 4), np.float32)
    grid[1, 1] = np.nan
    assert np.isnan(smoothed_map(grid, 32, 4.0)).any()
