"""What the main thread does a few times a second while the line runs: watchdog, status snapshot, listeners."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Protocol

from edge.account import Counts
from edge.clock import MILLISECONDS_NS, Clock
from edge.config import StationConfig
from edge.health import Alarms, notify_service_manager, write_status
from edge.version import software_version

STATUS_EVERY_NS = 1_000_000_000


class Writer(Protocol):
    """What is seen of the records thread."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written."""

    def progress(self) -> int:
        """A number that rises while the thread is not stuck."""


class Supervisor:
    """Feeds the service manager's watchdog only while every thread advances.

    The pipeline calls `tick` only while its own threads do; the records thread is looked at here. One that is
    stuck in the disk leaves the watchdog unfed, so that the service manager restarts the daemon.
    """

    def __init__(
        self,
        config: StationConfig,
        counts: Callable[[], Counts],
        alarms: Alarms,
        writer: Writer,
        clock: Clock,
        on_tick: Callable[[Counts], None],
        camera_is_there: Callable[[], bool],
        notify: Callable[[str], None] = notify_service_manager,
    ) -> None:
        self._config, self._counts, self._alarms = config, counts, alarms
        self._writer, self._clock, self._on_tick, self._notify = writer, clock, on_tick, notify
        self._next_status_ns = 0
        self._writer_progress, self._writer_advanced_ns = writer.progress(), clock.now_ns()
        self._writer_stalled = self._camera_away = False
        self._camera_is_there = camera_is_there

    def tick(self) -> None:
        """Feed the watchdog, refresh the snapshot, tell whoever watches."""
        if self._writer_advances():
            self._notify("WATCHDOG=1")
        self._tell_of_camera(self._camera_is_there())
        self._on_tick(self._counts())
        if self._clock.now_ns() >= self._next_status_ns:
            self._next_status_ns = self._clock.now_ns() + STATUS_EVERY_NS
            self.write_status()

    def write_status(self) -> None:
        """Replace the status snapshot, when the station has one."""
        if self._config.status_file is not None:
            write_status(self._config.status_file, self._status())

    def _writer_advances(self) -> bool:
        """Whether the records thread has advanced within `stall_ms`, or has nothing to do."""
        now_ns, progress = self._clock.now_ns(), self._writer.progress()
        if progress != self._writer_progress or self._writer.idle:
            self._writer_progress, self._writer_advanced_ns = progress, now_ns
        limit_ns = self._config.limits.stall_ms * MILLISECONDS_NS
        stalled = now_ns - self._writer_advanced_ns > limit_ns
        self._tell_of(stalled)
        return not stalled

    def _tell_of(self, stalled: bool) -> None:
        if stalled and not self._writer_stalled:
            self._alarms.raise_alarm("records_stalled", "the records thread is stuck; parts are still judged")
        elif self._writer_stalled and not stalled:
            self._alarms.clear("records_stalled")
        self._writer_stalled = stalled

    def _tell_of_camera(self, there: bool) -> None:
        """Parts that pass while the camera is away may go unseen, so somebody has to know at once."""
        if self._camera_away == (not there):
            return
        self._camera_away = not there
        if there:
            self._alarms.clear("camera_lost")
        else:
            self._alarms.raise_alarm("camera_lost", "the camera is away; parts may pass without being seen")

    def _status(self) -> dict[str, Any]:
        return {
            "station": self._config.station,
            "version": software_version(),
            "written_utc": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "counts": self._counts().as_dict(),
            "alarms": [
                {"name": a.name, "count": a.count, "detail": a.detail, "active": a.active}
                for a in self._alarms.snapshot()
            ],
        }
