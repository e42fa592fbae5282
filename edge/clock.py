"""Time as a thing that is passed in: the host's monotonic clock, or a stepped one in tests."""

from __future__ import annotations

import threading
import time
from typing import Protocol

MILLISECONDS_NS = 1_000_000


class Clock(Protocol):
    """Monotonic nanoseconds, and waiting that a stop can cut short."""

    def now_ns(self) -> int:
        """Monotonic time in nanoseconds; only differences mean something."""

    def wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        """Wait until `due_ns` or until `stop` is set; True when it was set."""


class MonotonicClock:
    """The host's own clock."""

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return time.monotonic_ns()

    def wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        """See `Clock.wait_until`."""
        return stop.wait(max(0, due_ns - time.monotonic_ns()) / 1e9)
