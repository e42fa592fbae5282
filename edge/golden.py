"""Golden frames: fixed pictures that must come out as the FP32 reference said, on this machine, now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.manifest import Tolerance
from edge.messages import PixelFormat
from edge.preprocess import input_tensor
from edge.runner import Runner


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """Largest absolute differences of the graph's outputs over all golden frames, and what is allowed."""

    frames: int
    score_difference: float
    map_difference: float
    tolerance: Tolerance

    @property
    def passed(self) -> bool:
        """Whether both lie within tolerance; NaN does not."""
        return self.score_difference <= self.tolerance.score and self.map_difference <= self.tolerance.map


def check_golden(bundle: Bundle, runner: Runner) -> GoldenResult:
    """Run the bundle's own golden frames through its own preprocessing and `runner`, whose precision sets the
    tolerance.

    Raises `BundleError` when the bundle holds none, `OperateError` when the runner fails.
    """
    golden = bundle.golden()
    spec = bundle.manifest.preprocessing
    scores, maps = [], []
    for image in golden.images:
        prediction = runner.infer(input_tensor(image, PixelFormat.RGB8, spec))
        scores.append(prediction.score)
        maps.append(prediction.grid_map.copy())
    return GoldenResult(
        len(golden.images),
        _largest(np.asarray(scores), golden.image_score),
        _largest(np.asarray(maps), golden.grid_map),
        bundle.manifest.tolerances.of(runner.precision),
    )


def _largest(found: NDArray[np.float64], wanted: NDArray[np.float32]) -> float:
    if found.shape != wanted.shape:
        return float("inf")
    return float(np.abs(found - wanted).max())
