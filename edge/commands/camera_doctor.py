"""Is this host set up for its camera? Read from /sys, /proc and /etc; nothing is changed, no camera is opened."""

from __future__ import annotations

import getpass
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge.camera.spinnaker_library import load_pyspin
from edge.camera.usb_devices import SUPERSPEED_MBIT_S, VENDOR, UsbCamera, holders, text_of, usb_cameras
from edge.camera_config import AravisCameraConfig, CameraConfig, SpinnakerCameraConfig
from edge.commands.finding import Finding
from edge.errors import EdgeError

SENSOR_PX = 4096 * 2160
"""Of the largest camera that this station is made for, where no region is set."""
BYTES_PER_PIXEL = {"RGB8": 3.0, "BayerRG12p": 1.5, "Mono12p": 1.5}

GOOD_CLOCKS = ("arch_sys_counter", "tsc", "kvm-clock")
COARSE_CLOCKS = ("jiffies", "refined-jiffies", "acpi_pm", "hpet")

RAISE_MEMORY = (
    "Put usbcore.usbfs_memory_mb=1000 on the kernel command line (on a Jetson the APPEND line of "
    "/boot/extlinux/extlinux.conf) and restart."
)

DeviceCamera = AravisCameraConfig | SpinnakerCameraConfig


def examine_host(
    camera: CameraConfig,
    root: Path = Path("/"),
    user: str | None = None,
    load: Callable[[], Any] = load_pyspin,
) -> list[Finding]:
    """All checks that go with this camera; none for one without a device.

    `root` is where /sys, /proc and /etc are, `user` whose rights are looked at (whoever runs this), `load` loads
    the maker's Python module.
    """
    if not isinstance(camera, AravisCameraConfig | SpinnakerCameraConfig):
        return []
    return [
        *_host_checks(camera, root, user or getpass.getuser()),
        *([_module(load)] if isinstance(camera, SpinnakerCameraConfig) else []),
    ]


def _host_checks(camera: DeviceCamera, root: Path, user: str) -> Iterator[Finding]:
    yield trigger(camera)
    yield clock_source(root)
    attached = usb_cameras(root)
    if not attached and isinstance(camera, AravisCameraConfig):
        return  # it may be on Ethernet
    yield usb_memory(camera, root)
    yield udev_group(root, user)
    yield connection(
        attached, allow_slow=isinstance(camera, SpinnakerCameraConfig) and camera.allow_slow_link
    )
    if attached:
        yield autosuspend(attached, root)
        yield other_holders(attached, root)


def trigger(camera: DeviceCamera) -> Finding:
    """Whether each part starts its own exposure."""
    mode, line = camera.trigger.mode, camera.trigger.line
    if mode == "hardware":
        return Finding("camera trigger", True, f"an edge at {line} starts each exposure")
    rate = f"{camera.trigger.rate_per_min:g} times a minute"
    if mode == "software":
        return Finding("camera trigger", True, f"the daemon triggers {rate}, whether or not a part is there")
    return Finding(
        "camera trigger",
        False,
        f"The camera runs free, {rate}: its pictures belong to no part. Set camera.trigger.mode: hardware "
        "and the line of the photo-eye.",
    )


