"""The GPU's resampler without a GPU.

Its kernels are plain C++ but for a few names, so the very file is compiled for this processor and run thread by
thread, and its result compared with `edge.fast_resample`. That proves the arithmetic, the taps and the order of
arguments. It does not prove pycuda's calls, the launch on a GPU, or memory: `TensorRtFrameRunner` compares both
resamplers whenever it opens on a device.
"""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from edge.errors import OpenError
from edge.fast_resample import Axis, axis_weights, taps_of
from edge.manifest import Preprocessing
from edge.messages import PixelFormat
from edge.preprocess import cut_out, input_tensor
from edge.runner.cuda_resample import BLOCK, SOURCE, CudaResampler, program_path

SHIM = """
#include <cmath>
#define __global__
#define __device__
struct Index { unsigned x, y, z; };
static Index blockIdx, blockDim, threadIdx;
#include "fast_resample.cu"

typedef void (*Each)(void **);

static void call_across_8(void **a)
{
    across_8((unsigned char *)a[0], *(int *)a[1], *(int *)a[2], *(int *)a[3], *(int *)a[4], *(int *)a[5],
             *(int *)a[6], (int *)a[7], (float *)a[8], *(int *)a[9], *(int *)a[10], *(float *)a[11],
             (float *)a[12]);
}
static void call_across_16(void **a)
{
    across_16((unsigned short *)a[0], *(int *)a[1], *(int *)a[2], *(int *)a[3], *(int *)a[4], *(int *)a[5],
              *(int *)a[6], (int *)a[7], (float *)a[8], *(int *)a[9], *(int *)a[10], *(float *)a[11],
              (float *)a[12]);
}
static void call_down(void **a)
{
    down((float *)a[0], (int *)a[1], (float *)a[2], *(int *)a[3], (float *)a[4], (int *)a[5], (float *)a[6],
         *(int *)a[7], *(int *)a[8], *(int *)a[9], *(float *)a[10], *(float *)a[11], *(float *)a[12],
         (float *)a[13]);
}

extern "C" void launch(int which, void **arguments, int bx, int by, int gx, int gy)
{
    Each each = which == 0 ? call_across_8 : which == 1 ? call_across_16 : call_down;
    blockDim = {(unsigned)bx, (unsigned)by, 1};
    for (blockIdx.y = 0; blockIdx.y < (unsigned)gy; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < (unsigned)gx; ++blockIdx.x)
            for (threadIdx.y = 0; threadIdx.y < (unsigned)by; ++threadIdx.y)
                for (threadIdx.x = 0; threadIdx.x < (unsigned)bx; ++threadIdx.x)
                    each(arguments);
}
"""
KERNELS = {b"across_8": 0, b"across_16": 1, b"down": 2}


class Memory:
    """Stands for device memory: an array of bytes on the host."""

    def __init__(self, content):
        self.content = np.ascontiguousarray(content)

    def free(self):
        assert self.content is not None, "freed twice"
        self.content = None


class Processor:
    """The calls of pycuda.driver that the resampler makes, done by this processor at once."""

    def __init__(self, library):
        self.library, self.launched = library, []

    def module_from_buffer(self, content):
        return self

    def get_function(self, name):
        def launch(*arguments, block, grid, stream):
            assert block == BLOCK
            kept = [_as_c(argument) for argument in arguments]
            pointers = (ctypes.c_void_p * len(kept))(*[address for address, _ in kept])
            self.library.launch(KERNELS[name.encode()], pointers, block[0], block[1], grid[0], grid[1])
            self.launched.append(name)

        return launch

    def mem_alloc(self, size):
        return Memory(np.zeros(size, np.uint8))

    def to_device(self, values):
        return Memory(values.copy())

    def memcpy_htod_async(self, memory, values, stream):
        memory.content[: values.nbytes] = values.view(np.uint8).ravel()


def _as_c(argument):
    """The address that the shim reads an argument from, and what keeps it alive."""
    if isinstance(argument, Memory):
        return argument.content.ctypes.data, argument
    if isinstance(argument, np.intp):  # a pointer as a number
        return int(argument), argument
    held = np.array([argument])
    return held.ctypes.data, held


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed; it compiles the GPU's kernels for this processor")
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "shim.cpp").write_text(SHIM)
    command = [compiler, "-O2", "-shared", "-fPIC", "-w", f"-I{SOURCE.parent}", "-o"]
    subprocess.run([*command, folder / "kernels.so", folder / "shim.cpp"], check=True, capture_output=True)
    return ctypes.CDLL(str(folder / "kernels.so"))


