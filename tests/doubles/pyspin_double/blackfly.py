"""One simulated camera: its registers, the rules of access by state, its trigger input, and its buffers."""

import itertools
import threading

import numpy as np

from .errors import error
from .features import DEVICE, STREAM, TRANSPORT

READOUT_US = 23_000
"""Between two pictures at 42 frames per second, less the exposure."""
TRAILING_BYTES = 64
"""Chunk data at the end of a buffer."""


def grey(frame_id, height, width):
    """A picture of one value that tells its frame id."""
    return np.full((height, width), frame_id % 251 + 1, np.uint16)


class Blackfly:
    """A camera on the bus. The public methods are the world's side: pulses, plugs, other processes, faults."""

    def __init__(self, serial="23456789", *, without=(), speed="SuperSpeed"):
        self.serial, self.without = serial, set(without)
        self.features = {"device": dict(DEVICE), "transport": dict(TRANSPORT), "stream": dict(STREAM)}
        self.values = {}
        self.power_on()
        for space in ("device", "transport"):
            self.put("DeviceSerialNumber", serial, space=space)
        self.put("DeviceCurrentSpeed", speed, space="transport")
        self.scene = grey
        self.idle = lambda timeout_ms: None
        self.now_ns = itertools.count(5_000_000_000, 1_000).__next__
        self.held_by_other = False
        self.memory_for_buffers = True
        self.shows_unplug_by = {"event", "valid", "io"}
        self.timeouts_after_unplug = 0
        self.counter_wraps = True
        self.answers_from_cache = False  # whether node maps and values can be read after an unplug
        self.faults = []
        self.written = []
        self.bus = None  # where its arrival and removal are told; set by the module

    # -- the world's side

    def power_on(self):
        """Factory values, as after the plug went in."""
        for space in ("device", "stream"):
            self.factory_values(space)
        self.connected, self.initialised, self.streaming = True, False, False
        self.generation = getattr(self, "generation", 0) + 1
        self.pool, self.queue, self.next_id = [], [], 0
        self.exposure_end_us = self.readout_end_us = 0.0

    def leave(self, name, value, **selectors):
        """What another program left in the camera."""
        self.put(name, value, tuple(selectors.values()))

    def edge(self, line, which):
        """A level change at an input, `which` "rising" or "falling", now."""
        if not self.connected:
            return
        at_us = self.now_ns() / 1000
        for counter in ("Counter0", "Counter1"):
            if self.get("CounterEventSource", (counter,)) == line and _is(
                self.get("CounterEventActivation", (counter,)), which
            ):
                self.count(counter)
        frame = ("FrameStart",)
        if self.get("TriggerSource", frame) == line and _is(self.get("TriggerActivation", frame), which):
            self.trigger(at_us + self.get("TriggerDelay", frame))

    def at_ms(self, milliseconds):
        """Set the camera's clock and stop it."""
        self.now_ns = lambda: round(10**10 + milliseconds * 10**6)

    def pulse(self, line="Line0"):
        """Up and down again."""
        self.edge(line, "rising")
        self.edge(line, "falling")

    def fail_next(self, *kinds):
        """What becomes of the next pictures: ok, incomplete, lost (in the camera), foreign chunks, no chunks."""
        self.faults += kinds

    def unplug(self):
        """Pull the plug. Handlers are called in a thread of the SDK."""
        self.connected = self.streaming = False
        self.initialised = self.initialised and self.answers_from_cache
        self.queue.clear()
        if self.bus is not None and "event" in self.shows_unplug_by:
            self.bus.tell("OnDeviceRemoval", self)

    def plug(self):
        """Put it in again: it comes back with factory values."""
        self.power_on()
        if self.bus is not None:
            self.bus.tell("OnDeviceArrival", self)

    # -- registers

    def key(self, space, name, selected=None):
        selector = self.features[space][name].selector
        if not selector:
            return space, name, ()
        return space, name, selected or (self.values[space, selector, ()],)

    def get(self, name, selected=None, space="device"):
        key = self.key(space, name, selected)
        return self.values.get(key, self.features[space][name].value)

    def put(self, name, value, selected=None, space="device"):
        self.values[self.key(space, name, selected)] = value

    def factory_values(self, space):
        for name, feature in self.features[space].items():
            if not feature.constant:
                for key in [key for key in self.values if key[:2] == (space, name)]:
                    del self.values[key]
                if not feature.selector:
                    self.values[space, name, ()] = feature.value
        if space == "device":
            for line, mode in (
                ("Line0", "Input"),
                ("Line1", "Output"),
                ("Line2", "Input"),
                ("Line3", "Input"),
            ):
                self.values[space, "LineMode", (line,)] = mode
            for counter in ("Counter0", "Counter1"):
                self.values[space, "CounterValue", (counter,)] = 0
                self.values[space, "CounterStatus", (counter,)] = "CounterIdle"
            for chunk in ("Image", "CRC"):
                self.values[space, "ChunkEnable", (chunk,)] = chunk == "Image"

    def access(self, space, name):
        """ "NI", "NA", "RO", "WO" or "RW", in the state that the camera is in."""
        if name in self.without or name not in self.features[space]:
            return "NI"
        feature = self.features[space][name]
        if feature.constant:
            return "RO"
        if name == "TriggerSoftware":
            armed = self.get("TriggerMode") == "On" and self.get("TriggerSource") == "Software"
            return "WO" if armed else "NA"
        if feature.locked and self.streaming:
            return "NA" if feature.kind == "command" else "RO"
        if feature.kind == "command":
            return "WO"
        return "RW" if self.may_write(name) else "RO"

    def may_write(self, name):
        get = self.get
        rules = {
            "ExposureTime": lambda: get("ExposureAuto") == "Off" and get("ExposureMode") == "Timed",
            "Gain": lambda: get("GainAuto") == "Off",
            "BalanceRatio": lambda: get("BalanceWhiteAuto") == "Off",
            "AcquisitionFrameRate": lambda: get("AcquisitionFrameRateEnable"),
            "Gamma": lambda: get("GammaEnable"),
            "TriggerSource": lambda: get("TriggerMode") == "Off",
            "LineMode": lambda: get("LineSelector") == "Line2",
            "LineSource": lambda: get("LineMode") == "Output",
            "CounterTriggerSource": lambda: get("CounterResetSource") == "Off",
            "CounterResetSource": lambda: get("CounterTriggerSource") == "Off",
            "BinningHorizontal": lambda: self.undecimated(),
            "BinningVertical": lambda: self.undecimated(),
            "DecimationHorizontal": lambda: self.unbinned(),
            "DecimationVertical": lambda: self.unbinned(),
            "StreamBufferCountManual": lambda: get("StreamBufferCountMode", space="stream") == "Manual",
        }
        return rules.get(name, lambda: True)()

    def undecimated(self):
        return self.get("DecimationHorizontal") == self.get("DecimationVertical") == 1

    def unbinned(self):
        return self.get("BinningHorizontal") == self.get("BinningVertical") == 1

    def limits(self, space, name):
        """Least and greatest value now."""
        feature = self.features[space][name]
        high = {
            "Width": lambda: self.get("WidthMax") - self.get("OffsetX"),
            "Height": lambda: self.get("HeightMax") - self.get("OffsetY"),
            "OffsetX": lambda: self.get("WidthMax") - self.get("Width"),
            "OffsetY": lambda: self.get("HeightMax") - self.get("Height"),
        }.get(name, lambda: feature.high)()
        return feature.low, high

    def write(self, space, name, value):
        """A write that the rules allow."""
        self.must_answer()
        feature = self.features[space][name]
        if feature.quantum:
            value = round(value / feature.quantum) * feature.quantum
        self.put(name, value, space=space)
        self.written.append((name, value))
        if name == "CounterEventSource":
            counter = (self.get("CounterSelector"),)
            self.put("CounterValue", 0, counter)
            self.put("CounterStatus", "CounterIdle" if value == "Off" else "CounterActive", counter)

    def execute(self, name):
        self.must_answer()
        if name == "UserSetLoad":
            self.factory_values("device")
        elif name == "TimestampLatch":
            self.put("TimestampLatchValue", self.now_ns())
        elif name == "TriggerSoftware":
            self.trigger(self.now_ns() / 1000)

    def may_be_read(self):
        if not self.answers_from_cache:
            self.must_answer()

    def must_answer(self):
        if not self.connected:
            raise error("IO", "Could not access the camera: the device does not answer")

    # -- exposures

    def count(self, counter):
        selected, end = (counter,), self.get("CounterDuration", (counter,))
        if self.get("CounterStatus", selected) != "CounterActive":
            return
        value = self.get("CounterValue", selected) + 1
        if value >= end and self.counter_wraps:
            value = 0
        elif value >= end:
            self.put("CounterStatus", "CounterCompleted", selected)
        self.put("CounterValue", value, selected)

    def trigger(self, at_us):
        """Expose, unless the exposure or readout before is in the way: then nothing happens and nothing tells."""
        frame = ("FrameStart",)
        if not self.streaming or self.get("TriggerMode", frame) == "Off":
            return
        exposure = self.get("ExposureTime")
        if self.get("TriggerOverlap", frame) == "Off":
            free = at_us >= self.readout_end_us
        else:
            free = at_us >= self.exposure_end_us and at_us + exposure >= self.readout_end_us
        if free:
            self.expose(at_us)

    def expose(self, at_us):
        self.exposure_end_us = at_us + self.get("ExposureTime")
        self.readout_end_us = max(self.exposure_end_us, self.readout_end_us) + READOUT_US
        frame_id, self.next_id = self.next_id, self.next_id + 1
        kind = self.faults.pop(0) if self.faults else "ok"
        if kind == "lost":
            self.put("TransferQueueOverflowCount", self.get("TransferQueueOverflowCount") + 1)
        elif not self.pool:
            lost = self.get("StreamDroppedFrameCount", space="stream")
            self.put("StreamDroppedFrameCount", lost + 1, space="stream")
        else:
            self.queue.append(Picture(self, self.pool.pop(0), frame_id, round(at_us * 1000), kind))

    # -- the stream

    def begin(self):
        self.must_answer()
        if self.streaming:
            raise error("RESOURCE_IN_USE", "The camera is streaming already")
        if not self.memory_for_buffers:
            raise error("RESOURCE_EXHAUSTED", "Could not allocate the buffers of the stream")
        manual = self.get("StreamBufferCountMode", space="stream") == "Manual"
        count = self.get("StreamBufferCountManual", space="stream") if manual else 10
        size = self.get("Width") * self.get("Height") * 3 + TRAILING_BYTES
        self.pool = [np.empty(size, np.uint8) for _ in range(count)]
        self.queue, self.next_id, self.streaming = [], 0, True
        self.exposure_end_us = self.readout_end_us = 0.0

    def end(self):
        if not self.streaming:
            raise error("NOT_INITIALIZED", "The camera is not streaming")
        self.streaming, self.queue = False, []

    def next_picture(self, timeout_ms):
        if not self.connected:
            self.timeouts_after_unplug -= 1
            if self.timeouts_after_unplug >= 0 or "io" not in self.shows_unplug_by:
                raise error("TIMEOUT", "Failed waiting for EventData on NEW_BUFFER_DATA event.")
            self.must_answer()
        if not self.streaming:
            raise error("NOT_INITIALIZED", "The camera is not streaming")
        if not self.queue and self.get("TriggerMode", ("FrameStart",)) == "Off":
            self.expose(self.now_ns() / 1000)
        if not self.queue:
            self.idle(timeout_ms)
        if not self.queue:
            raise error("TIMEOUT", "Failed waiting for EventData on NEW_BUFFER_DATA event.")
        return self.queue.pop(0)


