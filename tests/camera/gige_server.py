"""A GigE Vision camera on the loopback interface, made of the library's simulated one and of our rendered frames.

    pulses ──▶ trigger source, line, busy? ──▶ exposure ──▶ fill: scene × exposure × gain, stamp ──▶ UDP

Run as a process of its own, so that it can be killed and stopped: `gige_server.py SERIAL [OPTION=VALUE...]`.
Commands come as lines on standard input, each is answered by one line of JSON. Only one such camera can serve a
machine; a second one waits until the first has ended.

It does not model: readout and exposure time, the moment of the latch command, chunk data, packet resends, a link
of limited rate. The picture carries the number of its pulse in its first eight pixels; its stamp is of the
device's own clock.
"""

import contextlib
import ctypes as c
import fcntl
import json
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from genicam_xml import (
    COUNTER_SOURCE,
    COUNTER_VALUE,
    GAIN,
    LATCH_VALUE,
    LINES,
    TEMPERATURE,
    TRIGGER_SOFTWARE,
    TRIGGER_SOURCE,
    loopback_xml,
)

from edge.camera.scene import PRODUCTS, Line

SENSOR_HEIGHT, SENSOR_WIDTH, WIDTH, HEIGHT = 0x118, 0x11C, 0x100, 0x104
OFFSET_X, OFFSET_Y, TRIGGER_MODE, FAKE_SOURCE, FAKE_TRIGGER = 0x130, 0x134, 0x300, 0x304, 0x30C
FRAME_IDS = 65535
NOMINAL_EXPOSURE_US = 400.0
FILL = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.c_uint32, c.c_uint32, c.c_uint32)
TWELVE_BITS = (0x010C0059, 0x010C0047)


