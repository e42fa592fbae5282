"""ONNX Runtime, on the CPU or on an NVIDIA GPU of a PC.

The provider that was asked for is the only one that may run: ONNX Runtime itself falls back to the CPU with no
more than a line in its log, and lists providers that cannot load.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.config import OnnxRuntimeConfig, OnnxRuntimeGpuConfig
from edge.errors import BundleError, OpenError, OperateError
from edge.manifest import Precision, model_file
from edge.runner import Prediction
from edge.runner.vendor_faults import translated

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

_CUDA_NEEDS = (
    "Install onnxruntime-gpu in place of onnxruntime, with the CUDA and cuDNN that its release notes name, and "
    "check 'nvidia-smi'. Nothing runs on the CPU by itself."
)


class OnnxRuntimeRunner:
    """Runs one graph of a bundle in an opened session."""

    def __init__(self, bundle: Bundle, session: Any, description: str, precision: Precision) -> None:
        self.description, self.precision = description, precision
        self._session = session
        self._input = bundle.manifest.input
        self._shape = (1, 3, *bundle.manifest.preprocessing.size_px)
        self._outputs = [bundle.manifest.outputs.score, bundle.manifest.outputs.map]

    def infer(self, tensor: NDArray[np.float32]) -> Prediction:
        """See `Runner.infer`."""
        if tensor.shape != self._shape or tensor.dtype != np.float32:
            raise OperateError(
                f"The runner got {tensor.dtype} {tensor.shape} and takes float32 {self._shape}.",
                do="Make the tensor with edge.preprocess and this bundle's own specification.",
            )
        with translated(
            "ONNX Runtime failed on a frame", do="Check memory, then restart the daemon.", error=OperateError
        ):
            score, grid_map = self._session.run(self._outputs, {self._input: tensor})
        return Prediction(float(score[0]), grid_map[0])

    def close(self) -> None:
        """See `Runner.close`; the session is freed with the object."""


def open_on_cpu(bundle: Bundle, config: OnnxRuntimeConfig) -> OnnxRuntimeRunner:
    """The graph of `config.precision` on the CPU with a fixed number of threads."""
    onnxruntime = _load()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    # Spinning threads would take the cores from the capture and actuator threads between two parts.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = _open(onnxruntime, bundle, config.precision, options, CPU, {})
    threads = f"{config.threads} thread(s), {config.precision.upper()}"
    return OnnxRuntimeRunner(
        bundle, session, f"onnxruntime {onnxruntime.__version__} CPU, {threads}", config.precision
    )


def open_on_gpu(bundle: Bundle, config: OnnxRuntimeGpuConfig) -> OnnxRuntimeRunner:
    """The graph of `config.precision` on one GPU. Raises `OpenError` when CUDA is not what runs it."""
    onnxruntime = _load()
    # FP32 means FP32: by itself the provider rounds its products to TF32.
    provider = {"device_id": str(config.device), "use_tf32": "0"}
    session = _open(onnxruntime, bundle, config.precision, onnxruntime.SessionOptions(), CUDA, provider)
    gpu = f"CUDA device {config.device}, {config.precision.upper()}"
    return OnnxRuntimeRunner(
        bundle, session, f"onnxruntime {onnxruntime.__version__} {gpu}", config.precision
    )


def _load() -> Any:
    try:
        import onnxruntime
    except ImportError as fault:
        raise OpenError(
            f"ONNX Runtime cannot be loaded: {fault}.", do="Install requirements/runtime.txt."
        ) from fault
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _open(
    onnxruntime: Any,
    bundle: Bundle,
    precision: Precision,
    options: Any,
    provider: str,
    provider_options: dict[str, str],
) -> Any:
    """A session in which `provider` is the first; ONNX Runtime always appends the CPU to it."""
    _check_precision(bundle, precision)
    if provider not in onnxruntime.get_available_providers():
        raise _refused(onnxruntime, provider, "is not in this build")
    options.log_severity_level = 3
    file = model_file(precision)
    content = bundle.read(file)
    with translated(
        f"ONNX Runtime does not take {bundle.folder / file}",
        do="Export the bundle again." if provider == CPU else _CUDA_NEEDS,
        error=BundleError if provider == CPU else OpenError,
    ):
        session = onnxruntime.InferenceSession(content, options, providers=[(provider, provider_options)])
    if session.get_providers()[0] != provider:
        raise _refused(onnxruntime, provider, f"gave way to {session.get_providers()[0]}")
    session.disable_fallback()
    return session


def _check_precision(bundle: Bundle, precision: Precision) -> None:
    if precision not in bundle.manifest.precisions:
        raise BundleError(
            f"The bundle {bundle.folder} has no {precision.upper()} graph.",
            do=f"Run it in {' or '.join(p.upper() for p in bundle.manifest.precisions)}, or export it again.",
        )


def _refused(onnxruntime: Any, provider: str, how: str) -> OpenError:
    do = "Install the onnxruntime that requirements/runtime.txt names." if provider == CPU else _CUDA_NEEDS
    return OpenError(f"{provider} of ONNX Runtime {onnxruntime.__version__} {how}.", do=do)
