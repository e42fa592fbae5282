"""Pixel AUROC against scikit-learn, AUPRO against a slow implementation of its definition."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from edge.metrics import aupro, pixel_auroc, pool_pixels


def random_maps(seed, levels, shapes=((9, 12), (14, 7), (11, 11), (6, 6))):
    """Maps of different sizes with `levels` distinct values, hotter on the defects; the last has none."""
    rng = np.random.default_rng(seed)
    masks = [rng.random(shape) < 0.15 for shape in shapes]
    masks[-1][:] = False
    maps = [np.floor((rng.random(mask.shape) + 0.4 * mask) * levels) / levels for mask in masks]
    return [values.astype(np.float32) for values in maps], masks


def slow_aupro(maps, masks, limit):
    """The definition, threshold by threshold, with the last piece of the curve cut at the limit."""
    regions = []
    for values, mask in zip(maps, masks, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [values[labels == label] for label in range(1, count + 1)]
    normal = np.concatenate([values[~mask] for values, mask in zip(maps, masks, strict=True)])
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([values.ravel() for values in maps]))[::-1]:
        found = np.mean([np.mean(region >= threshold) for region in regions])
        points.append((np.mean(normal >= threshold), found))
    area = 0.0
    for (left, low), (right, high) in pairwise(points):
        if left >= limit or right == left:
            continue
        end = min(right, limit)
        at_end = low + (high - low) * (end - left) / (right - left)
        area += (end - left) * (low + at_end) / 2
    return area / limit


@pytest.mark.parametrize("levels", [3, 10, 100_000])  # many ties, some, none
@pytest.mark.parametrize("seed", range(4))
def test_pixel_auroc_is_scikit_learns(seed, levels):
    maps, masks = random_maps(seed, levels)
    labels = np.concatenate([mask.ravel() for mask in masks])
    values = np.concatenate([anomaly_map.ravel() for anomaly_map in maps])
    assert pixel_auroc(maps, masks) == pytest.approx(roc_auc_score(labels, values), abs=1e-9)


@pytest.mark.parametrize("levels", [3, 10, 100_000])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_aupro_is_its_definition(seed, limit, levels):
    maps, masks = random_maps(seed, levels)
    assert aupro(maps, masks, limit) == pytest.approx(slow_aupro(maps, masks, limit), abs=1e-9)


def test_perfect_maps_reach_one_and_inverted_ones_nothing():
    _, masks = random_maps(0, 10)
    perfect = [mask.astype(np.float32) for mask in masks]
    inverted = [1 - values for values in perfect]
    # All normal pixels of a perfect map tie at 0, and their share of the curve is the line to (1, 1).
    assert pixel_auroc(perfect, masks) == aupro(perfect, masks) == 1.0
    assert pixel_auroc(inverted, masks) == aupro(inverted, masks) == 0.0


def test_a_constant_map_is_chance():
    _, masks = random_maps(0, 10)
    maps = [np.zeros(mask.shape, np.float32) for mask in masks]
    assert pixel_auroc(maps, masks) == 0.5
    assert aupro(maps, masks, 0.3) == pytest.approx(0.15)


def test_every_region_counts_alike_whatever_its_size():
    mask = np.zeros((20, 20), bool)
    mask[:10, :10] = True  # found whole
    mask[19, 19] = True  # one pixel, missed
    hot = np.zeros((20, 20), np.float32)
    hot[:10, :10] = 1
    hot[19, 19] = -1
    assert aupro([hot], [mask]) == pytest.approx(0.5)


def test_pixels_that_touch_at_a_corner_are_one_region():
    assert pool_pixels([np.zeros((4, 4), np.float32)], [np.eye(4, dtype=bool)]).regions == 1


def test_the_weights_of_all_defect_pixels_sum_to_one():
    assert pool_pixels(*random_maps(1, 10)).weight.sum() == pytest.approx(1)


@pytest.mark.parametrize("defective", [False, True])  # no defect pixel, no normal pixel
def test_not_defined_with_one_kind_of_pixel(defective):
    maps, masks = [np.zeros((3, 3), np.float32)], [np.full((3, 3), defective)]
    assert math.isnan(pixel_auroc(maps, masks))
    assert math.isnan(aupro(maps, masks))


def test_no_maps_at_all_are_not_defined():
    assert math.isnan(pixel_auroc([], []))
    assert math.isnan(aupro([], []))


@pytest.mark.parametrize(
    ("maps", "masks", "says"),
    [
        ([np.zeros((3, 3), np.float32)], [], "1 maps and 0 masks"),
        ([np.zeros((3, 3), np.float32)], [np.zeros((3, 4), bool)], "do not fit"),
        ([np.zeros((3, 3), np.float32)], [np.zeros((3, 3), np.uint8)], "do not fit"),
        ([np.full((3, 3), np.nan, np.float32)], [np.zeros((3, 3), bool)], "not finite"),
    ],
)
def test_maps_that_cannot_be_judged_are_refused(maps, masks, says):
    with pytest.raises(ValueError, match=says):
        pixel_auroc(maps, masks)


@pytest.mark.parametrize("limit", [0, -0.1, 1.1])
def test_a_limit_outside_the_curve_is_refused(limit):
    with pytest.raises(ValueError, match="limit"):
        aupro(*random_maps(0, 10), limit)
