"""What GPU this is, and what drives it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import OpenError

L4T_RELEASE = "etc/nv_tegra_release"
DRIVER_VERSION = "proc/driver/nvidia/version"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as far as engines depend on it.

    `integrated`: it shares the host's memory and can read it in place. `platform` is the L4T release of a
    Jetson ("L4T 36.4.3"), else the version of the driver. `cuda` is what the driver supports ("12.6").
    """

    name: str
    compute_capability: str
    integrated: bool
    platform: str
    cuda: str


def read_gpu(cuda: Any, device: int, root: Path = Path("/")) -> Gpu:
    """The GPU with CUDA's number `device`; `cuda` is `pycuda.driver`. Raises `OpenError`."""
    try:
        cuda.init()
        count = cuda.Device.count()
    except cuda.Error as fault:
        raise OpenError(
            f"CUDA does not start: {fault}.", do="Check that the GPU's driver is loaded and fits its CUDA."
        ) from fault
    if device >= count:
        raise OpenError(f"There is no GPU {device}: CUDA sees {count}.", do="Correct runner.device.")
    gpu = cuda.Device(device)
    attribute = cuda.device_attribute
    version = cuda.get_driver_version()
    cuda_version = f"{version // 1000}.{version % 1000 // 10}"
    return Gpu(
        name=gpu.name(),
        compute_capability=".".join(str(part) for part in gpu.compute_capability()),
        integrated=bool(
            gpu.get_attribute(attribute.INTEGRATED) and gpu.get_attribute(attribute.CAN_MAP_HOST_MEMORY)
        ),
        platform=_platform(root) or f"CUDA driver {cuda_version}",
        cuda=cuda_version,
    )


def _platform(root: Path) -> str | None:
    """`# R36 (release), REVISION: 4.3, …` on a Jetson, `NVRM version: … Kernel Module  535.104.05 …` on a PC."""
    if found := re.search(r"R(\d+)\b.*?REVISION:\s*([\d.]+)", _text(root / L4T_RELEASE)):
        return f"L4T {found[1]}.{found[2]}"
    if found := re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", _text(root / DRIVER_VERSION)):
        return f"driver {found[1]}"
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
