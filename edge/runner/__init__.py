"""Runners execute a bundle's graph. One is chosen by name; none falls back to another.

tensor (1, 3, S, S) float32 ──▶ runner.infer ──▶ Prediction(score, grid_map (g, g))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.config import RunnerConfig


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Raw outputs of the graph. `grid_map` is (g, g) float32 and valid until the next `infer`."""

    score: float
    grid_map: NDArray[np.float32]


class Runner(Protocol):
    """The contract of every runner; the suite in `tests/contract` runs on all of them."""

    @property
    def description(self) -> str:
        """What runs it, for people and records: library, version, device."""

    def infer(self, tensor: NDArray[np.float32]) -> Prediction:
        """Run (1, 3, S, S) float32. Raises `OperateError` when the engine fails or the shape is wrong.

        A value that is not finite is handed on, not hidden: judging it is `decide`'s work.
        """

    def close(self) -> None:
        """Release the engine. Calling it twice is allowed."""


def open_runner(bundle: Bundle, config: RunnerConfig) -> Runner:
    """Open the runner that `config.backend` names. Raises `OpenError` when it is not available here."""
    from edge.runner.onnxruntime import OnnxRuntimeRunner

    return OnnxRuntimeRunner(bundle, config)
