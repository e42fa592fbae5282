"""What must be so before a build may start: nothing inspects on this device, and there is memory enough."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.errors import OpenError

SERVICE = "adclip-inspect.service"
MEMINFO = Path("/proc/meminfo")
LIBRARIES_MB = 1024
"""CUDA's context and TensorRT's builder themselves: an allowance, not measured."""
HOST_COPIES = 3
"""Of the graph on the host at one time: our bytes, the parser's weights, the engine before it is written."""


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """What programs can still get, in MiB. Swap serves the host only: a GPU cannot use it."""

    available_mb: int
    swap_mb: int


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """How much memory a build may take, in MiB.

    On an integrated GPU the same memory serves both sides, and TACTIC_DRAM limits all that the builder takes
    on the device, workspace included. A graphics card has its own, so only the host's part counts.
    """

    graph_mb: int
    tactic_dram_mb: int
    integrated: bool

    @property
    def device_mb(self) -> int:
        """The part that no swap can give."""
        return self.tactic_dram_mb if self.integrated else 0

    @property
    def needed_mb(self) -> int:
        """The whole."""
        return self.device_mb + HOST_COPIES * self.graph_mb + LIBRARIES_MB

    def arithmetic(self) -> str:
        """The sum, spelt out."""
        device = f"{self.device_mb} MB for trying kernels + " if self.integrated else ""
        return (
            f"{device}{HOST_COPIES} x {self.graph_mb} MB for copies of the graph + {LIBRARIES_MB} MB for CUDA "
            f"and TensorRT"
        )


def check_memory(need: MemoryNeed, free: FreeMemory) -> None:
    """Raise `OpenError` unless there is enough: else Linux would kill the build, or something else for it."""
    if free.available_mb >= need.device_mb and free.available_mb + free.swap_mb >= need.needed_mb:
        return
    lower = f"give --tactic-dram-mb less than {need.tactic_dram_mb}, or " if need.integrated else ""
    raise OpenError(
        f"Building needs {need.needed_mb} MB of memory ({need.arithmetic()}), and {free.available_mb} MB with "
        f"{free.swap_mb} MB of swap are free.",
        do="Stop the daemon and the desktop (sudo systemctl isolate multi-user.target), "
        f"{lower}add swap for the host's part, then build again.",
    )


def check_line_is_stopped(inspecting: Callable[[], bool]) -> None:
    """Raise `OpenError` when the daemon inspects: a build takes its memory and its time."""
    if inspecting():
        raise OpenError(
            f"The daemon ({SERVICE}) is running on this device, and a build would take its memory.",
            do="Stop the line, then 'sudo systemctl stop adclip-inspect', and build.",
        )


def daemon_is_running() -> bool:
    """Whether systemd says that the daemon's unit is active, or about to be; False where there is no systemd.

    A daemon that runs an engine without systemd is found by the lock of the engine directory.
    """
    try:
        answer = subprocess.run(
            ["systemctl", "is-active", SERVICE], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.strip() in {"active", "activating", "reloading"}


def free_memory(meminfo: Path = MEMINFO) -> FreeMemory:
    """MemAvailable and SwapFree of /proc/meminfo. Raises `OpenError` when the file does not tell."""
    try:
        found = dict(re.findall(r"^(\w+):\s+(\d+) kB", meminfo.read_text(encoding="ascii"), re.MULTILINE))
        return FreeMemory(int(found["MemAvailable"]) // 1024, int(found.get("SwapFree", "0")) // 1024)
    except (OSError, KeyError) as fault:
        raise OpenError(
            f"{meminfo} does not tell how much memory is free.", do="Build on the device itself, under Linux."
        ) from fault