def spec(kernel="bicubic", roi=None, size=(40, 48)):
    return Preprocessing(
        height_px=size[0],
        width_px=size[1],
        roi_px=roi,
        mean=(0.48, 0.45, 0.41),
        std=(0.27, 0.26, 0.28),
        interpolation=f"fast_{kernel}_antialias",
    )


def picture(pixel_format, shape=(170, 230)):
    random = np.random.default_rng(4)
    if pixel_format in (PixelFormat.BAYER_RG12, PixelFormat.MONO12):
        return random.integers(0, 4096, shape, dtype=np.uint16)
    if pixel_format is PixelFormat.RGB8:
        return random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    return random.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def resampled(library, tmp_path):
    """The tensor that the kernels make of a frame."""
    program = tmp_path / "program.cubin"
    program.write_bytes(b"stands for machine code")

    def run(image, pixel_format, wanted):
        tensor = np.full((1, 3, *wanted.size_px), np.nan, np.float32)
        made = CudaResampler(Processor(library), program, wanted, tensor.ctypes.data)
        cut = cut_out(image, pixel_format, wanted, None)
        made.write(cut.image, cut.pixel_format, cut.red, stream=None)
        made.free()
        return tensor

    return run


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
@pytest.mark.parametrize("pixel_format", list(PixelFormat), ids=lambda value: value.value)
@pytest.mark.parametrize("roi", [None, (3, 6, 201, 151), (10, 5, 180, 160)])
def test_the_kernels_make_the_tensor_of_the_cpu(resampled, kernel, pixel_format, roi):
    image, wanted = picture(pixel_format), spec(kernel, roi)
    found = resampled(image, pixel_format, wanted)
    np.testing.assert_allclose(found, input_tensor(image, pixel_format, wanted), rtol=0, atol=2e-5)


def test_an_enlarged_frame(resampled):
    image, wanted = picture(PixelFormat.BAYER_RG8, (34, 30)), spec(size=(64, 50))
    found = resampled(image, PixelFormat.BAYER_RG8, wanted)
    np.testing.assert_allclose(found, input_tensor(image, PixelFormat.BAYER_RG8, wanted), rtol=0, atol=2e-5)


def test_one_resampler_takes_cuts_of_different_sizes(library, tmp_path):
    program = tmp_path / "program.cubin"
    program.write_bytes(b"stands for machine code")
    wanted = spec()
    tensor = np.zeros((1, 3, *wanted.size_px), np.float32)
    made = CudaResampler(Processor(library), program, wanted, tensor.ctypes.data)
    for shape in ((90, 120), (170, 230), (100, 100)):
        image = picture(PixelFormat.BAYER_RG8, shape)
        made.write(image, PixelFormat.BAYER_RG8, (0, 0), stream=None)
        np.testing.assert_allclose(
            tensor, input_tensor(image, PixelFormat.BAYER_RG8, wanted), rtol=0, atol=2e-5
        )
    made.free()


@pytest.mark.parametrize(
    "axis", [Axis(230, 48, 230), Axis(115, 48, 230, 1.5, 2), Axis(20, 60, 20), Axis(3, 3, 3)]
)
@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
def test_taps_are_the_weights(axis, kernel):
    taps, weights = taps_of(axis, kernel), axis_weights(axis, kernel)
    found = np.zeros_like(weights)
    for output, first in enumerate(taps.first):
        found[output, first : first + taps.weights.shape[1]] = taps.weights[output]
    np.testing.assert_allclose(found, weights, atol=1e-7)


def test_a_missing_program_says_how_to_get_it(library, tmp_path):
    with pytest.raises(OpenError, match="adclip engine build"):
        CudaResampler(Processor(library), tmp_path / "absent.cubin", spec(), 0)


def test_the_name_of_the_program_tells_its_gpu(tmp_path):
    assert program_path(tmp_path, "8.7").name.endswith("-sm_87.cubin")
