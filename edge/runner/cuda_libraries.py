"""TensorRT, pycuda and CUDA's driver library: loaded when a runner or a build asks for them."""

from __future__ import annotations

import ctypes
import importlib
import logging
from collections import deque
from dataclasses import dataclass
from typing import Any

from edge.errors import OpenError
from edge.runner.vendor_faults import one_line

LOG = logging.getLogger("adclip.tensorrt")


@dataclass(frozen=True, slots=True, eq=False)
class CudaLibraries:
    """`trt` is the module tensorrt, `cuda` is pycuda.driver, `driver` is libcuda opened by ctypes."""

    trt: Any
    cuda: Any
    driver: Any


def load_libraries() -> CudaLibraries:
    """Load all three, without touching a GPU. Raises `OpenError` when one is missing."""
    try:
        cuda = importlib.import_module("pycuda.driver")
        trt = importlib.import_module("tensorrt")
        driver = ctypes.CDLL("libcuda.so.1")
    except (ImportError, OSError) as fault:
        raise OpenError(
            f"TensorRT cannot be used here: {one_line(fault)}.",
            do="It needs an NVIDIA GPU. On a Jetson install python3-libnvinfer from JetPack and pycuda, in an "
            "environment made with --system-site-packages.",
        ) from fault
    return CudaLibraries(trt, cuda, driver)


class LastErrors:
    """The last errors that TensorRT logged: it returns None or False, and says why only there."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=3)

    def add(self, line: str) -> None:
        """Keep one; any thread may call."""
        self._lines.append(line)

    def text(self) -> str:
        """What was kept, as one line; a phrase that says so when nothing was."""
        return one_line("; ".join(self._lines)) or "TensorRT gave no reason"


def tensorrt_log(trt: Any, errors: LastErrors) -> Any:
    """A logger for TensorRT that passes warnings and errors on to Python's log and keeps the errors."""

    class Log(trt.ILogger):  # type: ignore[misc]  # the class exists only once TensorRT is loaded
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                errors.add(message)
                LOG.info("error: %s", message)
            elif severity == trt.ILogger.WARNING:
                LOG.info("%s", message)

    return Log()
