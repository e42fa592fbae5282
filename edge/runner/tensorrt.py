"""TensorRT on the GPU of a Jetson: runs an engine that 'adclip engine build' made and proved on this device."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.config import TensorRtConfig
from edge.engine import engine_target
from edge.engine_directory import StoredEngine, find_engine, use_of_engines
from edge.errors import OperateError
from edge.manifest import BundleManifest, Precision
from edge.runner import Prediction
from edge.runner.cuda_libraries import CudaLibraries, load_libraries
from edge.runner.gpu import Gpu, read_gpu
from edge.runner.tensorrt_session import EngineSession, Tensors

LOG = logging.getLogger("adclip.tensorrt")

CLOSE_WITHIN_S = 2.0


class TensorRtRunner:
    """Runs the engine of a bundle.

    Threads: it is opened and proved in the main thread, used by the decide thread alone, and closed in the
    main thread. Every call makes the GPU's primary context current in its own thread and takes it off again
    (`PrimaryContext`), so it does not matter which thread calls, as long as it is one at a time: a second one
    is refused.

    `engine` is for the build, which proves an engine that is not active yet; None takes the proven engine
    from `config.engine_directory` and holds that directory's lock. `libraries` and `now_ns` are for tests.

    Raises `OpenError` when TensorRT, the GPU, or an engine that fits and is proven is missing.
    """

    def __init__(
        self,
        bundle: Bundle,
        config: TensorRtConfig,
        *,
        engine: StoredEngine | None = None,
        libraries: CudaLibraries | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        libraries = libraries or load_libraries()
        self._gpu = gpu = read_gpu(libraries.cuda, config.device)
        self._manifest, self._one_at_a_time = bundle.manifest, threading.Lock()
        with ExitStack() as opened:
            if engine is None:
                opened.enter_context(use_of_engines(config.engine_directory, building=False))
                engine = _fitting_engine(bundle, config, libraries, gpu)
            self._session = EngineSession(
                libraries,
                config.device,
                engine.read(),
                _tensors(bundle.manifest),
                integrated=gpu.integrated,
                cuda_graph=config.cuda_graph,
                now_ns=now_ns,
            )
            self._held = opened.pop_all()
        self.precision: Precision = engine.record.key.target.precision
        self.description = (
            f"tensorrt {libraries.trt.__version__} {gpu.name}, {self.precision.upper()}, engine {engine.name}"
            f"{', CUDA graph' if self._session.graphed else ''}"
        )
        self._closed = False

    def infer(self, tensor: NDArray[np.float32]) -> Prediction:
        """See `Runner.infer`."""
        shape = (1, 3, *self._manifest.preprocessing.size_px)
        if tensor.shape != shape or tensor.dtype != np.float32:
            raise OperateError(
                f"The runner got {tensor.dtype} {tensor.shape} and takes float32 {shape}.",
                do="Make the tensor with edge.preprocess and this bundle's own specification.",
            )
        with self._alone():
            return self._prediction(self._session.run({self._manifest.input: tensor}))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The session for one thread. Raises `OperateError` when another one has it, or it is closed."""
        if not self._one_at_a_time.acquire(blocking=False):
            raise OperateError("Two threads used the runner at once.", do="Report this: it is a bug.")
        try:
            if self._closed:
                raise OperateError("The runner is closed.", do="Restart the daemon.")
            yield
        finally:
            self._one_at_a_time.release()

    def _prediction(self, found: dict[str, NDArray[np.float32]]) -> Prediction:
        outputs = self._manifest.outputs
        return Prediction(float(found[outputs.score][0]), found[outputs.map][0])

    def close(self) -> None:
        """See `Runner.close`. What is still at work after two seconds is left alone.

        The GPU may then still write to the buffers, and the process is about to end anyway.
        """
        if not self._one_at_a_time.acquire(timeout=CLOSE_WITHIN_S):
            LOG.error("the GPU has not finished; its memory is left to the end of the process")
            return
        try:
            self._closed = True
            self._session.close()
            self._held.close()
        finally:
            self._one_at_a_time.release()


def _fitting_engine(
    bundle: Bundle, config: TensorRtConfig, libraries: CudaLibraries, gpu: Gpu
) -> StoredEngine:
    target = engine_target(
        bundle,
        tensorrt=libraries.trt.__version__,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        platform=gpu.platform,
    )
    return find_engine(config.engine_directory, target)


def _tensors(manifest: BundleManifest) -> Tensors:
    """What every graph of a bundle takes and gives; see `edge.manifest`."""
    return Tensors(
        inputs={manifest.input: (1, 3, *manifest.preprocessing.size_px)},
        outputs={manifest.outputs.score: (1,), manifest.outputs.map: (1, *manifest.map.grid)},
    )