def clock_source(root: Path) -> Finding:
    """Whether the kernel's clock is fine and quick enough to time parts by."""
    name = text_of(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
    if name in COARSE_CLOCKS:
        return Finding(
            "clock source",
            False,
            f"The kernel keeps time by {name}, which is coarse or slow to read. Take 'clocksource=' off the "
            f"kernel command line, so that it takes {' or '.join(GOOD_CLOCKS[:2])}.",
        )
    return Finding("clock source", True, name or "not told by this kernel")


def usb_memory(camera: DeviceCamera, root: Path) -> Finding:
    """Whether the kernel lends enough memory to USB transfers for the buffers."""
    text = text_of(root / "sys/module/usbcore/parameters/usbfs_memory_mb")
    needed = math.ceil(camera.buffers * _frame_bytes(camera) / 2**20)
    what = f"{camera.buffers} buffers take {needed} MB"
    if not text.isdigit():
        return Finding(
            "USB memory", False, f"The kernel does not tell usbfs_memory_mb; {what}. {RAISE_MEMORY}"
        )
    if int(text) == 0 or int(text) >= needed:
        return Finding("USB memory", True, f"usbfs_memory_mb is {text}; {what}")
    return Finding("USB memory", False, f"usbfs_memory_mb is {text}, and {what}. {RAISE_MEMORY}")


def autosuspend(attached: list[UsbCamera], root: Path) -> Finding:
    """Whether the kernel may put a camera to sleep."""
    if text_of(root / "sys/module/usbcore/parameters/autosuspend") == "-1":
        return Finding("USB autosuspend", True, "off for all devices")
    asleep = [camera.serial for camera in attached if camera.power_control != "on"]
    if not asleep:
        return Finding("USB autosuspend", True, "off for the camera")
    return Finding(
        "USB autosuspend",
        False,
        f"The kernel may suspend the camera {', '.join(asleep)}. Put usbcore.autosuspend=-1 on the kernel "
        'command line, or write "on" to its power/control by a udev rule.',
    )


def connection(attached: list[UsbCamera], *, allow_slow: bool) -> Finding:
    """Whether a camera is there, at USB 3 speed."""
    if not attached:
        return Finding(
            "USB camera",
            False,
            f"No USB device of the vendor {VENDOR} is there. Check the cable and the power of the camera; "
            f"'lsusb -d {VENDOR}:' lists it.",
        )
    slow = [camera for camera in attached if camera.speed_mbit_s < SUPERSPEED_MBIT_S]
    if not slow or allow_slow:
        there = ", ".join(f"{camera.product} at {camera.speed_mbit_s:g} Mbit/s" for camera in attached)
        return Finding("USB camera", True, there)
    return Finding(
        "USB camera",
        False,
        f"The camera {slow[0].serial} is linked at {slow[0].speed_mbit_s:g} Mbit/s. Use a USB 3 port and a "
        "screw-locked USB 3 cable of 3 m or less.",
    )


def other_holders(attached: list[UsbCamera], root: Path) -> Finding:
    """Whether another process has the camera open; those of other users are seen by root alone."""
    found = [str(holder) for camera in attached for holder in holders(camera.node, root)]
    if not found:
        return Finding("camera holders", True, "no other process that can be seen has the camera open")
    return Finding(
        "camera holders",
        False,
        f"The camera is open in {', '.join(found)}. End it, or stop adclip-inspect if it is the daemon.",
    )


def udev_group(root: Path, user: str) -> Finding:
    """Whether the user may open the camera, by the maker's udev rule."""
    rules = [line for file in _rule_files(root) for line in text_of(file).splitlines() if VENDOR in line]
    groups = {group for line in rules for group in re.findall(r'GROUP="([^"]+)"', line)}
    if user == "root" or any('MODE="0666"' in line for line in rules):
        return Finding("camera rights", True, f"{user} may open the camera")
    if not groups:
        return Finding(
            "camera rights",
            False,
            f"No udev rule gives the vendor {VENDOR} to a group. Run the udev configuration script of the SDK.",
        )
    mine = groups & _groups_of(root, user)
    if mine:
        return Finding("camera rights", True, f"{user} is in the group {', '.join(sorted(mine))}")
    group = min(groups)
    return Finding(
        "camera rights",
        False,
        f"{user} is not in the group {group} of the camera's udev rule. Run 'sudo usermod -aG {group} {user}', "
        "then log in again or restart the service.",
    )


def _module(load: Callable[[], Any]) -> Finding:
    try:
        load()
    except EdgeError as fault:
        return Finding("PySpin", False, str(fault))
    return Finding("PySpin", True, "the camera maker's module loads")


def _frame_bytes(camera: DeviceCamera) -> float:
    region = camera.region_px
    pixels = SENSOR_PX if region is None else region[2] * region[3]
    return pixels * BYTES_PER_PIXEL.get(camera.pixel_format, 1.0)


def _rule_files(root: Path) -> list[Path]:
    folders = ("etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d")
    return [file for folder in folders for file in sorted((root / folder).glob("*.rules"))]


def _groups_of(root: Path, user: str) -> set[str]:
    """Names of the groups of which /etc/group makes the user a member, and of the user's own."""
    lines = [line.split(":") for line in text_of(root / "etc/group").splitlines()]
    groups = [fields for fields in lines if len(fields) == 4]
    accounts = [line.split(":") for line in text_of(root / "etc/passwd").splitlines()]
    own = {fields[3] for fields in accounts if len(fields) > 3 and fields[0] == user}
    return {name for name, _, number, members in groups if number in own or user in members.split(",")}
