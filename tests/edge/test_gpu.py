"""What GPU this is: CUDA's answers are the double's, the files are as devices have them."""

import pytest

from edge.errors import OpenError
from edge.runner.gpu import read_gpu

L4T = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"
CARD = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version:\n"
)
OPEN_CARD = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"


@pytest.fixture
def cuda(tensorrt_double, tiny):
    return tensorrt_double.Gpu(tiny.network, tiny.SHAPES).libraries.cuda


@pytest.mark.parametrize(
    ("files", "platform"),
    [
        ({"etc/nv_tegra_release": L4T}, "L4T 36.4.3"),
        ({"etc/nv_tegra_release": L4T, "proc/driver/nvidia/version": CARD}, "L4T 36.4.3"),
        ({"proc/driver/nvidia/version": CARD}, "driver 535.104.05"),
        ({"proc/driver/nvidia/version": OPEN_CARD}, "driver 570.86.15"),
        ({"etc/nv_tegra_release": "something else"}, "CUDA driver 12.6"),
        ({}, "CUDA driver 12.6"),
    ],
)
def test_the_platform_is_read_from_the_system(cuda, tmp_path, files, platform):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert read_gpu(cuda, 0, tmp_path).platform == platform


def test_name_capability_and_memory_are_cudas(cuda, tmp_path):
    gpu = read_gpu(cuda, 0, tmp_path)
    assert (gpu.name, gpu.compute_capability, gpu.integrated, gpu.cuda) == ("Orin", "8.7", True, "12.6")


def test_a_machine_without_a_driver_and_a_gpu_that_is_not_there(tensorrt_double, tiny):
    broken = tensorrt_double.Gpu(tiny.network, tiny.SHAPES, faults=["driver"]).libraries.cuda
    with pytest.raises(OpenError, match="CUDA does not start"):
        read_gpu(broken, 0)
    whole = tensorrt_double.Gpu(tiny.network, tiny.SHAPES).libraries.cuda
    with pytest.raises(OpenError, match="no GPU 3: CUDA sees 1"):
        read_gpu(whole, 3)
