"""ONNX Runtime on the CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.bundle import MODEL_FP32, Bundle
from edge.config import OnnxRuntimeConfig
from edge.errors import BundleError, OpenError, OperateError
from edge.runner import Prediction

PROVIDER = "CPUExecutionProvider"


class OnnxRuntimeRunner:
    """Runs `model.fp32.onnx` with the CPU provider and a fixed number of threads."""

    def __init__(self, bundle: Bundle, config: OnnxRuntimeConfig) -> None:
        try:
            import onnxruntime
        except ImportError as fault:
            raise OpenError(
                f"ONNX Runtime cannot be loaded: {fault}.", do="Install requirements/runtime.txt."
            ) from fault
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = config.threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the cores from the capture and actuator threads between two parts.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        content = bundle.read(MODEL_FP32)
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=[PROVIDER])
        except Exception as fault:  # ONNX Runtime's errors share no base class
            raise BundleError(
                f"ONNX Runtime does not take {bundle.folder / MODEL_FP32}: {fault}.",
                do="Export the bundle again.",
            ) from fault
        if self._session.get_providers() != [PROVIDER]:
            raise OpenError(
                f"ONNX Runtime gave {self._session.get_providers()} when asked for {PROVIDER}.",
                do="Install the onnxruntime that requirements/runtime.txt names.",
            )
        self.description = f"onnxruntime {onnxruntime.__version__} CPU, {config.threads} thread(s)"
        self._input = bundle.manifest.input
        size = bundle.manifest.image_size
        self._shape = (1, 3, size, size)
        self._outputs = [bundle.manifest.outputs.score, bundle.manifest.outputs.map]

    def infer(self, tensor: NDArray[np.float32]) -> Prediction:
        """See `Runner.infer`."""
        if tensor.shape != self._shape or tensor.dtype != np.float32:
            raise OperateError(
                f"The runner got {tensor.dtype} {tensor.shape} and takes float32 {self._shape}.",
                do="Make the tensor with edge.preprocess and this bundle's own specification.",
            )
        try:
            score, grid_map = self._session.run(self._outputs, {self._input: tensor})
        except Exception as fault:  # ONNX Runtime's errors share no base class
            raise OperateError(
                f"ONNX Runtime failed on a frame: {fault}.", do="Check memory, then restart the daemon."
            ) from fault
        return Prediction(float(score[0]), grid_map[0])

    def close(self) -> None:
        """See `Runner.close`; the session is freed with the object."""
