"""Cameras: whatever gives one Frame for one trigger. Chosen by name, imported late, never a silent fallback.

A backend only receives. Counting, deadlines and judging are done once, in the caller. Every trigger is told
to `on_trigger` at the moment it happens, before its frame: so a part whose frame never comes is known all the
same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from edge.camera.driver import DeviceHealth
from edge.camera_config import CameraConfig, ReplayCameraConfig, SyntheticCameraConfig
from edge.clock import Clock
from edge.messages import Frame, Trigger

TriggerListener = Callable[[Trigger], None]


@dataclass(frozen=True, slots=True)
class CameraCounters:
    """What the camera itself counted since it was opened."""

    triggers: int = 0
    delivered: int = 0
    incomplete: int = 0
    id_gaps: int = 0
    timeouts: int = 0
    reconnects: int = 0


class Camera(Protocol):
    """The contract of every camera; the suite in `tests/contract` runs on all of them."""

    @property
    def live(self) -> bool:
        """Whether parts come whether or not the line is ready for them.

        A camera that is not live starts its next part only when the caller asks for it.
        """

    @property
    def description(self) -> str:
        """What it is, for people and records: model, serial number, or the folder replayed."""

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Frames in the order they arrive, until `stop` is set or the source is exhausted.

        Each image is the frame's own, read-only. Raises `OperateError` when the camera fails for good.
        """

    def counters(self) -> CameraCounters:
        """May be called from any thread."""

    def health(self) -> DeviceHealth | None:
        """What the device last said of itself; None while it is away. May be called from any thread.

        A camera without a device always gives the empty `DeviceHealth()`.
        """

    def close(self) -> None:
        """Release the device. Calling it twice is allowed."""


def open_camera(config: CameraConfig, on_trigger: TriggerListener, clock: Clock) -> Camera:
    """Open the camera that `config.backend` names. Raises `OpenError` or `ConfigError`."""
    if isinstance(config, SyntheticCameraConfig):
        from edge.camera.synthetic import SyntheticCamera

        return SyntheticCamera(config, on_trigger, clock)
    if isinstance(config, ReplayCameraConfig):
        from edge.camera.replay import ReplayCamera

        return ReplayCamera(config, on_trigger, clock)
    from edge.camera.genicam import GenICamCamera

    return GenICamCamera(config, on_trigger, clock)
