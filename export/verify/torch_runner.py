"""The torch module behind the runner contract, so that it meets every picture on the same path."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.errors import OperateError
from edge.manifest import Precision
from edge.runner import Prediction
from export.network import Network


class TorchRunner:
    """Runs the network in float32 on the CPU."""

    precision: Precision = "fp32"

    def __init__(self, bundle: Bundle, network: Network) -> None:
        self.description = f"torch {torch.__version__} CPU, FP32"
        self._network = network
        self._shape = (1, 3, *bundle.manifest.preprocessing.size_px)

    def infer(self, tensor: NDArray[np.float32]) -> Prediction:
        """See `Runner.infer`."""
        if tensor.shape != self._shape or tensor.dtype != np.float32:
            raise OperateError(
                f"torch got {tensor.dtype} {tensor.shape} and takes float32 {self._shape}.",
                do="Make the tensor with edge.preprocess and this bundle's own specification.",
            )
        with torch.no_grad():
            score, grid_map = self._network(torch.from_numpy(tensor))
        return Prediction(float(score[0]), grid_map[0].numpy())

    def close(self) -> None:
        """The module is freed with the object."""
