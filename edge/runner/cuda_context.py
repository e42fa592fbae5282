"""The CUDA context that a runner works in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class PrimaryContext:
    """The primary context of one GPU, held until `close`. It is current only inside `current()`.

    A CUDA context is current in one thread's stack at a time, and a runner changes threads: it is opened and
    proves its golden frames in the main thread, then works in the decide thread, and is closed in the main
    thread. So no thread keeps it: whoever calls pushes it, works, and pops it. It is the primary context
    because TensorRT works through the CUDA runtime, which takes that one; a context of pycuda's own would
    stand beside it. What is made inside `current()` must also be freed inside it.
    """

    def __init__(self, cuda: Any, device: int) -> None:
        self._cuda = cuda
        self._context = cuda.Device(device).retain_primary_context()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Current in the calling thread until the block ends, with or without an error."""
        self._context.push()
        try:
            yield
        finally:
            self._cuda.Context.pop()

    def close(self) -> None:
        """Let go of the context. Call it once, outside `current()`, from any thread."""
        # pycuda releases a context only where it is current or where it was made, and otherwise leaks it
        # without a word. Detaching also takes it off pycuda's stack: a pop after it would fail.
        self._context.push()
        self._context.detach()
