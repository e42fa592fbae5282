"""A CUDA graph: the launches of one inference, recorded once and then started with one call.

pycuda does not offer graphs, so the five functions of CUDA's driver are called through ctypes. Signatures:
CUDA Driver API, "Stream Management" and "Graph Management".
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from edge.errors import OperateError

CAPTURE_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads ask of CUDA meanwhile does not spoil the recording."""


class CudaGraph:
    """Records what `enqueue` puts on a stream. The CUDA context must be current, here and in every method.

    `driver` is libcuda, `stream` the stream's handle. `enqueue` must have run once before, so that nothing is
    set up during the recording. Raises `OperateError`, or what `enqueue` raises.
    """

    def __init__(self, driver: Any, stream: int, enqueue: Callable[[], None]) -> None:
        self._driver, self._stream = driver, ctypes.c_void_p(stream)
        self._executable = ctypes.c_void_p()
        graph = self._record(enqueue)
        try:
            self._call(
                "cuGraphInstantiateWithFlags", ctypes.byref(self._executable), graph, ctypes.c_ulonglong(0)
            )
        finally:
            self._call("cuGraphDestroy", graph)

    def launch(self) -> None:
        """Start all recorded launches on the stream. Raises `OperateError`."""
        self._call("cuGraphLaunch", self._executable, self._stream)

    def free(self) -> None:
        """Give the graph back. Call it once."""
        self._call("cuGraphExecDestroy", self._executable)

    def _record(self, enqueue: Callable[[], None]) -> ctypes.c_void_p:
        graph = ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(CAPTURE_THREAD_LOCAL))
        try:
            enqueue()
        except BaseException:  # whatever it was, the recording must end; it is raised again
            # A stream that is left recording takes no more work; the fault that led here is the one to tell.
            self._driver.cuStreamEndCapture(self._stream, ctypes.byref(graph))
            if graph.value:
                self._driver.cuGraphDestroy(graph)
            raise
        self._call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        return graph

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._driver, function)(*arguments)
        if code != 0:
            raise OperateError(
                f"CUDA's {function} failed with error {code}.",
                do="Set runner.cuda_graph to off, or update the driver.",
            )
