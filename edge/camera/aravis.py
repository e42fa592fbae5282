"""GenICam cameras over USB3 Vision and GigE Vision through Aravis.

The buffers are the library's; each picture is copied out once and its buffer handed back before `grab` returns.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from edge.camera import aravis_settings
from edge.camera.aravis_buffer import BufferMemory
from edge.camera.aravis_features import Features, lost, message
from edge.camera.aravis_library import AravisLibrary, load_aravis
from edge.camera.driver import CameraLostError, ClockReading, DeviceHealth, DeviceIdentity, Grabbed
from edge.camera_config import AravisCameraConfig
from edge.errors import ConfigError, OpenError
from edge.messages import PixelFormat

GIGE_FRAME_IDS = 65535
USB3_FRAME_IDS = 2**64
LATCHES = (("TimestampLatch", "TimestampLatchValue"), ("GevTimestampControlLatch", "GevTimestampValue"))
_CONTENT = {"BayerRG12p": PixelFormat.BAYER_RG12, "Mono12p": PixelFormat.MONO12}


class AravisDriver:
    """See `Driver`. Opening raises what `open_driver` says."""

    def __init__(self, config: AravisCameraConfig) -> None:
        self._library = load_aravis()
        self._config = config
        self._lost = threading.Event()
        self._stream: Any = None
        self._camera: Any = _open(self._library, config.serial)
        self._features = Features(self._library, self._camera)
        self._memory = BufferMemory()
        try:
            self._configure()
        except CameraLostError as fault:
            self.close()
            raise OpenError(
                f"The camera with serial number {config.serial} went away while it was being set up.",
                do=fault.do,
            ) from fault
        except (ConfigError, OpenError):
            self.close()
            raise

    @property
    def identity(self) -> DeviceIdentity:
        """See `Driver.identity`."""
        return self._identity

    @property
    def frame_id_period(self) -> int:
        """See `Driver.frame_id_period`."""
        return self._frame_id_period

    def start(self) -> None:
        """See `Driver.start`."""
        try:
            self._stream = self._camera.create_stream(None, None)
            payload = self._camera.get_payload()
            for _ in range(self._config.buffers):
                self._stream.push_buffer(self._library.aravis.Buffer.new_allocate(payload))
            self._camera.start_acquisition()
        except self._library.error as fault:
            raise lost(message(fault)) from fault

    def grab(self, timeout_ms: float) -> Grabbed | None:
        """See `Driver.grab`."""
        buffer = self._stream.timeout_pop_buffer(round(timeout_ms * 1000))
        if buffer is None:
            if self._lost.is_set():
                raise lost("the library reports that control is lost")
            return None
        try:
            return self._grabbed(buffer)
        finally:
            self._stream.push_buffer(buffer)

    def fire(self) -> None:
        """See `Driver.fire`."""
        self._features.execute("TriggerSoftware")

    def read_clock(self) -> ClockReading | None:
        """See `Driver.read_clock`."""
        if self._latch is None:
            return None
        command, value = self._latch
        before_ns = time.monotonic_ns()
        self._features.execute(command)
        after_ns = time.monotonic_ns()
        ticks = self._features.read(value, int)
        return ClockReading(before_ns, round(ticks * self._tick_ns), after_ns)

    def trigger_count(self) -> int | None:
        """See `Driver.trigger_count`."""
        return int(self._features.read("CounterValue", int)) if self._counts_edges else None

    def health(self) -> DeviceHealth:
        """See `Driver.health`."""
        self._features.read("Width", int)  # for a camera that has none of the others: is it there at all
        throughput = self._reported("DeviceLinkCurrentThroughput", int)
        return DeviceHealth(
            temperature_c=self._reported("DeviceTemperature", float),
            link_errors=self._reported("LinkErrorCount", int),
            lost_in_camera=self._reported("TransferQueueOverflowCount", int),
            lost_in_host=None
            if self._stream is None
            else self._stream.get_info_uint64_by_name("n_underruns"),
            throughput_mb_s=None if throughput is None else throughput / 1e6,
        )

    def close(self) -> None:
        """See `Driver.close`."""
        camera, self._camera = self._camera, None
        if camera is not None and self._stream is not None and not self._lost.is_set():
            try:
                camera.stop_acquisition()
            except self._library.error:
                self._lost.set()
        # The device is let go when nothing refers to it any more.
        self._stream = None
        self._features.release()

    # -- opening

    def _configure(self) -> None:
        camera = self._camera
        # Called in a thread of the library. It must not refer to the driver, or nothing would be let go.
        camera.get_device().connect("control-lost", _setter(self._lost))
        aravis_settings.apply(self._features, self._config)
        self._counts_edges = self._config.trigger.mode == "hardware" and aravis_settings.count_edges(
            self._features, self._config.trigger
        )
        self._link = self._set_up_link()
        self._frame_id_period = self._find_frame_id_period()
        self._latch, self._tick_ns = self._find_clock()
        self._exposure_us, self._gain_db = self._read_exposure()
        self._reports = {name for name in _REPORTS if self._features.has(name)}
        self._identity = self._find_identity()

    def _set_up_link(self) -> str:
        camera = self._camera
        try:
            if camera.is_gv_device():
                return f"GigE Vision, packets of {self._set_packet_size()} bytes"
            if camera.is_uv_device():
                if hasattr(camera, "uv_set_usb_mode"):
                    camera.uv_set_usb_mode(self._library.aravis.UvUsbMode.ASYNC)
                return "USB3 Vision"
        except self._library.error as fault:
            raise _refused("packet size", fault) from fault
        return "unknown link"

    def _set_packet_size(self) -> int:
        wanted = self._config.packet_size
        if wanted is None:
            return int(self._camera.gv_auto_packet_size())
        self._camera.gv_set_packet_size(wanted)
        kept = int(self._camera.gv_get_packet_size())
        if kept != wanted:
            raise ConfigError(
                f"The camera keeps its packet size at {kept} bytes instead of {wanted}.",
                do="Leave camera.packet_size out, so that the size is found.",
            )
        return kept

    def _find_frame_id_period(self) -> int:
        wide = "GevGVSPExtendedIDMode"
        if not self._camera.is_gv_device() or (
            self._features.has(wide) and self._features.read(wide, str) == "On"
        ):
            return USB3_FRAME_IDS
        return GIGE_FRAME_IDS

    def _find_clock(self) -> tuple[tuple[str, str] | None, float]:
        for command, value in LATCHES:
            if self._features.has(command) and self._features.has(value):
                return (command, value), self._find_tick_ns(value)
        return None, 1.0

    def _find_tick_ns(self, value: str) -> float:
        frequency = "GevTimestampTickFrequency"
        if value.startswith("Gev") and self._features.has(frequency):
            return 1e9 / float(max(1, self._features.read(frequency, int)))
        return 1.0

    def _read_exposure(self) -> tuple[float, float]:
        exposure = self._features.first(*aravis_settings.EXPOSURE)
        gain_db = self._features.read("Gain", float) if self._features.has("Gain") else 0.0
        return self._features.read(exposure or "ExposureTime", float), gain_db

    def _find_identity(self) -> DeviceIdentity:
        firmware = self._features.first("DeviceFirmwareVersion", "DeviceVersion")
        return DeviceIdentity(
            vendor=self._camera.get_vendor_name(),
            model=self._camera.get_model_name(),
            serial=self._config.serial,
            firmware=self._features.read(firmware, str) if firmware else "unknown",
            link=self._link,
        )

    # -- one picture

    def _grabbed(self, buffer: Any) -> Grabbed | None:
        status = self._library.aravis.BufferStatus
        if buffer.get_status() in (status.CLEARED, status.ABORTED, status.UNKNOWN, status.FILLING):
            return None
        complete = buffer.get_status() == status.SUCCESS
        # What did not arrive of a picture is what the buffer held before: another part.
        picture = self._memory.picture(buffer) if complete else None
        return Grabbed(
            frame_id=buffer.get_frame_id(),
            device_ns=buffer.get_timestamp(),
            image=picture[0] if picture else None,
            pixel_format=picture[1] if picture else self._pixel_format,
            complete=complete,
            exposure_us=self._exposure_us,
            gain_db=self._gain_db,
        )

    @property
    def _pixel_format(self) -> PixelFormat:
        name = self._config.pixel_format
        return _CONTENT.get(name) or PixelFormat(name)

    def _reported(self, name: str, kind: type[int] | type[float]) -> Any:
        return self._features.read(name, kind) if name in self._reports else None


_REPORTS = (
    "DeviceTemperature",
    "LinkErrorCount",
    "TransferQueueOverflowCount",
    "DeviceLinkCurrentThroughput",
)


def _open(library: AravisLibrary, serial: str) -> Any:
    aravis = library.aravis
    aravis.update_device_list()
    places = range(aravis.get_n_devices())
    place = next((n for n in places if aravis.get_device_serial_nbr(n) == serial), None)
    if place is None:
        present = [f"{_name(aravis, n)} with serial number {aravis.get_device_serial_nbr(n)}" for n in places]
        raise OpenError(
            f"No camera with serial number {serial} is there; found: {', '.join(present) or 'none'}.",
            do="Check cable, power and, for USB, the udev rules of Aravis; or correct camera.serial.",
        )
    try:
        camera = aravis.Camera.new(aravis.get_device_id(place))
    except library.error as fault:
        raise _in_use(serial, message(fault)) from fault
    device = camera.get_device()
    if hasattr(device, "is_controller") and not device.is_controller():
        raise _in_use(serial, "it obeys one program only")
    return camera


def _name(aravis: Any, place: int) -> str:
    return f"{aravis.get_device_vendor(place)} {aravis.get_device_model(place)}"


def _in_use(serial: str, why: str) -> OpenError:
    return OpenError(
        f"The camera with serial number {serial} is there but cannot be taken over: {why}.",
        do="Close the other program that holds it (a viewer, another adclip, another computer), then try again.",
    )


def _refused(what: str, fault: Any) -> ConfigError:
    return ConfigError(
        f"The camera refuses its {what}: {message(fault)}.",
        do="Check the network, or set camera.packet_size.",
    )


def _setter(event: threading.Event) -> Any:
    return lambda _device: event.set()
