"""An engine at work: deserialised, with its buffers, its stream and perhaps a CUDA graph."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge.engine_directory import build_again
from edge.errors import EdgeError, OpenError, OperateError
from edge.manifest import Preprocessing
from edge.runner.cuda_context import PrimaryContext
from edge.runner.cuda_graph import CudaGraph
from edge.runner.cuda_libraries import CudaLibraries, LastErrors, tensorrt_log
from edge.runner.cuda_memory import Buffer, allocate
from edge.runner.cuda_resample import CudaResampler
from edge.runner.vendor_faults import translated

LOG = logging.getLogger("adclip.tensorrt")

TRIALS = 5

FREE_MEMORY = "Stop other programs that use the GPU, or free memory, then start again."
RESTART = (
    "Restart the daemon; if that does not help, look into the kernel's log (dmesg) and restart the device."
)

REBUILD_PROGRAM = (
    "Run 'adclip engine build --force' on this device with nvcc installed, or set runner.preprocess: cpu."
)

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Tensors:
    """Names and shapes that an engine must have, no more and no fewer; all of them float32."""

    inputs: Shapes
    outputs: Shapes


class EngineSession:
    """One engine on one GPU. Any thread may use it, one at a time; see `PrimaryContext`.

    `graphed` tells whether inferences start through a CUDA graph: with `auto` they do when a few runs, timed
    by `now_ns`, were faster so. Raises `OpenError`.
    """

    graphed = False

    def __init__(
        self,
        libraries: CudaLibraries,
        device: int,
        content: bytes,
        tensors: Tensors,
        *,
        integrated: bool,
        cuda_graph: Literal["auto", "on", "off"],
        now_ns: Callable[[], int],
    ) -> None:
        self._trt, self._cuda, self._driver = libraries.trt, libraries.cuda, libraries.driver
        self._tensors, self._errors = tensors, LastErrors()
        self._resources, self._closed = ExitStack(), False
        with translated("The GPU's context cannot be had", do=FREE_MEMORY):
            self._context = PrimaryContext(self._cuda, device)
        try:
            with translated("The engine cannot be opened", do=FREE_MEMORY), self._context.current():
                self._open(content)
                self._connect(integrated)
                self._choose_launch(cuda_graph, now_ns)
        except BaseException:  # whatever it was, the GPU must be let go; it is raised again
            self.close()
            raise

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """One inference. The inputs have the shapes of `tensors`; the outputs are the caller's to keep.

        Raises `OperateError`.
        """
        with (
            translated("The GPU failed on a frame", do=RESTART, error=OperateError),
            self._context.current(),
        ):
            for name, values in inputs.items():
                np.copyto(self._buffers[name].host, values)
            self._run_once(self._launch)
            return {name: self._buffers[name].host.copy() for name in self._tensors.outputs}

    def resampler(self, program: Path, spec: Preprocessing, name: str) -> CudaResampler:
        """A resampler that writes the input `name` on the GPU; freed with the session. Raises `OpenError`."""
        with (
            translated("The GPU's resampler cannot be opened", do=REBUILD_PROGRAM),
            self._context.current(),
        ):
            made = CudaResampler(self._cuda, program, spec, self._buffers[name].address)
            self._resources.callback(made.free)
            return made

    def run_filled(self, fill: Callable[[Any], None]) -> dict[str, NDArray[np.float32]]:
        """One inference on what `fill`, given the stream, writes to the inputs. Raises `OperateError`."""
        with (
            translated("The GPU failed on a frame", do=RESTART, error=OperateError),
            self._context.current(),
        ):
            fill(self._stream)
            self._launch()
            for name in self._tensors.outputs:
                self._buffers[name].download(self._stream)
            self._stream.synchronize()
            return {name: self._buffers[name].host.copy() for name in self._tensors.outputs}

    def input_filled(self, name: str, fill: Callable[[Any], None]) -> NDArray[np.float32]:
        """What `fill` wrote to the input `name`. Raises `OperateError`."""
        with (
            translated("The GPU failed on a frame", do=RESTART, error=OperateError),
            self._context.current(),
        ):
            fill(self._stream)
            self._buffers[name].download(self._stream)
            self._stream.synchronize()
            return self._buffers[name].host.copy()

    def close(self) -> None:
        """Free everything on the GPU. Calling it twice is allowed. A fault is logged and not raised."""
        if self._closed:
            return
        self._closed = True
        try:
            try:
                with self._context.current():
                    self._resources.close()
            finally:
                self._context.close()
        except Exception:  # nothing is left to do, and a fault in closing must not hide what led here
            LOG.exception("the GPU's memory could not be freed")

    def _open(self, content: bytes) -> None:
        """Deserialise and check. The resources are freed in the opposite order, so these come last."""
        self._resources.callback(self._drop)
        self._runtime = self._trt.Runtime(tensorrt_log(self._trt, self._errors))
        cuda_engine = self._runtime.deserialize_cuda_engine(content)
        if cuda_engine is None:
            raise OpenError(f"TensorRT refuses the engine: {self._errors.text()}.", do=build_again("--force"))
        self._cuda_engine = cuda_engine
        self._check_tensors()
        execution = cuda_engine.create_execution_context()
        if execution is None:
            raise OpenError(f"The engine finds no memory: {self._errors.text()}.", do=FREE_MEMORY)
        # The engine keeps its details for the inspector; telling them to a profiler would cost time per frame.
        execution.nvtx_verbosity = self._trt.ProfilingVerbosity.NONE
        self._execution = execution

    def _check_tensors(self) -> None:
        """Raise `OpenError` unless the engine has exactly the tensors that are expected."""
        trt, cuda_engine = self._trt, self._cuda_engine
        expected = {name: (trt.TensorIOMode.INPUT, shape) for name, shape in self._tensors.inputs.items()}
        expected |= {name: (trt.TensorIOMode.OUTPUT, shape) for name, shape in self._tensors.outputs.items()}
        names = [cuda_engine.get_tensor_name(index) for index in range(cuda_engine.num_io_tensors)]
        found = {
            name: (cuda_engine.get_tensor_mode(name), tuple(cuda_engine.get_tensor_shape(name)))
            for name in names
        }
        if found != expected or any(
            cuda_engine.get_tensor_dtype(name) != trt.DataType.FLOAT for name in names
        ):
            raise OpenError(
                f"The engine has the tensors {_listed(found)}, its bundle {_listed(expected)}, all float32.",
                do=build_again("--force"),
            )

    def _connect(self, integrated: bool) -> None:
        """A stream of our own, because TensorRT synchronises the whole device on the default one; buffers."""
        self._stream = self._cuda.Stream()
        self._buffers: dict[str, Buffer] = {}
        for name, shape in (*self._tensors.inputs.items(), *self._tensors.outputs.items()):
            buffer = allocate(self._cuda, shape, integrated=integrated)
            self._resources.callback(buffer.free)
            self._buffers[name] = buffer
            if not self._execution.set_tensor_address(name, buffer.address):
                raise OpenError(
                    f"TensorRT does not take the memory for {name}: {self._errors.text()}.",
                    do=build_again("--force"),
                )
        for name in self._tensors.inputs:
            self._buffers[name].host.fill(0)

    def _choose_launch(self, cuda_graph: Literal["auto", "on", "off"], now_ns: Callable[[], int]) -> None:
        """Warm up, and take the CUDA graph when asked for or when it pays."""
        self._launch: Callable[[], None] = self._enqueue
        self._run_once(self._enqueue)
        if cuda_graph == "off":
            return
        try:
            graph = CudaGraph(self._driver, self._stream.handle, self._enqueue)
        except EdgeError as fault:
            if cuda_graph == "on":
                raise OpenError(f"The CUDA graph cannot be had: {fault.what}", do=fault.do) from fault
            self._run_once(self._enqueue)
            return
        self._resources.callback(graph.free)
        if cuda_graph == "on" or self._typical_ns(graph.launch, now_ns) < self._typical_ns(
            self._enqueue, now_ns
        ):
            self._launch, self.graphed = graph.launch, True

    def _typical_ns(self, launch: Callable[[], None], now_ns: Callable[[], int]) -> float:
        """Median time of a few inferences, in nanoseconds."""
        self._run_once(launch)
        times = []
        for _ in range(TRIALS):
            started = now_ns()
            self._run_once(launch)
            times.append(now_ns() - started)
        return statistics.median(times)

    def _run_once(self, launch: Callable[[], None]) -> None:
        """Inputs up, the network, outputs down; returns when the outputs are there."""
        for name in self._tensors.inputs:
            self._buffers[name].upload(self._stream)
        launch()
        for name in self._tensors.outputs:
            self._buffers[name].download(self._stream)
        self._stream.synchronize()

    def _enqueue(self) -> None:
        if not self._execution.execute_async_v3(self._stream.handle):
            raise OperateError(f"TensorRT did not run the engine: {self._errors.text()}.", do=RESTART)

    def _drop(self) -> None:
        """TensorRT and pycuda free a thing when its last name goes: users before what they use."""
        for name in ("_launch", "_execution", "_cuda_engine", "_runtime", "_stream"):
            self.__dict__.pop(name, None)


def _listed(tensors: Mapping[str, tuple[Any, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {shape}" for name, (_, shape) in tensors.items()) or "none"