class Picture:
    """A picture in one of the driver's buffers."""

    def __init__(self, device, buffer, frame_id, stamp_ns, kind):
        self.device, self.buffer, self.frame_id, self.stamp_ns = device, buffer, frame_id, stamp_ns
        self.height, self.width = device.get("Height"), device.get("Width")
        self.format = device.get("PixelFormat")
        self.status = 3 if kind == "incomplete" else 0
        self.chunks = self.chunk_data(frame_id + 7 if kind == "foreign chunks" else frame_id, kind)
        self.fill()

    def chunk_data(self, frame_id, kind):
        device = self.device
        if not device.get("ChunkModeActive") or kind == "no chunks":
            return {}
        content = {
            "FrameID": frame_id,
            "Timestamp": self.stamp_ns,
            "ExposureTime": device.get("ExposureTime"),
            "Gain": device.get("Gain"),
            "BlackLevel": device.get("BlackLevel", ("All",)),
            "ExposureEndLineStatusAll": 0b0001,
            "CounterValue": device.get("CounterValue", ("Counter0",)),
        }
        entries = device.features["device"]["ChunkSelector"].entries
        return {
            name: content[name] for name in entries if name in content and device.get("ChunkEnable", (name,))
        }

    def fill(self):
        scene = self.device.scene(self.frame_id, self.height, self.width)
        if self.format.endswith("12p"):
            flat = pack_12p(scene.reshape(-1))
        elif self.format.startswith("RGB8"):
            flat = np.repeat(scene.astype(np.uint8).reshape(-1), 3)
        else:
            flat = scene.astype(np.uint8).reshape(-1)
        self.size = flat.size
        self.buffer[: flat.size] = flat
        self.buffer[flat.size :] = 0xC7

    def release(self):
        """The buffer goes back to the pool; the driver's next transfer overwrites it."""
        self.buffer[:] = 0xDB
        self.device.pool.append(self.buffer)


def pack_12p(pixels):
    """Bit by bit, least significant first: slow, and nothing like the code that undoes it."""
    bits = (pixels[:, None] >> np.arange(12)) & 1
    return np.packbits(bits.reshape(-1).astype(np.uint8), bitorder="little")


def in_foreign_thread(call):
    """Make a call in another thread, and let what it raises end the test: in the SDK it ends the process."""
    raised = []

    def run():
        try:
            call()
        except BaseException as fault:  # noqa: BLE001 - whatever it is must not be lost with its thread
            raised.append(fault)

    thread = threading.Thread(target=run, name="spinnaker-events")
    thread.start()
    thread.join()
    if raised:
        raise AssertionError("an exception left a callback") from raised[0]


def _is(activation, which):
    return activation in ({"rising": "RisingEdge", "falling": "FallingEdge"}[which], "AnyEdge")
