"""Running a graph that is not (yet) in a bundle, on ONNX Runtime's CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edge.errors import ModelFileError

Array = NDArray[Any]


def run(model: ir.Model, tensor: NDArray[np.float32]) -> list[Array]:
    """All outputs of a model with one input."""
    return Session(ir.to_proto(model)).run(tensor)


class Session:
    """A message opened in ONNX Runtime. Raises `ModelFileError` when it does not take or run it."""

    def __init__(self, proto: Any) -> None:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as fault:  # ONNX Runtime's errors share no base class
            raise _refused(fault) from fault
        self._input = self._session.get_inputs()[0].name

    def run(self, tensor: NDArray[np.float32], names: Sequence[str] | None = None) -> list[Array]:
        """The named outputs, or all."""
        try:
            found = self._session.run(names, {self._input: tensor})
        except Exception as fault:  # ONNX Runtime's errors share no base class
            raise _refused(fault) from fault
        return [np.asarray(array) for array in found]


def _refused(fault: Exception) -> ModelFileError:
    return ModelFileError(
        f"ONNX Runtime does not run the network: {str(fault).strip().splitlines()[0]}.",
        do="Export it again; if it runs elsewhere, report it with the file.",
    )
