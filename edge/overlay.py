"""One part as pictures on the map's grid: what the model saw, where it looked, where the defect is.

Everything has the size of the anomaly map, (h, w), so that a pixel is the same place in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.manifest import Preprocessing
from edge.messages import Box, Frame
from edge.preprocess import develop, resample

Rgb = tuple[int, int, int]
Picture = NDArray[np.uint8]

OUTLINE: Rgb = (53, 224, 255)
"""Cyan: no colour of the map's scale comes near it, for any kind of colour vision."""
OUTLINE_EDGE: Rgb = (8, 20, 24)
EDGE_COVER = 0.7
STRONGEST_COVER = 0.9
"""How much of the picture the hottest colour hides."""
TOP_SHARE = 0.999
LEAST_SPAN = 0.1
"""A tenth of what one layer can add to a map: noise below that must not look like a finding."""


@dataclass(frozen=True, slots=True)
class MapScale:
    """The map values that the first and the last colour stand for; one scale for a whole run."""

    low: float
    high: float

    def share(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map values as a share of the scale, clipped to [0, 1]."""
        return np.clip((values - self.low) / (self.high - self.low), 0, 1).astype(np.float32)


def run_scale(maps: Iterable[NDArray[np.float32]], threshold: float | None = None) -> MapScale:
    """One scale for all maps of a run, so that equal colour is equal value on every picture.

    From the median of all values, which is background, to the highest of: what the hottest tenth of the maps
    reach (the median of their 99.9 % quantiles), a quarter above the map threshold, and `LEAST_SPAN` above
    the background. Scaling each picture by its own extremes would paint a hot spot on every good part.
    """
    kept = [values[::2, ::2] for values in maps if np.isfinite(values).all()]
    if not kept:
        return MapScale(0.0, 1.0)
    pooled = np.concatenate([values.ravel() for values in kept])
    low = float(np.median(pooled))
    peaks = np.sort([float(np.quantile(values, TOP_SHARE)) for values in kept])
    high = float(np.median(peaks[-max(1, len(peaks) // 10) :]))
    if threshold is not None:
        high = max(high, low + 1.25 * (threshold - low))
    return MapScale(low, max(high, low + LEAST_SPAN))


def thumbnail(frame: Frame, preprocessing: Preprocessing) -> Picture | None:
    """The inspected region as the model sees it: (h, w, 3) uint8 RGB at input size; None without a picture."""
    if frame.image is None:
        return None
    part = develop(frame.image, frame.pixel_format, preprocessing.roi_px)
    seen = resample(part, preprocessing.size_px, preprocessing.interpolation)
    return seen if seen.ndim == 3 else np.repeat(seen[:, :, None], 3, axis=2)


def mask_on_map(mask: NDArray[np.bool_], roi_px: Box, size: int | tuple[int, ...]) -> NDArray[np.bool_]:
    """A raw-frame mask (h, w) bool on the map's grid: (rows, columns) bool over `roi_px`.

    `size` is (rows, columns), or one number for both.

    A map pixel is defect when any defect pixel lies in it, even in part. With a share of one half, a scratch
    thinner than half a map pixel would vanish and could neither be found nor missed. The price is a rim of at
    most one map pixel, which asks more of the map and not less.
    """
    x, y, width, height = roi_px
    covered = mask[y : y + height, x : x + width]
    sums = np.zeros((height + 1, width + 1), np.int64)
    sums[1:, 1:] = covered.cumsum(0, dtype=np.int64).cumsum(1)
    rows, columns = (size, size) if isinstance(size, int) else size
    top, bottom = _cells(height, rows)
    left, right = _cells(width, columns)
    bands = sums[bottom] - sums[top]
    hit: NDArray[np.bool_] = (bands[:, right] - bands[:, left]) > 0
    return hit


def overlaid(picture: Picture, anomaly_map: NDArray[np.float32], scale: MapScale) -> Picture:
    """The picture in grey under the coloured map, covered the more, the hotter. (h, w, 3) uint8 RGB."""
    share = scale.share(np.nan_to_num(anomaly_map, nan=scale.high))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.float32)
    cover = STRONGEST_COVER * share[:, :, None] ** 0.7  # a weak answer must be visible, noise must not
    mixed = (1 - cover) * grey + cover * colours(share).astype(np.float32)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def colours(share: NDArray[np.float32]) -> Picture:
    """Shares in [0, 1] → RGB by inferno: perceptually uniform, readable with any colour vision."""
    steps = np.rint(share * 255).astype(np.uint8)
    bgr = cv2.applyColorMap(steps.reshape(-1, 1), cv2.COLORMAP_INFERNO)
    return np.asarray(bgr[:, 0, ::-1].reshape(*share.shape, 3), np.uint8)


def outlined(picture: Picture, mask: NDArray[np.bool_], side: int) -> Picture:
    """The picture at `side` px with the true defect outlined just outside its edge. (side, side, 3) uint8."""
    drawn = np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    if not mask.any():
        return drawn
    full = cv2.resize(mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
    outside = np.asarray(cv2.distanceTransform(1 - full, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))[:, :, None]
    # Both fade over one pixel, which makes the line smooth; the defect itself is at distance 0.
    edge = np.clip(2.4 - np.abs(outside - 3.0), 0, 1) * EDGE_COVER
    line = np.clip(1.5 - np.abs(outside - 2.5), 0, 1)
    framed = (1 - edge) * drawn + edge * np.asarray(OUTLINE_EDGE)
    return np.asarray(np.rint((1 - line) * framed + line * np.asarray(OUTLINE)), np.uint8)


def _cells(length: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one-past-last source pixel that touches each of `size` equal cells."""
    cell = np.arange(size, dtype=np.int64)
    return cell * length // size, -(-(cell + 1) * length // size)
