"""The Spinnaker backend: a Blackfly S, or one of its kind, through its maker's PySpin.

Every call into the SDK is made behind a `Door` (see `edge.camera.spinnaker_errors`), so that no error keeps the
camera from being released. The Python module is passed in, or loaded at the opening.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from edge.camera.driver import CameraLostError, ClockReading, DeviceHealth, DeviceIdentity, Grabbed
from edge.camera.spinnaker_errors import TIMEOUT, Door, code_of
from edge.camera.spinnaker_library import load_pyspin
from edge.camera.spinnaker_nodes import Nodes
from edge.camera.spinnaker_picture import PictureReader
from edge.camera.spinnaker_session import SpinnakerSession
from edge.camera.spinnaker_settings import (
    CHUNKS,
    EDGE_COUNTER,
    EXTRA_CHUNKS,
    camera_settings,
    stream_settings,
)
from edge.camera.spinnaker_setup import Applied, apply
from edge.camera.trigger_edges import EdgeCount
from edge.camera_config import SpinnakerCameraConfig
from edge.errors import ConfigError

LOG = logging.getLogger("adclip.camera.spinnaker")

HOST_LOSSES = ("StreamLostFrameCount", "StreamDroppedFrameCount", "StreamBufferUnderrunCount")
COUNTER_ENDED = ("CounterCompleted", "CounterOverflow")


class SpinnakerDriver:
    """See `Driver`. Opening raises `OpenError` or `ConfigError`.

    `set_user_output` may be called from another thread than the rest.
    """

    frame_id_period = 2**64

    def __init__(
        self,
        config: SpinnakerCameraConfig,
        pyspin: Any = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
        root: Path = Path("/"),
    ) -> None:
        self._config, self._now_ns, self._root = config, now_ns, root
        self._pyspin = load_pyspin() if pyspin is None else pyspin
        self._door = Door(self._pyspin)
        self._outputs = threading.Lock()
        self._session: SpinnakerSession | None = None
        self._door.open("be opened", self._open, undo=self.close)

    def start(self) -> None:
        """See `Driver.start`. Raises `OperateError` when there is no memory for the buffers."""
        self._door.call("begin to deliver pictures", self._start)

    def grab(self, timeout_ms: float) -> Grabbed | None:
        """See `Driver.grab`."""
        return self._door.call("deliver a picture", partial(self._grab, max(1, round(timeout_ms))))

    def fire(self) -> None:
        """See `Driver.fire`."""
        self._door.call("be triggered by software", lambda: self._device().execute("TriggerSoftware"))

    def read_clock(self) -> ClockReading:
        """See `Driver.read_clock`."""
        return self._door.call("tell its time", self._read_clock)

    def trigger_count(self) -> int | None:
        """See `Driver.trigger_count`. Raises `CameraLostError`."""
        return self._door.call("tell its count of triggers", self._trigger_count)

    def health(self) -> DeviceHealth:
        """See `Driver.health`."""
        return self._door.call("tell its state", self._health)

    def line_status(self) -> int | None:
        """Levels of the camera's lines at the end of the last exposure, line 0 in bit 0; None when not told."""
        return self._reader.line_status

    def set_user_output(self, index: int, level: bool) -> None:
        """Put the camera's UserOutput `index`, 0 to 3, to a level; a line whose source it is follows.

        Raises `ConfigError` for an output that it does not have, and `CameraLostError`.
        """
        with self._outputs:
            self._door.call("set its output", partial(self._set_user_output, index, level))

    def close(self) -> None:
        """See `Driver.close`."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    # -- behind the door

    def _open(self) -> None:
        config = self._config
        session = self._session = SpinnakerSession(self._pyspin, self._root)
        session.open(config.serial, allow_slow_link=config.allow_slow_link)
        applied = apply(camera_settings(config), session.device())
        apply(stream_settings(config.buffers), session.stream())
        self.identity = _identity(session)
        self._edges = self._counter(applied)
        self._reader = self._new_reader(applied, session.device())
        self._read_clock()  # a camera whose clock cannot be read is found out now

    def _start(self) -> None:
        camera = self._open_session().camera
        if not camera.IsStreaming():
            self._reader.restart()
            camera.BeginAcquisition()

    def _grab(self, timeout_ms: int) -> Grabbed | None:
        image = self._next_image(timeout_ms)
        if image is None:
            self._look_for_it()
            return None
        try:
            return self._reader.read(image)
        finally:
            image.Release()

    def _next_image(self, timeout_ms: int) -> Any:
        try:
            return self._open_session().camera.GetNextImage(timeout_ms)
        except self._pyspin.SpinnakerException as fault:
            if code_of(fault) != TIMEOUT:
                raise
        return None

    def _look_for_it(self) -> None:
        """No picture is no fault, but an unplugged camera may show as nothing else for a while."""
        session = self._open_session()
        events = session.events()
        if not session.camera.IsValid():
            raise _gone()
        if "removal" in events:
            self._read_clock()  # it may have been another camera: one command tells

    def _read_clock(self) -> ClockReading:
        device = self._device()
        before_ns = self._now_ns()
        device.execute("TimestampLatch")
        after_ns = self._now_ns()
        return ClockReading(before_ns, int(device.read("TimestampLatchValue")), after_ns)

    def _trigger_count(self) -> int | None:
        if self._edges is None:
            return None
        device = self._device()
        device.select("CounterSelector", EDGE_COUNTER)
        count = self._edges.unwrap(int(device.read("CounterValue")))
        if device.read_text("CounterStatus") in COUNTER_ENDED:
            self._restart_counter(device, self._edges)
        return count

    def _restart_counter(self, device: Nodes, edges: EdgeCount) -> None:
        LOG.warning("the camera's counter of triggers came to its end and is started again")
        device.write("CounterEventSource", "Off")
        device.write("CounterEventSource", self._config.trigger.line)
        edges.begin_anew()

    def _health(self) -> DeviceHealth:
        session = self._open_session()
        self._read_clock()  # a command that only a camera that is there carries out
        device, stream = session.device(), session.stream()
        host = [stream.read_number(name) for name in HOST_LOSSES]
        known = [number for number in host if number is not None]
        throughput = device.read_number("DeviceLinkCurrentThroughput")
        return DeviceHealth(
            temperature_c=device.read_number("DeviceTemperature"),
            link_errors=_whole(device.read_number("LinkErrorCount")),
            lost_in_camera=_whole(device.read_number("TransferQueueOverflowCount")),
            lost_in_host=_whole(sum(known)) if known else None,
            throughput_mb_s=None if throughput is None else throughput / 1e6,
        )

    def _set_user_output(self, index: int, level: bool) -> None:
        device = self._device()
        device.select("UserOutputSelector", f"UserOutput{index}")
        device.write("UserOutputValue", level)

    def _counter(self, applied: Applied) -> EdgeCount | None:
        """The unwrapper of the camera's count of edges, None when it does not count them."""
        selectors = (("CounterSelector", EDGE_COUNTER),)
        source = applied.get(("CounterEventSource", selectors))
        duration = applied.get(("CounterDuration", selectors))
        if source is not None and duration is not None:
            return EdgeCount(int(duration[1]))
        if self._config.trigger.mode == "hardware":
            LOG.warning("the camera does not count triggers: one that starts no exposure is not noticed")
        return None

    def _new_reader(self, applied: Applied, device: Nodes) -> PictureReader:
        chunks = [
            name
            for name in (*CHUNKS, *EXTRA_CHUNKS)
            if ("ChunkEnable", (("ChunkSelector", name),)) in applied
        ]
        return PictureReader(
            self._pyspin,
            self._config.pixel_format,
            frozenset(chunks),
            exposure_us=float(device.read("ExposureTime")),
            gain_db=float(device.read("Gain")),
            edges=self._edges,
        )

    def _device(self) -> Nodes:
        return self._open_session().device()

    def _open_session(self) -> SpinnakerSession:
        if self._session is None:
            raise CameraLostError("The camera is closed.", do="Open it again.")
        return self._session


def _identity(session: SpinnakerSession) -> DeviceIdentity:
    transport, device = session.transport(), session.device()
    speed = transport.read_text("DeviceCurrentSpeed") or "unknown speed"
    serial = transport.read_text("DeviceSerialNumber")
    if serial is None:
        raise ConfigError("The camera does not tell its serial number.", do="Use another camera.")
    return DeviceIdentity(
        vendor=transport.read_text("DeviceVendorName") or "unknown maker",
        model=transport.read_text("DeviceModelName") or "unknown model",
        serial=serial,
        firmware=device.read_text("DeviceFirmwareVersion") or "unknown",
        link=f"USB, {speed}",
    )


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _gone() -> CameraLostError:
    return CameraLostError("The camera is gone.", do="Check its cable and power.")
