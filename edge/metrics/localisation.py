"""How well maps point at defects: pixel AUROC and AUPRO over many maps, both exact.

Maps are (h, w) float32, higher for more anomalous, masks (h, w) bool, true on the defect; every map has its
mask, all false for a good part, and sizes may differ from map to map. The pixels of all maps are pooled once:
normal pixels sorted, defect pixels with the weight that their region gives them. No threshold grid is used:
every distinct value of a normal pixel is a threshold, and ties count as the straight line between the two
points of the curve that they separate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.metrics.ranking import share_ranked_above

Maps = Sequence[NDArray[np.float32]]
Masks = Sequence[NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class PixelPool:
    """All pixels of a set of maps.

    `normal` is (n,) float32 ascending. `defect` is (m,) float32 with `weight` (m,) float64 = 1 / (area of its
    region x number of regions), so the weights of all defect pixels sum to 1 and every region counts alike.
    """

    normal: NDArray[np.float32]
    defect: NDArray[np.float32]
    weight: NDArray[np.float64]
    regions: int


def pixel_auroc(maps: Maps, masks: Masks) -> float:
    """AUROC over the pixels of all maps. NaN when there is no defect pixel or no normal one.

    Dominated by easy background: a high value says little about small defects.
    """
    return pooled_auroc(pool_pixels(maps, masks))


def aupro(maps: Maps, masks: Masks, limit: float = 0.3) -> float:
    """Area under the per-region-overlap curve up to a pixel false-positive rate, divided by that rate.

    PRO(t) is the mean, over all 8-connected regions of all masks, of the share of the region's pixels at or
    above t; FPR(t) is the share of all normal pixels, of good and of defective parts, at or above t. The area
    of PRO over FPR from 0 to `limit` in (0, 1], divided by `limit`, lies in [0, 1]; chance gives limit / 2.
    NaN when there is no defect pixel or no normal one.
    """
    return pooled_aupro(pool_pixels(maps, masks), limit)


def pool_pixels(maps: Maps, masks: Masks) -> PixelPool:
    """Pool and sort, holding one copy of the pixels besides the maps given.

    Raises ValueError when a map and its mask differ in shape or a value is not finite.
    """
    _check(maps, masks)
    regions, areas = _regions(masks)
    normal = np.empty(sum(mask.size - int(mask.sum()) for mask in masks), np.float32)
    start = 0
    for anomaly_map, mask in zip(maps, masks, strict=True):
        values = anomaly_map[~mask]
        normal[start : start + values.size] = values
        start += values.size
    normal.sort()
    hit = [anomaly_map[mask] for anomaly_map, mask in zip(maps, masks, strict=True)]
    defect = np.concatenate([np.empty(0, np.float32), *hit])
    weight = np.concatenate([np.empty(0), *(1.0 / area for area in areas)]) / max(regions, 1)
    return PixelPool(normal, defect, weight, regions)


def pooled_auroc(pool: PixelPool) -> float:
    """`pixel_auroc` of pixels pooled before."""
    return share_ranked_above(pool.normal, pool.defect)


def pooled_aupro(pool: PixelPool, limit: float = 0.3) -> float:
    """`aupro` of pixels pooled before.

    A defect pixel of value v joins its region's overlap while FPR runs through the ties of v, from
    `before` to `after`; what it adds to the area is the integral of that ramp up to `limit`.
    """
    if not 0 < limit <= 1:
        raise ValueError(f"limit {limit} is not in (0, 1]")
    if pool.normal.size == 0 or pool.defect.size == 0:
        return math.nan
    above = pool.normal.size - np.searchsorted(pool.normal, pool.defect, "right")
    at_or_above = pool.normal.size - np.searchsorted(pool.normal, pool.defect, "left")
    before, after = above / pool.normal.size, at_or_above / pool.normal.size
    risen = np.minimum(after, limit) - np.minimum(before, limit)
    ramp = risen**2 / (2 * np.where(after > before, after - before, 1.0))
    area = np.maximum(limit - after, 0) + ramp
    return min(1.0, float(np.sum(pool.weight * area) / limit))  # a perfect map may round above 1


def _regions(masks: Masks) -> tuple[int, list[NDArray[np.float64]]]:
    """The number of 8-connected regions in all masks, and per mask the region's area at each defect pixel."""
    count, areas = 0, []
    for mask in masks:
        if mask.any():
            found, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
            size = np.bincount(labels.ravel(), minlength=found).astype(np.float64)
            areas.append(size[labels[mask]])
            count += found - 1
    return count, areas


def _check(maps: Maps, masks: Masks) -> None:
    if len(maps) != len(masks):
        raise ValueError(f"{len(maps)} maps and {len(masks)} masks")
    for anomaly_map, mask in zip(maps, masks, strict=True):
        if anomaly_map.ndim != 2 or anomaly_map.shape != mask.shape or mask.dtype != np.bool_:
            raise ValueError(f"map {anomaly_map.shape} and mask {mask.shape} {mask.dtype} do not fit")
        if not np.isfinite(anomaly_map).all():
            raise ValueError("a map holds a value that is not finite")
