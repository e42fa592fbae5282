"""The fast resampler on the GPU: a raw cut goes up once, and the input tensor is made where the network reads it.

The program is `fast_resample.cu`, compiled for this GPU by 'adclip engine build'. It must agree with
`edge.fast_resample` on the golden frames whenever it is opened; see `TensorRtFrameRunner`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import OpenError
from edge.fast_resample import Axis, Kernel, taps_of
from edge.manifest import Preprocessing
from edge.messages import PixelFormat, RawImage
from edge.preprocess import FAST_KERNELS, full_scale

SOURCE = Path(__file__).with_name("fast_resample.cu")
BLOCK = (32, 8, 1)
BAYER = (PixelFormat.BAYER_RG8, PixelFormat.BAYER_RG12)


@dataclass(frozen=True, slots=True)
class Plane:
    """Where the samples of one plane lie in a cut, and the two directions in which it is resampled."""

    row: int
    column: int
    row_step: int
    column_step: int
    across: Axis
    down: Axis


@dataclass(frozen=True, slots=True)
class Channel:
    """The planes that are averaged into one channel of the tensor: one, or the two greens of a Bayer pattern."""

    planes: tuple[Plane, ...]


def program_path(directory: Path, compute_capability: str) -> Path:
    """Where the compiled program for a GPU lies in the engine directory; its name changes with its source."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    return directory / f"fast_resample-{digest}-sm_{compute_capability.replace('.', '')}.cubin"


def channels_of(
    shape: tuple[int, ...], pixel_format: PixelFormat, red: tuple[int, int], size_px: tuple[int, int]
) -> tuple[Channel, ...]:
    """How the red, green and blue channel come out of a cut; a grey cut gives the same plane three times."""
    height, width = shape[:2]
    if pixel_format in BAYER:
        planes = {
            (row ^ red[0], column ^ red[1]): _bayer_plane(row, column, (height, width), size_px)
            for row in (0, 1)
            for column in (0, 1)
        }
        return (
            Channel((planes[0, 0],)),
            Channel((planes[0, 1], planes[1, 0])),
            Channel((planes[1, 1],)),
        )
    step = shape[2] if len(shape) == 3 else 1
    down, across = Axis(height, size_px[0], height), Axis(width, size_px[1], width)
    return tuple(Channel((Plane(0, channel % step, 1, step, across, down),)) for channel in range(3))


def _bayer_plane(row: int, column: int, shape: tuple[int, int], size_px: tuple[int, int]) -> Plane:
    height, width = shape
    across = Axis((width - column + 1) // 2, size_px[1], width, column + 0.5, 2)
    down = Axis((height - row + 1) // 2, size_px[0], height, row + 0.5, 2)
    return Plane(row, column, 2, 2, across, down)


class CudaResampler:
    """Writes input tensors on the GPU. Every method needs the CUDA context to be current.

    `address` is where the tensor goes, (3, height, width) float32. Raises `OpenError` when the program is not
    there or does not load.
    """

    def __init__(self, cuda: Any, program: Path, spec: Preprocessing, address: int) -> None:
        self._cuda, self._spec, self._address = cuda, spec, address
        self._kernel: Kernel = FAST_KERNELS[spec.interpolation]
        self._tables: dict[Axis, _Table] = {}
        self._frame: _Block | None = None
        self._narrow: dict[int, _Block] = {}
        self._module = cuda.module_from_buffer(_read(program))
        self._across = {
            np.dtype(np.uint8): self._module.get_function("across_8"),
            np.dtype(np.uint16): self._module.get_function("across_16"),
        }
        self._down = self._module.get_function("down")

    def write(self, cut: RawImage, pixel_format: PixelFormat, red: tuple[int, int], stream: Any) -> None:
        """Enqueue everything for one cut; the tensor is there when the stream has come so far."""
        cut = cut if cut.flags.c_contiguous else cut.copy()
        self._frame = self._block(self._frame, cut.nbytes)
        self._cuda.memcpy_htod_async(self._frame.memory, cut, stream)
        height, width = self._spec.size_px
        top = np.float32(full_scale(pixel_format))
        for number, channel in enumerate(channels_of(cut.shape, pixel_format, red, self._spec.size_px)):
            narrowed = [
                self._narrowed(cut, plane, slot, top, stream) for slot, plane in enumerate(channel.planes)
            ]
            arguments = [argument for part in narrowed for argument in part]
            if len(narrowed) == 1:
                arguments += [np.intp(0), np.intp(0), np.intp(0), np.int32(0)]
            self._down(
                *arguments,
                np.int32(width),
                np.int32(height),
                top,
                np.float32(self._spec.mean[number]),
                np.float32(self._spec.std[number]),
                np.intp(self._address + 4 * number * height * width),
                block=BLOCK,
                grid=_grid(width, height),
                stream=stream,
            )

    def free(self) -> None:
        """Give all memory back."""
        for block in (self._frame, *self._narrow.values()):
            if block is not None:
                block.memory.free()
        for table in self._tables.values():
            table.first.free()
            table.weights.free()
        self._tables, self._narrow, self._frame = {}, {}, None

    def _narrowed(
        self, cut: RawImage, plane: Plane, slot: int, top: np.float32, stream: Any
    ) -> Sequence[object]:
        """Enqueue the first pass of a plane; returns the arguments that the second pass takes for it."""
        across, down = self._table(plane.across), self._table(plane.down)
        rows, outputs = plane.down.inputs, plane.across.outputs
        narrow = self._narrow[slot] = self._block(self._narrow.get(slot), 4 * rows * outputs)
        self._across[cut.dtype](
            self._frame.memory if self._frame else np.intp(0),
            np.int32(cut.strides[0] // cut.itemsize),
            np.int32(plane.row),
            np.int32(plane.column),
            np.int32(plane.row_step),
            np.int32(plane.column_step),
            np.int32(rows),
            across.first,
            across.weights,
            np.int32(across.taps),
            np.int32(outputs),
            top,
            narrow.memory,
            block=BLOCK,
            grid=_grid(outputs, rows),
            stream=stream,
        )
        return narrow.memory, down.first, down.weights, np.int32(down.taps)

    def _table(self, axis: Axis) -> _Table:
        """The weights of a direction on the GPU; a station has few."""
        if axis not in self._tables:
            taps = taps_of(axis, self._kernel)
            self._tables[axis] = _Table(
                self._cuda.to_device(taps.first), self._cuda.to_device(taps.weights), taps.weights.shape[1]
            )
        return self._tables[axis]

    def _block(self, held: _Block | None, size: int) -> _Block:
        """Memory of at least `size` bytes, the one at hand if it is large enough."""
        if held is not None and held.size >= size:
            return held
        if held is not None:
            held.memory.free()
        return _Block(self._cuda.mem_alloc(size), size)


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    first: Any
    weights: Any
    taps: int


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    memory: Any
    size: int


def _grid(width: int, height: int) -> tuple[int, int]:
    return -(-width // BLOCK[0]), -(-height // BLOCK[1])


def _read(program: Path) -> bytes:
    try:
        return program.read_bytes()
    except OSError as fault:
        raise OpenError(
            f"The GPU's resampler {program} cannot be read: {fault.strerror}.",
            do="Run 'adclip engine build' on this device with nvcc installed, or set runner.preprocess: cpu.",
        ) from fault
