"""The limits between which AA-CLIP scales maps and scores, measured on calibration pictures.

Upstream scales by the smallest and the largest value over the whole test set of a class. A device has no test
set, so the limits are measured once, on pictures of the product, good and bad, and are fixed from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.anomaly_map import full_map
from edge.bundle import Bundle
from edge.camera.image_file import image_files, read_image
from edge.config import OnnxRuntimeConfig
from edge.errors import ConfigError
from edge.manifest import BundleManifest, Range
from edge.preprocess import input_tensor
from edge.runner import Runner, open_runner
from export.aaclip.settings import Domain

LEAST_PICTURES = 10
"""Below it the extremes say more about the choice of pictures than about the product."""

Progress = Callable[[Sequence[Path]], Iterable[Path]]
"""Hands the pictures on one by one and may tell how far it has come."""


@dataclass(frozen=True, slots=True)
class Limits:
    """[low, high] of the anomaly map and of the graph's score, which become 0 and 1.

    `score` is None where the image score is the map's peak alone.
    """

    map: Range
    score: Range | None

    def applied(self, manifest: BundleManifest) -> BundleManifest:
        """The manifest with its scales set to these limits."""
        return manifest.model_copy(
            update={
                "map": manifest.map.model_copy(update={"scale": self.map}),
                "score": manifest.score.model_copy(update={"scale": self.score}),
            }
        )


def limits_by_hand(map_limits: Range | None, score_limits: Range | None, domain: Domain) -> Limits | None:
    """Limits that the user knows, None for none. Raises `ConfigError` when they do not suit the domain."""
    if map_limits is None and score_limits is None:
        return None
    if map_limits is None or (score_limits is None) != (domain == "medical"):
        needed = "--map-limits alone" if domain == "medical" else "both --map-limits and --score-limits"
        raise ConfigError(
            f"The limits do not suit the {domain} domain, which takes {needed}.",
            do=f"Give {needed}, or let --calibration-images measure them.",
        )
    return Limits(map_limits, score_limits)


def calibration_pictures(folder: Path) -> list[Path]:
    """All pictures in a folder and below it. Raises `ConfigError` when there are fewer than `LEAST_PICTURES`."""
    paths = image_files(folder)
    if len(paths) < LEAST_PICTURES:
        raise ConfigError(
            f"{folder} holds {len(paths)} pictures, too few to find the limits of the score and the map.",
            do=f"Give at least {LEAST_PICTURES} pictures of the product, good and bad, as the camera takes them.",
        )
    return paths


def measure_limits(bundle: Bundle, paths: Sequence[Path], progress: Progress = iter) -> Limits:
    """The extremes over all pictures, as the line's own code and the FP32 graph give them before any scale.

    Raises `ConfigError` when the outputs do not vary beyond rounding or are not finite, `OperateError` for a
    picture that cannot be read.
    """
    runner = open_runner(bundle, OnnxRuntimeConfig())
    try:
        found = [_extremes(bundle.manifest, runner, path) for path in progress(paths)]
    finally:
        runner.close()
    lows, highs, scores = np.array(found).T
    tolerance = bundle.manifest.tolerances.fp32
    map_limits = _range(np.append(lows, highs), tolerance.map, "anomaly map")
    if bundle.manifest.score.rule == "map_peak":
        return Limits(map_limits, None)
    return Limits(map_limits, _range(scores, tolerance.score, "graph's score"))


def _extremes(manifest: BundleManifest, runner: Runner, path: Path) -> tuple[float, float, float]:
    """Smallest and largest value of the anomaly map, and the graph's score."""
    tensor = input_tensor(*read_image(path), manifest.preprocessing)
    prediction = runner.infer(tensor)
    unscaled = manifest.map.model_copy(update={"scale": None})
    anomaly_map = full_map(prediction.grid_map, unscaled, manifest.preprocessing.size_px)
    return float(anomaly_map.min()), float(anomaly_map.max()), prediction.score


def _range(values: NDArray[np.float64], tolerance: float, name: str) -> Range:
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(values).all() and high - low > tolerance):
        raise ConfigError(
            f"Over the calibration pictures the {name} goes from {low:g} to {high:g}, which gives no scale.",
            do="Give different pictures of the product, good and bad; if they are, check the adapters.",
        )
    return low, high
