"""Runners execute a bundle's graph. One is chosen by name; none falls back to another.

tensor (1, 3, height, width) float32 ──▶ runner.infer ──▶ Prediction(score, grid_map (rows, columns))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.config import OnnxRuntimeConfig, OnnxRuntimeGpuConfig, RunnerConfig
from edge.manifest import Precision
from edge.messages import PixelFormat, RawImage


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Raw outputs of the graph. `grid_map` is (rows, columns) float32 and valid until the next `infer`."""

    score: float
    grid_map: NDArray[np.float32]


class Runner(Protocol):
    """The contract of every runner; the suite in `tests/contract` runs on all of them."""

    @property
    def description(self) -> str:
        """What runs it, for people and records: library, version, device, precision."""

    @property
    def precision(self) -> Precision:
        """Which of the bundle's graphs is run; it sets the tolerance of the golden frames."""

    def infer(self, tensor: NDArray[np.float32]) -> Prediction:
        """Run (1, 3, height, width) float32. Raises `OperateError` when the engine fails or the shape is wrong.

        A value that is not finite is handed on, not hidden: judging it is `decide`'s work.
        """

    def close(self) -> None:
        """Release the engine. Calling it twice is allowed."""


@runtime_checkable
class FrameRunner(Runner, Protocol):
    """A runner that also makes the input tensor itself, where it runs the graph."""

    def infer_cut(self, cut: RawImage, pixel_format: PixelFormat, red: tuple[int, int]) -> Prediction:
        """Resample, normalise and run a levelled cut of a raw frame. `red` is the (row, column) of the first red
        pixel of a Bayer cut. Raises `OperateError` as `infer` does."""


def open_runner(bundle: Bundle, config: RunnerConfig) -> Runner:
    """Open the runner that `config.backend` names.

    Raises `OpenError` when it is not available here, `BundleError` when the bundle does not suit it.
    """
    if isinstance(config, OnnxRuntimeConfig):
        from edge.runner.onnxruntime import open_on_cpu

        return open_on_cpu(bundle, config)
    if isinstance(config, OnnxRuntimeGpuConfig):
        from edge.runner.onnxruntime import open_on_gpu

        return open_on_gpu(bundle, config)
    if config.preprocess == "gpu":
        from edge.runner.tensorrt_frames import TensorRtFrameRunner

        return TensorRtFrameRunner(bundle, config)
    from edge.runner.tensorrt import TensorRtRunner

    return TensorRtRunner(bundle, config)