def load_library():
    lib = c.CDLL("libaravis-0.8.so.0")
    pointer, number = c.c_void_p, c.c_uint32
    for name, result, arguments in (
        ("arv_fake_camera_new", pointer, [c.c_char_p]),
        ("arv_fake_camera_get_genicam_xml", pointer, [pointer, c.POINTER(c.c_size_t)]),
        ("arv_gv_fake_camera_new_full", pointer, [c.c_char_p] * 3),
        ("arv_gv_fake_camera_is_running", c.c_int, [pointer]),
        ("arv_gv_fake_camera_get_fake_camera", pointer, [pointer]),
        ("arv_fake_camera_set_fill_pattern", None, [pointer, FILL, pointer]),
        ("arv_fake_camera_set_trigger_frequency", None, [pointer, c.c_double]),
        ("arv_fake_camera_read_register", c.c_int, [pointer, number, c.POINTER(number)]),
        ("arv_fake_camera_write_register", c.c_int, [pointer, number, number]),
        ("arv_fake_camera_read_memory", c.c_int, [pointer, number, number, pointer]),
        ("arv_fake_camera_write_memory", c.c_int, [pointer, number, number, pointer]),
        ("arv_buffer_get_data", pointer, [pointer, c.POINTER(c.c_size_t)]),
        ("arv_buffer_get_image_width", c.c_int, [pointer]),
        ("arv_buffer_get_image_height", c.c_int, [pointer]),
        ("arv_buffer_set_frame_id", None, [pointer, c.c_uint64]),
        ("arv_buffer_set_timestamp", None, [pointer, c.c_uint64]),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Registers:
    """The memory of the simulated device."""

    def __init__(self, lib, device):
        self._lib, self._device = lib, device

    def read(self, address):
        value = c.c_uint32()
        self._lib.arv_fake_camera_read_register(self._device, address, c.byref(value))
        return value.value

    def write(self, address, value):
        self._lib.arv_fake_camera_write_register(self._device, address, value)

    def read_float(self, address):
        memory = c.create_string_buffer(8)
        self._lib.arv_fake_camera_read_memory(self._device, address, 8, memory)
        return struct.unpack(">d", memory.raw)[0]

    def write_memory(self, address, content):
        self._lib.arv_fake_camera_write_memory(self._device, address, len(content), content)


class DeviceClock:
    """Nanoseconds since an arbitrary start, at a rate of its own."""

    def __init__(self, drift_ppm):
        self._rate = 1 + drift_ppm * 1e-6
        self._start = time.monotonic_ns()
        self.stalled_at = None

    def at(self, host_ns):
        if self.stalled_at is not None:
            return self.stalled_at
        return 1_000_000_000 + round((host_ns - self._start) * self._rate)


class Pictures:
    """Rendered parts as the sensor would give them at an exposure and a gain."""

    def __init__(self, width, height, count):
        line = Line(PRODUCTS["turned-ring"], seed=1, width=width, height=height)
        self._parts = [line.part(number).image for number in range(1, count + 1)]
        self._made = {}

    def get(self, number, exposure_us, gain_db, window, twelve_bits):
        key = (number % len(self._parts), exposure_us, gain_db, window, twelve_bits)
        if key not in self._made:
            if len(self._made) > 2 * len(self._parts):
                self._made.clear()
            x, y, width, height = window
            scale = exposure_us / NOMINAL_EXPOSURE_US * 10 ** (gain_db / 20)
            table = np.clip(np.rint(np.arange(256) * scale), 0, 255).astype(np.uint8)
            picture = table[self._parts[key[0]][y : y + height, x : x + width]]
            self._made[key] = pack_12p(picture) if twelve_bits else np.ascontiguousarray(picture)
        return self._made[key]


def pack_12p(picture):
    """Two pixels of 12 bit in three bytes, least significant first; the low four bits are 0."""
    pairs = picture.reshape(-1, 2).astype(np.uint16) << 4
    packed = np.empty((len(pairs), 3), np.uint8)
    packed[:, 0] = pairs[:, 0] & 0xFF
    packed[:, 1] = (pairs[:, 0] >> 8) | ((pairs[:, 1] & 0x0F) << 4)
    packed[:, 2] = pairs[:, 1] >> 4
    return packed.reshape(-1)


class Server:
    def __init__(self, serial, width, height, pictures, latch, counter, drift_ppm):
        self._lib = load_library()
        # Rendered before the device can be found: whoever finds it must find it complete.
        self._pictures = Pictures(width, height, pictures)
        self._gv = self._new(serial, latch, counter)
        device = self._lib.arv_gv_fake_camera_get_fake_camera(self._gv)
        self._registers = Registers(self._lib, device)
        self._clock = DeviceClock(drift_ppm)
        self._lock = threading.Lock()
        self._pending = None  # the pulse whose picture the device has not begun to send: number and moment
        self._frame_id = 65400
        self._pulse = self._ignored = self._exposed = self._unsent = 0
        for address, value in (
            (SENSOR_WIDTH, width),
            (SENSOR_HEIGHT, height),
            (WIDTH, width),
            (HEIGHT, height),
        ):
            self._registers.write(address, value)
        self._registers.write(FAKE_SOURCE, LINES["Software"])
        self._registers.write(COUNTER_SOURCE, 9)
        self._registers.write_memory(TEMPERATURE, struct.pack(">d", 41.5))
        self._lib.arv_fake_camera_set_trigger_frequency(device, 1000.0)
        self._fill = FILL(self._fill_buffer)  # kept: the library calls it for as long as the process lives
        self._lib.arv_fake_camera_set_fill_pattern(device, self._fill, None)

    def _new(self, serial, latch, counter):
        size = c.c_size_t()
        stock = self._lib.arv_fake_camera_new(b"STOCK")
        text = c.string_at(
            self._lib.arv_fake_camera_get_genicam_xml(stock, c.byref(size)), size.value
        ).decode()
        with tempfile.NamedTemporaryFile("w", suffix=".xml", delete=False) as file:
            file.write(loopback_xml(text.rstrip("\0"), latch, counter))
        gv = self._lib.arv_gv_fake_camera_new_full(b"127.0.0.1", serial.encode(), file.name.encode())
        Path(file.name).unlink()
        if not self._lib.arv_gv_fake_camera_is_running(gv):
            raise SystemExit("the loopback camera cannot use its ports")
        return gv

    # -- what the device does

    def _fill_buffer(self, buffer, _data, exposure_us, _gain, pixel_format):
        with self._lock:
            number, moment = self._pending or (self._next_pulse(), time.monotonic_ns())
            self._pending = None
            self._frame_id = self._frame_id % FRAME_IDS + 1
            self._exposed += 1
        window = (
            self._registers.read(OFFSET_X),
            self._registers.read(OFFSET_Y),
            self._lib.arv_buffer_get_image_width(buffer),
            self._lib.arv_buffer_get_image_height(buffer),
        )
        gain_db = self._registers.read_float(GAIN)
        picture = self._pictures.get(number, exposure_us, gain_db, window, pixel_format in TWELVE_BITS)
        address = self._lib.arv_buffer_get_data(buffer, c.byref(c.c_size_t()))
        c.memmove(address, picture.ctypes.data, picture.nbytes)
        if pixel_format not in TWELVE_BITS:
            c.memmove(address, struct.pack("<Q", number), 8)
        self._lib.arv_buffer_set_frame_id(buffer, self._frame_id)
        self._lib.arv_buffer_set_timestamp(buffer, self._clock.at(moment))

    def _next_pulse(self):
        self._pulse += 1
        return self._pulse

    def _edge(self, source, unsent=False, busy=False):
        """One edge at a line, or a software trigger. A camera that still has one pending ignores it."""
        now_ns = time.monotonic_ns()
        with self._lock:
            number = self._next_pulse()
            if self._registers.read(COUNTER_SOURCE) == source:
                self._registers.write(COUNTER_VALUE, self._registers.read(COUNTER_VALUE) + 1)
            armed = self._registers.read(TRIGGER_MODE) == 1 and self._registers.read(TRIGGER_SOURCE) == source
            if not armed or busy or self._pending is not None:
                self._ignored += 1
                fate = "ignored"
            elif unsent:  # exposed, but lost on its way: only the frame id tells
                self._frame_id = self._frame_id % FRAME_IDS + 1
                self._unsent += 1
                fate = "lost"
            else:
                self._pending = (number, now_ns)
                self._registers.write(FAKE_TRIGGER, 1)
                fate = "exposed"
        return {"pulse": number, "host_ns": now_ns, "fate": fate}

    def watch(self):
        """Serve the registers that the library only stores."""
        while True:
            if self._registers.read(TRIGGER_SOFTWARE):
                self._registers.write(TRIGGER_SOFTWARE, 0)
                self._edge(LINES["Software"])
            # The latch command itself is only stored; the value is kept up to date instead.
            self._registers.write_memory(LATCH_VALUE, struct.pack(">Q", self._clock.at(time.monotonic_ns())))
            time.sleep(0.0005)

    # -- commands

    def pulse(self, line="Line0", count=1, period_ms=0.0, lose=(), swallow=()):
        """Edges at a line. The picture of each in `lose` is lost; each in `swallow` starts no exposure."""
        edges, due = [], time.monotonic()
        for n in range(1, count + 1):
            time.sleep(max(0.0, due - time.monotonic()))
            due += period_ms / 1000
            if n in swallow:
                edges.append(self._edge(LINES[line], busy=True))
            else:
                edges.append(self._edge(LINES[line], unsent=n in lose))
            while self._exposed == 0 and self._pending:  # the library needs a while to begin streaming
                time.sleep(0.001)
                due = time.monotonic()
        return {"edges": edges}

    def loss(self, ratio):
        """The share of packets that do not arrive."""
        gobject = c.CDLL("libgobject-2.0.so.0")
        gobject.g_object_set.argtypes = [c.c_void_p, c.c_char_p, c.c_double, c.c_void_p]
        gobject.g_object_set(self._gv, b"gvsp-lost-ratio", ratio, None)
        return {}

    def frame_id(self, value):
        """The id of the picture before the next one."""
        with self._lock:
            self._frame_id = value
        return {}

    def stall(self, on):
        """Let the device's clock stand still, or go on."""
        self._clock.stalled_at = self._clock.at(time.monotonic_ns()) if on else None
        return {}

    def state(self):
        """What happened so far."""
        with self._lock:
            return {
                "pulses": self._pulse,
                "ignored": self._ignored,
                "exposed": self._exposed,
                "unsent": self._unsent,
                "pending": self._pending is not None,
                "frame_id": self._frame_id,
            }


def lock_the_machine():
    """Wait until no other loopback camera serves; the lock goes with the process."""
    file = (Path(tempfile.gettempdir()) / "adclip-loopback-camera.lock").open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def main(serial, *options):
    settings = {
        "width": 4096,
        "height": 2160,
        "pictures": 3,
        "latch": True,
        "counter": True,
        "drift_ppm": 0,
    } | {name: json.loads(value) for name, value in (option.split("=", 1) for option in options)}
    with lock_the_machine():
        server = Server(serial, **settings)
        threading.Thread(target=server.watch, daemon=True).start()
        answer({"ready": serial})
        for line in sys.stdin:
            request = json.loads(line)
            answer(getattr(server, request.pop("do"))(**request))


def answer(content):
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        main(*sys.argv[1:])
