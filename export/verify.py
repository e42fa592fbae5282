"""The parity proof: a finished bundle, run the way the line runs it, against the torch reference in it.

After the network the reference shares no code with the shipped path: its smoothing is scipy's, in float64.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from edge.bundle import Bundle
from edge.config import OnnxRuntimeConfig
from edge.errors import BundleError
from edge.golden import check_golden
from edge.inspection import Inspector
from edge.manifest import MapSpec
from edge.messages import Frame, PixelFormat
from edge.runner import Runner, open_runner


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest absolute differences to the reference over all golden frames, and what is allowed.

    `grid_map_error` is that of the graph's own output, `anomaly_map_error` of the smoothed map at input size.
    """

    runner: str
    frames: int
    score_error: float
    grid_map_error: float
    anomaly_map_error: float
    score_tolerance: float
    map_tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every difference is within its tolerance; one that is not a number is not."""
        return (
            self.score_error <= self.score_tolerance
            and self.grid_map_error <= self.map_tolerance
            and self.anomaly_map_error <= self.map_tolerance
        )

    def figures(self) -> dict[str, object]:
        """The content of `parity.json`."""
        return {"reference": "torch float32", **asdict(self), "passed": self.passed}


def prove_parity(bundle: Bundle) -> Parity:
    """`measure_parity` on ONNX Runtime, and `BundleError` when a difference is out of tolerance."""
    runner = open_runner(bundle, OnnxRuntimeConfig())
    try:
        parity = measure_parity(bundle, runner)
    finally:
        runner.close()
    if not parity.passed:
        raise BundleError(
            "The exported network does not decide as the checkpoint does: largest difference "
            f"{parity.score_error:.1e} of the score (allowed {parity.score_tolerance:.1e}), "
            f"{max(parity.grid_map_error, parity.anomaly_map_error):.1e} of the map (allowed "
            f"{parity.map_tolerance:.1e}). No bundle was written.",
            do="Export with the versions that requirements/export.txt pins; if it stays, report it.",
        )
    return parity


def measure_parity(bundle: Bundle, runner: Runner) -> Parity:
    """Compare with the bundle's golden outputs: the network alone, then the whole path of the line."""
    network = check_golden(bundle, runner)
    return Parity(
        runner.description,
        network.frames,
        score_error=network.score_difference,
        grid_map_error=network.map_difference,
        anomaly_map_error=_anomaly_map_error(bundle, runner),
        score_tolerance=network.tolerance.score,
        map_tolerance=network.tolerance.map,
    )


def reference_map(
    grid_map: NDArray[np.float32], spec: MapSpec, size_px: tuple[int, int]
) -> NDArray[np.float64]:
    """(rows, columns) → (height, width) float64: bilinear with half-pixel centres, then scipy's Gaussian."""
    rows = _bilinear_weights(grid_map.shape[0], size_px[0])
    columns = _bilinear_weights(grid_map.shape[1], size_px[1])
    full = rows @ grid_map.astype(np.float64) @ columns.T
    return np.asarray(gaussian_filter(full, spec.sigma_px, mode="reflect", truncate=4.0))


def _anomaly_map_error(bundle: Bundle, runner: Runner) -> float:
    manifest, golden = bundle.manifest, bundle.golden()
    inspector = Inspector(bundle, runner, manifest.preprocessing, time.perf_counter_ns)
    errors = [
        np.abs(
            inspector.inspect(_frame(image)).anomaly_map
            - reference_map(grid_map, manifest.map, manifest.preprocessing.size_px)
        ).max()
        for image, grid_map in zip(golden.images, golden.grid_map, strict=True)
    ]
    return float(np.max(errors))  # numpy's hands a NaN on, where the built-in one may swallow it


def _frame(image: NDArray[np.uint8]) -> Frame:
    return Frame(
        part_id=1, frame_id=1, triggered_ns=0, captured_ns=0, image=image, pixel_format=PixelFormat.RGB8
    )


def _bilinear_weights(inputs: int, outputs: int) -> NDArray[np.float64]:
    """(outputs, inputs): each row holds the weights of one output pixel, the edges clamped."""
    centres = np.clip((np.arange(outputs) + 0.5) * inputs / outputs - 0.5, 0, inputs - 1)
    return np.maximum(0.0, 1.0 - np.abs(centres[:, None] - np.arange(inputs)))
