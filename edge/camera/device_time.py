"""A device's clock on the host's monotonic one. Pure: every reading is passed in.

    host   ──before──┬──after──────────────▶      The device was read somewhere between before and after; the
    device ──────────●─────────────────────▶      middle is taken, and of several readings the tightest.

Two crystals differ by some 50 parts in a million, a millisecond every twenty seconds. So the clock is read again
and again, and the rate between the oldest and the newest reading kept is used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from edge.camera.driver import ClockReading

READINGS_KEPT = 32
ARRIVALS_KEPT = 256
SHORTEST_SPAN_NS = 30_000_000_000
"""Over less than this, the error of the readings is more than what drift makes."""
LARGEST_DRIFT = 1e-3
"""Far beyond any crystal: a clock that moves so differently was set, or reset."""
JUMP_NS = 5_000_000


class DeviceTime:
    """Maps the stamps of one device. Not thread-safe.

    Without readings, for a device that cannot be asked, the quickest of the last arrivals is taken to have had
    no latency: moments then come out late by that latency, always the same.
    """

    def __init__(self) -> None:
        self._points: deque[tuple[int, int]] = deque(maxlen=READINGS_KEPT)
        self._offsets: deque[int] = deque(maxlen=ARRIVALS_KEPT)
        self._stamp: int | None = None

    def restart(self) -> None:
        """The device counts anew: forget everything."""
        self._points.clear()
        self._offsets.clear()
        self._stamp = None

    def latched(self, readings: Sequence[ClockReading]) -> bool:
        """Take readings made one right after the other, at least one.

        False when the clock stood still, ran backwards or jumped since the readings before; those are then
        forgotten.
        """
        best = min(readings, key=lambda reading: reading.host_after_ns - reading.host_before_ns)
        point = ((best.host_before_ns + best.host_after_ns) // 2, best.device_ns)
        steady = not self._points or _steady(self._points[-1], point)
        if not steady:
            self._points.clear()
        self._points.append(point)
        return steady

    def arrived(self, device_ns: int, host_ns: int) -> None:
        """Note that the picture stamped `device_ns` was in the host's hands at `host_ns`."""
        self._offsets.append(host_ns - device_ns)

    def advanced(self, device_ns: int) -> bool:
        """Whether the stamp of a new picture lies after that of the picture before, as it must.

        If it lies before, the clock was set: what was learnt from arrivals is forgotten.
        """
        before, self._stamp = self._stamp, device_ns
        if before is not None and device_ns < before:
            self._offsets.clear()
        return before is None or device_ns > before

    def host_ns(self, device_ns: int) -> int | None:
        """That moment in the host's monotonic nanoseconds; None while nothing is known of the device's clock."""
        if self._points:
            host, device = self._points[-1]
            return host + round((device_ns - device) * self.rate)
        if self._offsets:
            return device_ns + min(self._offsets)
        return None

    @property
    def rate(self) -> float:
        """Host nanoseconds for each nanosecond of the device: 1 until readings span long enough to tell."""
        if not self._points or self._points[-1][0] - self._points[0][0] < SHORTEST_SPAN_NS:
            return 1.0
        (first_host, first_device), (last_host, last_device) = self._points[0], self._points[-1]
        return (last_host - first_host) / (last_device - first_device)


def _steady(before: tuple[int, int], now: tuple[int, int]) -> bool:
    host, device = now[0] - before[0], now[1] - before[1]
    return device > 0 and abs(device - host) <= JUMP_NS + LARGEST_DRIFT * host
