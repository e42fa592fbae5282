"""The float64 reference of the post-processing, and that the shipped code follows it with every step on."""

from __future__ import annotations

import numpy as np
import pytest

from edge.anomaly_map import full_map
from edge.manifest import GridBlur, MapSpec
from export.verify.reference import bilinear_weights, reference_map

BLUR = GridBlur(kernel=5, sigma=1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"grid_blur": BLUR},
        {"align_corners": True},
        {"sigma_px": 3.0},
        {"covers_px": (4, 2, 24, 30)},
        {"scale": (0.2, 0.7)},
        {"grid_blur": BLUR, "align_corners": True, "sigma_px": 1.5, "scale": (-1.0, 3.0)},
        {"covers_px": (4, 2, 24, 30), "sigma_px": 2.0, "scale": (0.0, 0.5)},
    ],
)
def test_the_shipped_steps_equal_the_reference(changes):
    grid_map = np.random.default_rng(5).random((7, 6), np.float32)
    spec = MapSpec(grid=(7, 6), **changes)
    np.testing.assert_allclose(
        full_map(grid_map, spec, (36, 40)), reference_map(grid_map, spec, (36, 40)), rtol=0, atol=5e-6
    )


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 5), (4, 9), (9, 4), (3, 1)])
def test_every_output_is_an_average(inputs, outputs, align_corners):
    weights = bilinear_weights(inputs, outputs, align_corners=align_corners)
    assert weights.shape == (outputs, inputs)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_a_network_without_a_map_gives_its_score_everywhere():
    spec = MapSpec(grid=(1, 1), sigma_px=2.0)
    assert np.allclose(reference_map(np.full((1, 1), 0.3, np.float32), spec, (8, 9)), 0.3)
