"""Grid map of the graph → the anomaly map at input size, and the image score. Pure.

    grid (rows, columns) ─▶ blur on the grid ─▶ upsample ─▶ Gaussian ─▶ place ─▶ scale ─▶ (height, width)

Every step but the placing is linear, so layers that are summed on the grid, inside the graph, give what a sum
after it would. AnomalyCLIP upsamples bilinearly with half-pixel centres, then smooths with a Gaussian in scipy's
definition, cut off at 4 sigma, edge mirrored and the edge pixel repeated. AA-CLIP smooths on the grid, edge
mirrored without repetition, and upsamples with corners aligned.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.manifest import GridBlur, MapSpec, Range, ScoreSpec

TRUNCATE_SIGMAS = 4.0


def full_map(grid_map: NDArray[np.float32], spec: MapSpec, size_px: tuple[int, int]) -> NDArray[np.float32]:
    """(rows, columns) float32 → (height, width) float32, `size_px` being (height, width) of the input.

    Where the map covers only part of the input, the rest takes its smallest value: nothing was looked for.
    """
    covered = size_px if spec.covers_px is None else (spec.covers_px[3], spec.covers_px[2])
    values = upsampled(_blurred(grid_map, spec.grid_blur), covered, align_corners=spec.align_corners)
    values = _placed(_smoothed(values, spec.sigma_px), spec, size_px)
    return values if spec.scale is None else _scaled(values, spec.scale)


def image_score(score: float, anomaly_map: NDArray[np.float32], spec: ScoreSpec) -> float:
    """The image score from the graph's `score` and the anomaly map of `full_map`.

    The two rules with the map's peak are AA-CLIP's, for industrial and for medical pictures.
    """
    scaled = score if spec.scale is None else _scaled_score(score, spec.scale)
    if spec.rule == "graph":
        return scaled
    peak = float(anomaly_map.max())
    return peak if spec.rule == "map_peak" else 0.5 * peak + 0.5 * scaled


def upsampled(
    grid_map: NDArray[np.float32], size: tuple[int, int], *, align_corners: bool
) -> NDArray[np.float32]:
    """Bilinear, (rows, columns) → `size`: with corners aligned, or with half-pixel centres and edges held."""
    if not align_corners:
        return np.asarray(cv2.resize(grid_map, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    rows = _aligned_weights(grid_map.shape[0], size[0])
    columns = _aligned_weights(grid_map.shape[1], size[1])
    return np.asarray(rows @ grid_map @ columns.T, np.float32)


def _blurred(grid_map: NDArray[np.float32], blur: GridBlur | None) -> NDArray[np.float32]:
    if blur is None:
        return grid_map
    side = (blur.kernel, blur.kernel)
    # A single row or column has nothing to mirror, which OpenCV answers by repeating it.
    return np.asarray(
        cv2.GaussianBlur(grid_map, side, blur.sigma, sigmaY=blur.sigma, borderType=cv2.BORDER_REFLECT_101),
        np.float32,
    )


def _smoothed(full: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    if sigma == 0:
        return full
    side = 2 * int(TRUNCATE_SIGMAS * sigma + 0.5) + 1
    return np.asarray(
        cv2.GaussianBlur(full, (side, side), sigma, sigmaY=sigma, borderType=cv2.BORDER_REFLECT), np.float32
    )


def _placed(values: NDArray[np.float32], spec: MapSpec, size_px: tuple[int, int]) -> NDArray[np.float32]:
    if spec.covers_px is None:
        return values
    x, y, width, height = spec.covers_px
    whole = np.full(size_px, values.min(), np.float32)  # a NaN fills it, and is judged as one
    whole[y : y + height, x : x + width] = values
    return whole


def _scaled(values: NDArray[np.float32], scale: Range) -> NDArray[np.float32]:
    low, high = scale
    return np.asarray((values - np.float32(low)) * np.float32(1 / (high - low)), np.float32)


def _scaled_score(score: float, scale: Range) -> float:
    return (score - scale[0]) / (scale[1] - scale[0])


def _aligned_weights(inputs: int, outputs: int) -> NDArray[np.float32]:
    """(outputs, inputs): the weights of each output sample, first and last sample on the corners."""
    centres = np.linspace(0.0, inputs - 1.0, outputs)
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(centres[:, None] - np.arange(inputs))), np.float32)
