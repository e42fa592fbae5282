"""What the records writer counts, and which of its alarms stand."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

LOG = logging.getLogger("adclip.records")

DISK_FULL = "disk_full"
PICTURES_DROPPED = "pictures_dropped"
RECORDS_LOST = "records_lost"
RECORDS_FAILED = "records_failed"


@dataclass(frozen=True, slots=True)
class WriterCounters:
    """Since the writer was made; every submitted row is written, waiting or lost.

    `pictures_written` are in the records, `pictures_dropped` were wanted by the policy and are not;
    `picture_bytes` is what the archive holds now, of all runs.
    """

    rows_written: int = 0
    rows_waiting: int = 0
    rows_lost: int = 0
    pictures_written: int = 0
    pictures_dropped: int = 0
    picture_bytes: int = 0


class Tally:
    """Counts from any thread under the caller's own `lock`; alarms are told by the writer's thread alone.

    So whoever submits a part is never held up by whoever listens to the alarms.
    """

    def __init__(
        self,
        lock: threading.Condition,
        on_alarm: Callable[[str, str], None],
        on_clear: Callable[[str], None],
    ) -> None:
        self.counters = WriterCounters()
        self._lock, self._on_alarm, self._on_clear = lock, on_alarm, on_clear
        self._standing: set[str] = set()
        self._news: dict[str, str] = {}

    def count(self, **more: int) -> None:
        """Raise the named counts."""
        with self._lock:
            counts = {name: getattr(self.counters, name) + by for name, by in more.items()}
            self.counters = replace(self.counters, **counts)

    def drop_picture(self, why: str) -> None:
        """Count a picture that is not kept; the alarm is told later."""
        with self._lock:
            self.count(pictures_dropped=1)
            self._news[PICTURES_DROPPED] = why

    def lose_rows(self, rows: int, why: str) -> None:
        """Count rows that are in no record; the alarm is told later, and stays."""
        with self._lock:
            self.count(rows_lost=rows)
            self._news[RECORDS_LOST] = why

    def tell(self, caught_up: bool) -> None:
        """Tell what came up since the last call; `caught_up` ends the alarm about pictures."""
        with self._lock:
            news, self._news = self._news, {}
        for name, detail in news.items():
            self.alarm(name, detail)
        if caught_up and PICTURES_DROPPED not in news:
            self.clear(PICTURES_DROPPED)

    def alarm(self, name: str, detail: str) -> None:
        """Tell of an alarm, unless it stands already."""
        if name not in self._standing:
            self._standing.add(name)
            self._call(self._on_alarm, name, detail)

    def clear(self, name: str) -> None:
        """Tell that an alarm is over, if it stood."""
        if name in self._standing:
            self._standing.discard(name)
            self._call(self._on_clear, name)

    def _call(self, listener: Callable[..., None], *told: str) -> None:
        try:
            listener(*told)
        except Exception:  # a listener's own fault must not end the thread that keeps the records
            LOG.exception("a listener to the alarms of the records failed")
