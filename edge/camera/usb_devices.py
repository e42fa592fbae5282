"""Cameras on the USB as the kernel tells of them in /sys and /proc: link speed, power saving, who holds them.

`root` is where these file systems are, "/" but for tests.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

VENDOR = "1e10"
"""The vendor id of FLIR, now Teledyne: Blackfly S and its kind."""

SUPERSPEED_MBIT_S = 5000.0


@dataclass(frozen=True, slots=True)
class UsbCamera:
    """One camera: `speed_mbit_s` of its link, 0 when not told; `power_control` is "on" or "auto" (may suspend);
    `node` is its device file."""

    serial: str
    product: str
    speed_mbit_s: float
    power_control: str
    node: Path


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has the camera's device file open."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def usb_cameras(root: Path = Path("/")) -> list[UsbCamera]:
    """All cameras of the vendor, by serial number."""
    devices = sorted((root / "sys/bus/usb/devices").glob("*"))
    found = [_camera(root, device) for device in devices if text_of(device / "idVendor") == VENDOR]
    return sorted(found, key=lambda camera: camera.serial)


def holders(node: Path, root: Path = Path("/")) -> list[Holder]:
    """Processes other than this one that have `node` open. Those that may not be looked into are left out."""
    found = []
    for process in sorted((root / "proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        if int(process.name) != os.getpid() and _has_open(process / "fd", node):
            found.append(Holder(int(process.name), text_of(process / "comm") or "a process without a name"))
    return found


def text_of(path: Path) -> str:
    """The text of a small kernel file without its line break; empty when it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _camera(root: Path, device: Path) -> UsbCamera:
    bus, number = text_of(device / "busnum"), text_of(device / "devnum")
    return UsbCamera(
        serial=text_of(device / "serial"),
        product=text_of(device / "product"),
        speed_mbit_s=_number(text_of(device / "speed")),
        power_control=text_of(device / "power/control"),
        node=root / "dev/bus/usb" / bus.zfill(3) / number.zfill(3),
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _has_open(folder: Path, node: Path) -> bool:
    try:
        links = list(folder.iterdir())
    except OSError:  # it has ended, or belongs to another user
        return False
    return any(_target(link) == str(node) for link in links)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
