"""One camera opened through the Spinnaker SDK, and its release in the only order that the SDK accepts.

    system ▶ cameras ▶ camera ▶ Init ┄┄ EndAcquisition ▶ handler off ▶ DeInit ▶ camera, cameras, system let go

The SDK refuses a step (-1004) while anything of the step before is referenced from anywhere, exceptions and local
variables included. So the camera is an attribute here and in no variable that lives longer than a call.
"""

from __future__ import annotations

import gc
import logging
import queue
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from edge.camera.spinnaker_errors import ACCESS_DENIED, Door, code_of, text_of
from edge.camera.spinnaker_library import check_versions
from edge.camera.spinnaker_nodes import Nodes
from edge.camera.usb_devices import holders, usb_cameras
from edge.errors import OpenError

LOG = logging.getLogger("adclip.camera.spinnaker")

SUPERSPEED = "SuperSpeed"


class SpinnakerSession:
    """See the module. `camera` is the SDK's own object: use it within a call, keep it nowhere.

    Errors of the SDK leave as they are: whoever uses it stands behind a `Door`, and calls `close` in the end,
    after a failed `open` as well.
    """

    def __init__(self, pyspin: Any, root: Path = Path("/")) -> None:
        self._pyspin, self._root = pyspin, root
        self._door = Door(pyspin)
        self._events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._system: Any = None
        self._cameras: Any = None
        self._handler: Any = None
        self.camera: Any = None

    def open(self, serial: str, *, allow_slow_link: bool = False) -> None:
        """Find the camera and take it. Raises `OpenError`."""
        self._system = self._pyspin.System.GetInstance()
        check_versions(self._pyspin, self._system.GetLibraryVersion())
        self._cameras = self._system.GetCameras()
        self._find(serial)
        if not allow_slow_link:
            self._refuse_slow_link()
        self._init(serial)
        self._watch()

    def device(self) -> Nodes:
        """The camera's own nodes."""
        return Nodes(self._pyspin, self.camera)

    def transport(self) -> Nodes:
        """What the host knows of the camera: serial number, link."""
        return Nodes(self._pyspin, self.camera, "GetTLDeviceNodeMap")

    def stream(self) -> Nodes:
        """The host's side of the stream: buffers and their counts."""
        return Nodes(self._pyspin, self.camera, "GetTLStreamNodeMap")

    def events(self) -> list[str]:
        """Arrivals and removals of any camera since the last call."""
        seen = []
        while not self._events.empty():
            seen.append(self._events.get())
        return seen

    def close(self) -> None:
        """Release everything; safe to call twice, and after the camera is gone."""
        if self.camera is not None:
            self._step("stop the stream", self._stop)
        if self._handler is not None:
            self._step("end the watch for removals", self._unwatch)
        if self.camera is not None:
            self._step("let the camera go", self._deinit)
            self.camera = None
        if self._cameras is not None:
            self._step("clear the list of cameras", self._clear)
            self._cameras = None
        if self._system is not None:
            self._step("release the SDK", self._release)
            self._system = None

    # -- opening

    def _find(self, serial: str) -> None:
        self.camera = self._cameras.GetBySerial(serial)
        if self.camera is not None and self.camera.IsValid():
            return
        self.camera = None
        there = [self._serial_at(index) for index in range(self._cameras.GetSize())]
        seen = f"there are {', '.join(there)}" if there else "there is none at all"
        raise OpenError(
            f"No camera with the serial number {serial} is connected: {seen}.",
            do="Check the cable and camera.serial; 'lsusb -d 1e10:' shows whether the host sees it, and the user "
            "must be in the group of the camera's udev rule.",
        )

    def _serial_at(self, index: int) -> str:
        camera = self._cameras.GetByIndex(index)
        return Nodes(self._pyspin, camera, "GetTLDeviceNodeMap").read_text("DeviceSerialNumber") or "?"

    def _refuse_slow_link(self) -> None:
        speed = self.transport().read_text("DeviceCurrentSpeed") or "unknown speed"
        if speed.startswith(SUPERSPEED):
            return
        raise OpenError(
            f"The camera is linked at {speed}, not at {SUPERSPEED} (USB 3).",
            do="Use a USB 3 port and a screw-locked USB 3 cable of 3 m or less, push the plug home; "
            "camera.allow_slow_link: true takes the slow link.",
        )

    def _init(self, serial: str) -> None:
        try:
            self.camera.Init()
        except self._pyspin.SpinnakerException as fault:
            if code_of(fault) != ACCESS_DENIED:
                raise
            text = text_of(fault)
        else:
            return
        raise OpenError(
            f"The camera {serial} is held by somebody else ({text}): {self._who()}.",
            do="End that program: SpinView, another adclip daemon or a script; 'systemctl status adclip-inspect' "
            "tells of the daemon.",
        )

    def _who(self) -> str:
        found = [
            str(holder) for camera in usb_cameras(self._root) for holder in holders(camera.node, self._root)
        ]
        return ", ".join(found) or "no other process was seen to have it open"

    def _watch(self) -> None:
        """Have removals told at once; without it they are found out by polling."""
        if not hasattr(self._pyspin, "InterfaceEventHandler"):  # SDK 1.x
            return
        handler = removal_watch(self._pyspin, self._events.put)
        text = self._door.quietly(partial(self._system.RegisterEventHandler, handler))
        if text is None:
            self._handler = handler
        else:
            LOG.info("removals are not told by the SDK: %s", text)

    # -- releasing

    def _step(self, what: str, step: Callable[[], None]) -> None:
        text = self._door.quietly(step)
        if text is not None:
            # Something may still hang in a cycle that was not collected yet.
            gc.collect()
            text = self._door.quietly(step)
        if text is not None:
            LOG.info("could not %s: %s", what, text)

    def _stop(self) -> None:
        if self.camera.IsStreaming():
            self.camera.EndAcquisition()

    def _unwatch(self) -> None:
        handler, self._handler = self._handler, None
        self._system.UnregisterEventHandler(handler)

    def _deinit(self) -> None:
        if self.camera.IsInitialized():
            self.camera.DeInit()

    def _clear(self) -> None:
        self._cameras.Clear()

    def _release(self) -> None:
        self._system.ReleaseInstance()


def removal_watch(pyspin: Any, tell: Callable[[str], None]) -> Any:
    """A handler that only tells "arrival" or "removal".

    It is called in a thread of the SDK, with a reference to the camera (in old versions its serial number):
    keeping that would keep the camera, and an exception would end the process.
    """

    class RemovalWatch(pyspin.InterfaceEventHandler):  # type: ignore[misc]  # known once PySpin is loaded
        def __init__(self) -> None:
            super().__init__()

        def OnDeviceArrival(self, camera: Any) -> None:
            tell("arrival")

        def OnDeviceRemoval(self, camera: Any) -> None:
            tell("removal")

    return RemovalWatch()
