"""Memory that a GPU and the host exchange tensors in.

MappedBuffer: one pinned block that both use in place, for a GPU that shares the host's memory.
StagedBuffer: pinned block on the host, its copy on the GPU, for a graphics card.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Buffer(Protocol):
    """A float32 tensor on both sides. All methods need the CUDA context to be current."""

    host: NDArray[np.float32]
    address: int

    def upload(self, stream: Any) -> None:
        """Bring `host` to the GPU, in the order of the stream."""

    def download(self, stream: Any) -> None:
        """Bring the GPU's values to `host`; they are there when the stream has been synchronised."""

    def free(self) -> None:
        """Give the memory back. `host` must not be touched after it."""


class MappedBuffer:
    """Pinned host memory that the GPU reads and writes in place; no copy is made."""

    def __init__(self, cuda: Any, shape: tuple[int, ...]) -> None:
        self.host = cuda.pagelocked_empty(shape, np.float32, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
        self.address = int(self.host.base.get_device_pointer())

    def upload(self, stream: Any) -> None:
        """Nothing to do: the GPU reads the host's memory."""

    def download(self, stream: Any) -> None:
        """Nothing to do: the GPU has written the host's memory."""

    def free(self) -> None:
        """See `Buffer.free`."""
        self.host.base.free()


class StagedBuffer:
    """Pinned host memory and device memory, with a copy between them for every frame."""

    def __init__(self, cuda: Any, shape: tuple[int, ...]) -> None:
        self._cuda = cuda
        self.host = cuda.pagelocked_empty(shape, np.float32)
        try:
            self._device = cuda.mem_alloc(self.host.nbytes)
        except cuda.Error:
            self.host.base.free()
            raise
        self.address = int(self._device)

    def upload(self, stream: Any) -> None:
        """See `Buffer.upload`."""
        self._cuda.memcpy_htod_async(self._device, self.host, stream)

    def download(self, stream: Any) -> None:
        """See `Buffer.download`."""
        self._cuda.memcpy_dtoh_async(self.host, self._device, stream)

    def free(self) -> None:
        """See `Buffer.free`."""
        self._device.free()
        self.host.base.free()


def allocate(cuda: Any, shape: tuple[int, ...], *, integrated: bool) -> Buffer:
    """The buffer that suits the GPU; `cuda` is `pycuda.driver`. The values are undefined."""
    return MappedBuffer(cuda, shape) if integrated else StagedBuffer(cuda, shape)
