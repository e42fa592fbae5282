"""Alarms, heartbeats and the status snapshot: what the supervisor and the people outside go by."""

from __future__ import annotations

import importlib
import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.clock import Clock

LOG = logging.getLogger("adclip.health")

BEAT_EVERY_NS = 250_000_000


@dataclass(frozen=True, slots=True)
class Alarm:
    """One kind of alarm: how often it was raised in this run, its last detail, and whether it stands now."""

    name: str
    count: int
    detail: str
    active: bool


class Alarms:
    """All alarms of a run. Raised from any thread; each first raise of a kind is logged as a warning."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alarms: dict[str, Alarm] = {}

    def raise_alarm(self, name: str, detail: str) -> None:
        """Raise an alarm; it stands until cleared."""
        with self._lock:
            before = self._alarms.get(name)
            self._alarms[name] = Alarm(name, (before.count if before else 0) + 1, detail, True)
        if before is None or not before.active:
            LOG.warning("alarm %s: %s", name, detail)

    def clear(self, name: str) -> None:
        """Say that the condition is over; the count stays."""
        with self._lock:
            before = self._alarms.get(name)
            if before is None or not before.active:
                return
            self._alarms[name] = Alarm(name, before.count, before.detail, False)
        LOG.warning("alarm %s is over", name)

    def snapshot(self) -> tuple[Alarm, ...]:
        """All alarms raised so far, in the order of their first raise."""
        with self._lock:
            return tuple(self._alarms.values())


class Heartbeats:
    """When each thread last made progress.

    Waiting for a moment through `BeatingClock` is progress; being stuck in a device call is not.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: dict[str, int] = {}

    def beat(self, name: str) -> None:
        """Called by the thread `name` itself."""
        self._beats[name] = self._clock.now_ns()

    def gone(self, name: str) -> None:
        """The thread `name` has ended on purpose."""
        self._beats.pop(name, None)

    def stalled(self, limit_ms: float) -> str | None:
        """The thread that made no progress for longer than `limit_ms`, or None."""
        oldest = min(self._beats.copy().items(), key=lambda item: item[1], default=None)
        if oldest is None or self._clock.now_ns() - oldest[1] <= limit_ms * 1e6:
            return None
        return oldest[0]


class BeatingClock:
    """A clock whose waits count as progress of one thread."""

    def __init__(self, clock: Clock, beat: Callable[[], None]) -> None:
        self._clock, self._beat = clock, beat

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        self._beat()
        return self._clock.now_ns()

    def wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        """See `Clock.wait_until`."""
        while True:
            self._beat()
            now = self._clock.now_ns()
            if self._clock.wait_until(min(due_ns, now + BEAT_EVERY_NS), stop):
                return True
            if self._clock.now_ns() >= due_ns:
                return False


def write_status(path: Path, status: dict[str, Any]) -> None:
    """Replace the status snapshot in one step, so that a reader never sees half of it.

    A full or missing disk must not stop the line: the failure is logged and the line goes on.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(json.dumps(status, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as fault:
        LOG.debug("the status snapshot %s was not written: %s", path, fault)


def notify_service_manager(state: str) -> None:
    """Tell systemd `READY=1`, `WATCHDOG=1`, … when it started us; do nothing otherwise."""
    if "NOTIFY_SOCKET" not in os.environ:
        return
    try:
        daemon = importlib.import_module("systemd.daemon")
    except ImportError:
        LOG.warning("systemd started this process, but systemd-python is missing: no watchdog is fed")
        return
    daemon.notify(state)
