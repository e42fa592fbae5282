"""Blur, upsampling, smoothing, placing, scaling and the image score, against the definitions written out."""

import numpy as np
import pytest
from scipy import ndimage

from edge.anomaly_map import full_map, image_score, upsampled
from edge.manifest import GridBlur, MapSpec, ScoreSpec


def bilinear(grid, size, position):
    """Bilinear interpolation at `position(outputs, inputs)`, edges clamped, written out."""
    for axis in (0, 1):
        inputs = grid.shape[axis]
        where = np.clip(position(size[axis], inputs), 0, inputs - 1)
        low = np.floor(where).astype(int)
        high = np.minimum(low + 1, inputs - 1)
        share = np.expand_dims(where - low, 1 - axis)
        grid = np.take(grid, low, axis) * (1 - share) + np.take(grid, high, axis) * share
    return grid


def half_pixel(outputs, inputs):
    return (np.arange(outputs) + 0.5) * inputs / outputs - 0.5


def aligned(outputs, inputs):
    return np.arange(outputs) * (inputs - 1) / (outputs - 1)


def random_grid(rows, columns):
    return np.random.default_rng(1).random((rows, columns)).astype(np.float32)


@pytest.mark.parametrize(
    ("grid", "size", "sigma"),
    [
        ((4, 4), (134, 134), 4.0),
        ((10, 10), (140, 140), 4.0),
        ((16, 16), (256, 256), 2.5),
        ((7, 7), (49, 49), 0.0),
        ((5, 9), (40, 90), 3.0),  # not square
        ((1, 1), (30, 40), 0.0),  # a network without a map
    ],
)
def test_equals_the_definition(grid, size, sigma):
    values = random_grid(*grid)
    wanted = bilinear(values.astype(np.float64), size, half_pixel)
    # scipy's default: cut off at 4 sigma, edge pixel repeated.
    wanted = ndimage.gaussian_filter(wanted, sigma) if sigma else wanted
    found = full_map(values, MapSpec(grid=grid, sigma_px=sigma), size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=3e-6)


@pytest.mark.parametrize(("grid", "size"), [((4, 4), (56, 56)), ((37, 37), (518, 518)), ((3, 8), (20, 50))])
def test_aligned_corners_equal_the_definition(grid, size):
    values = random_grid(*grid)
    found = upsampled(values, size, align_corners=True)
    np.testing.assert_allclose(found, bilinear(values.astype(np.float64), size, aligned), atol=1e-6)
    assert found[0, 0] == values[0, 0]
    assert found[-1, -1] == pytest.approx(values[-1, -1], abs=1e-7)


def test_blur_on_the_grid_mirrors_without_repeating_the_edge():
    values = random_grid(9, 12)
    kernel = np.exp(-0.5 * (np.arange(-3, 4) / 1.5) ** 2)
    kernel /= kernel.sum()
    wanted = values.astype(np.float64)
    for axis in (0, 1):
        wanted = ndimage.correlate1d(wanted, kernel, axis, mode="mirror")
    spec = MapSpec(grid=(9, 12), grid_blur=GridBlur(kernel=7, sigma=1.5))
    np.testing.assert_allclose(full_map(values, spec, (9, 12)), wanted, atol=1e-6)


def test_a_map_of_the_centre_crop_is_placed_in_it():
    values = random_grid(6, 6)
    found = full_map(values, MapSpec(grid=(6, 6), covers_px=(1, 2, 6, 6)), (10, 8))
    np.testing.assert_array_equal(found[2:8, 1:7], values)
    outside = np.ones((10, 8), bool)
    outside[2:8, 1:7] = False
    assert (found[outside] == values.min()).all()


def test_scales_are_linear_and_do_not_clip():
    values = np.array([[-2.0, 0.0], [2.0, 6.0]], np.float32)
    found = full_map(values, MapSpec(grid=(2, 2), scale=(0.0, 4.0)), (2, 2))
    np.testing.assert_allclose(found, [[-0.5, 0.0], [0.5, 1.5]])


@pytest.mark.parametrize(
    ("rule", "scale", "wanted"),
    [
        ("graph", None, 3.0),
        ("graph", (1.0, 5.0), 0.5),
        ("mean_with_map_peak", (1.0, 5.0), 0.65),
        ("map_peak", (1.0, 5.0), 0.8),
    ],
)
def test_image_score_rules(rule, scale, wanted):
    anomaly_map = np.array([[0.1, 0.8]], np.float32)
    assert image_score(3.0, anomaly_map, ScoreSpec(rule=rule, scale=scale)) == pytest.approx(wanted)


@pytest.mark.parametrize("covers_px", [None, (4, 4, 20, 20)])
@pytest.mark.parametrize("align_corners", [True, False])
def test_not_a_number_is_handed_on(covers_px, align_corners):
    grid = np.zeros((4, 4), np.float32)
    grid[1, 1] = np.nan
    spec = MapSpec(grid=(4, 4), sigma_px=4.0, covers_px=covers_px, align_corners=align_corners)
    found = full_map(grid, spec, (32, 32))
    assert np.isnan(found).any()
    assert np.isnan(image_score(0.5, found, ScoreSpec(rule="mean_with_map_peak")))
