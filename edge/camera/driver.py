"""What a GenICam camera's driver gives: pictures as the device numbers and stamps them, and its own counts.

    driver (Aravis, Spinnaker) ──▶ Grabbed ──▶ edge.camera.genicam ──▶ Frame

A driver receives and translates, no more. Numbering parts, time, reconnecting and counting are done once, for all
drivers, in `edge.camera.genicam`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.camera_config import AravisCameraConfig, SpinnakerCameraConfig
from edge.errors import OperateError
from edge.messages import PixelFormat, RawImage


class CameraLostError(OperateError):
    """The device is gone or no longer answers; opening it again by its serial number may help."""


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Who the camera is. `link` names the connection and its speed, for people."""

    vendor: str
    model: str
    serial: str
    firmware: str
    link: str


@dataclass(frozen=True, slots=True, eq=False)
class Grabbed:
    """One picture as the device delivered it.

    `frame_id` counts as the device counts, wrapping at its own width. `device_ns` is the device's clock at the
    exposure. `image` is the picture's own copy, read-only, (h, w) or (h, w, 3), None when nothing usable came.
    `exposure_us` and `gain_db` are what was used, from the chunk data, or as last read back where there are none.
    `trigger_count` is the camera's own count of trigger edges at this exposure, None when it does not tell.
    """

    frame_id: int
    device_ns: int
    image: RawImage | None
    pixel_format: PixelFormat
    complete: bool
    exposure_us: float
    gain_db: float
    trigger_count: int | None = None


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The device's clock, read between two readings of the host's monotonic clock; all in nanoseconds."""

    host_before_ns: int
    device_ns: int
    host_after_ns: int


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """What the device says of itself; None for what it does not say."""

    temperature_c: float | None = None
    link_errors: int | None = None
    lost_in_camera: int | None = None
    lost_in_host: int | None = None
    throughput_mb_s: float | None = None


class Driver(Protocol):
    """One opened camera, configured and read back. Used by one thread at a time."""

    @property
    def identity(self) -> DeviceIdentity:
        """Who it is; constant."""

    @property
    def frame_id_period(self) -> int:
        """The number of different frame ids: 65535 for 1 to 65535 (0 is not used), 2**64 for a 64-bit counter."""

    def start(self) -> None:
        """Begin to deliver. Raises `CameraLostError`."""

    def grab(self, timeout_ms: float) -> Grabbed | None:
        """The next picture, None when none came in time, which is no fault; with 0 it returns at once.

        Raises `CameraLostError`.
        """

    def fire(self) -> None:
        """Trigger once by software. Raises `CameraLostError`."""

    def read_clock(self) -> ClockReading | None:
        """Read the device's clock; None for a device whose stamps are the host's. Raises `CameraLostError`."""

    def trigger_count(self) -> int | None:
        """The camera's count of trigger edges now, None when it does not count them."""

    def health(self) -> DeviceHealth:
        """What it says of itself now. Raises `CameraLostError`."""

    def close(self) -> None:
        """Stop and release; safe to call twice and after the device is lost."""


def open_driver(config: AravisCameraConfig | SpinnakerCameraConfig) -> Driver:
    """Find the camera by serial number, write every setting and read it back.

    Raises `OpenError` when it is absent, held by somebody else, too slowly linked, or the library is missing;
    `ConfigError` when it does not take a setting, which no second try would change.
    """
    if isinstance(config, AravisCameraConfig):
        from edge.camera.aravis import AravisDriver

        return AravisDriver(config)
    from edge.camera.spinnaker import SpinnakerDriver

    return SpinnakerDriver(config)
