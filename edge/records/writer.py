"""The records writer: a thread of its own, so that no disk is ever in the way of a decision.

    submit (any thread, never waits) ──▶ waiting ──▶ picture file ──▶ unsaved ──▶ commit, about ten a second

Rows outrank pictures. When the line is faster than the disk, pictures are dropped and rows kept; when the
disk is full, pictures are given up, new and old, until the rows fit, and rows wait in memory until they do.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge.errors import OperateError
from edge.messages import Frame, RawImage
from edge.records.archive import keeps
from edge.records.record import PartRecord, Picture
from edge.records.store import RecordStore, RefusedRecordError, StoreFullError
from edge.records.tally import DISK_FULL, RECORDS_FAILED, Tally, WriterCounters

LOG = logging.getLogger("adclip.records")

WAKE_S = 0.25
"""The idle thread still makes progress this often."""

_ROWS_PER_COMMIT = 1000
_LAST_WAIT_S = 1.0
_FREED_AT_ONCE_BYTES = 16_000_000
_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """Bounds of what may wait, and pauses. A waiting picture holds its raw frame in memory."""

    pictures: int = 32
    rows: int = 100_000
    commit_every_s: float = 0.1
    retry_after_s: float = 0.1
    retry_at_most_s: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    record: PartRecord
    image: RawImage | None


@dataclass(frozen=True, slots=True)
class _Unsaved:
    record: PartRecord
    picture: Picture | None


class RecordWriter:
    """Writes what is submitted to `store`, which is the thread's own between `start` and `stop`.

    `on_alarm(name, detail)` and `on_clear(name)` are called from the writer's thread, once per change:
    `disk_full`, `pictures_dropped` and `records_failed` are over when they are; `records_lost` stays.
    """

    def __init__(
        self,
        store: RecordStore,
        on_alarm: Callable[[str, str], None],
        on_clear: Callable[[str], None],
        limits: WriterLimits | None = None,
    ) -> None:
        self._store, self._limits = store, limits or WriterLimits()
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._pictures_waiting = 0
        self._unsaved: list[_Unsaved] = []
        self._tally = Tally(self._changed, on_alarm, on_clear)
        self._stopping = False
        self._abandoned = False
        self._progress = 0
        self._rows_full = False
        self._pictures_full = False
        self._pause_s = self._limits.retry_after_s

    def start(self) -> None:
        """Start the thread; a run must have begun in the store."""
        self._thread.start()

    def submit(self, record: PartRecord, frame: Frame | None) -> None:
        """Hand over one part. Callable from any thread; never waits and never raises.

        `frame` is kept when the policy asks for it; the record's `image_path` is set here, later.
        """
        image = None if frame is None else frame.image
        if image is not None and not keeps(self._store.archive.policy, record.part_id, record.outcome):
            image = None
        with self._changed:
            if self._stopping or len(self._waiting) + len(self._unsaved) >= self._limits.rows:
                self._tally.lose_rows(1, f"part {record.part_id} could not be recorded")
                return
            if image is not None and self._pictures_waiting >= self._limits.pictures:
                self._tally.drop_picture(f"{self._limits.pictures} pictures are waiting for the disk")
                image = None
            self._pictures_waiting += image is not None
            self._waiting.append(_Waiting(record, image))
            self._changed.notify_all()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Write what waits, then end the thread; whether everything was written.

        Rows that cannot be written in time count as lost.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_LAST_WAIT_S)
        counters = self.counters()
        return counters.rows_waiting == 0 and counters.rows_lost == 0

    def progress(self) -> int:
        """A number that rises while the thread is alive and not stuck."""
        return self._progress

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written."""
        with self._changed:
            return not self._waiting and not self._unsaved

    def counters(self) -> WriterCounters:
        """A snapshot; callable from any thread."""
        with self._changed:
            return replace(
                self._tally.counters,
                rows_waiting=len(self._waiting) + len(self._unsaved),
                picture_bytes=self._store.archive.kept_bytes,
            )

    # -- the thread

    def _run(self) -> None:
        while not self._finished():
            try:
                self._turn()
            except StoreFullError as fault:
                self._give_up_pictures(fault)
                self._pause()
            except Exception as fault:  # the thread outlives whatever happens; rows wait for the next try
                if not isinstance(fault, OperateError):
                    LOG.exception("the records thread met an error of its own")
                self._tally.alarm(RECORDS_FAILED, str(fault))
                self._pause()
            self._tell()
        self._abandon_the_rest()
        self._tell()

    def _abandon_the_rest(self) -> None:
        with contextlib.suppress(OSError):  # the disk may be why anything is left at all
            self._discard_unsaved_pictures("they were not recorded before the end")
        with self._changed:
            left = len(self._waiting) + len(self._unsaved)
            self._waiting.clear()
            self._unsaved.clear()
            if left:
                self._tally.lose_rows(left, f"{left} parts were not recorded before the end")

    def _finished(self) -> bool:
        with self._changed:
            return self._abandoned or (self._stopping and not self._waiting and not self._unsaved)

    def _tell(self) -> None:
        full = self._rows_full or self._pictures_full
        self._tally.tell(caught_up=not full and self._pictures_waiting == 0)

    def _turn(self) -> None:
        """Take what comes within one commit interval, then commit it."""
        patience_s = 0.0 if self._unsaved else WAKE_S
        end: float | None = None
        while (waiting := self._next(patience_s)) is not None:
            end = end or time.monotonic() + self._limits.commit_every_s
            self._take(waiting)
            patience_s = end - time.monotonic()
            if patience_s <= 0:
                break
        self._commit()

    def _next(self, patience_s: float) -> _Waiting | None:
        """The next part; None when none comes in time, or none will come any more."""
        with self._changed:
            self._progress += 1
            self._changed.wait_for(lambda: self._waiting or self._stopping, patience_s)
            return self._waiting[0] if self._waiting else None

    def _take(self, waiting: _Waiting) -> None:
        """Move the oldest waiting part to the unsaved ones, with its picture if that can be kept."""
        picture = None
        try:
            if waiting.image is not None:
                picture = self._keep(waiting.record, waiting.image)
        finally:
            path = None if picture is None else picture.path
            with self._changed:
                self._waiting.popleft()
                self._pictures_waiting -= waiting.image is not None
                self._unsaved.append(_Unsaved(replace(waiting.record, image_path=path), picture))

    def _keep(self, record: PartRecord, image: RawImage) -> Picture | None:
        if self._rows_full:
            self._tally.drop_picture("the disk is full")
            return None
        try:
            picture = self._write_picture(record.part_id, image)
        except (OSError, OperateError) as fault:
            self._pictures_full = isinstance(fault, OSError) and fault.errno in _FULL_ERRORS
            if self._pictures_full:
                self._tally.alarm(DISK_FULL, f"no room for a picture: {fault}")
            self._tally.drop_picture(f"the picture of part {record.part_id} was not written: {fault}")
            return None
        if picture is None:
            self._tally.drop_picture("the disk budget has no room for a picture")
            return None
        self._pictures_full = False
        return picture

    def _write_picture(self, part_id: int, image: RawImage) -> Picture | None:
        archive, run = self._store.archive, self._store.run
        picture = archive.write(run, part_id, image)
        if picture is None and self._unsaved:
            self._commit()  # pictures that are in the records can make room for this one
            picture = archive.write(run, part_id, image)
        return picture

    def _commit(self) -> None:
        while self._unsaved:
            rows = self._unsaved[:_ROWS_PER_COMMIT]
            try:
                self._append(rows)
            except RefusedRecordError:
                self._append_one_by_one(rows)
            self._rows_full = False
            self._pause_s = self._limits.retry_after_s
            self._tally.clear(RECORDS_FAILED)
        if not self._rows_full and not self._pictures_full:
            self._tally.clear(DISK_FULL)

    def _append(self, rows: list[_Unsaved]) -> None:
        """Commit the oldest unsaved rows, and write down which pictures went to make room."""
        removed = self._store.archive.removed
        pictures = [row.picture for row in rows if row.picture is not None]
        self._store.append([row.record for row in rows], pictures, removed)
        self._store.archive.forget_removed(removed)
        with self._changed:
            del self._unsaved[: len(rows)]
            self._tally.count(rows_written=len(rows), pictures_written=len(pictures))
            self._progress += 1

    def _append_one_by_one(self, rows: list[_Unsaved]) -> None:
        """One record that the database will never take must not hold up the others."""
        for row in rows:
            try:
                self._append([row])
            except RefusedRecordError as fault:
                with self._changed:
                    del self._unsaved[0]
                    self._tally.lose_rows(1, f"part {row.record.part_id}: {fault}")
                if row.picture is not None:
                    self._store.archive.discard(row.picture)

    def _give_up_pictures(self, fault: StoreFullError) -> None:
        """Rows outrank pictures: free some room by the oldest ones, at last by those not yet recorded."""
        self._rows_full = True
        self._tally.alarm(DISK_FULL, str(fault))
        try:
            if self._store.archive.free(_FREED_AT_ONCE_BYTES) == 0:
                self._discard_unsaved_pictures("the disk is full")
        except (OSError, OperateError) as obstacle:
            self._tally.alarm(RECORDS_FAILED, f"no picture can be removed to make room: {obstacle}")

    def _discard_unsaved_pictures(self, why: str) -> None:
        for position, row in enumerate(self._unsaved):
            if row.picture is None:
                continue
            self._store.archive.discard(row.picture)
            self._unsaved[position] = _Unsaved(replace(row.record, image_path=None), None)
            self._tally.drop_picture(why)

    def _pause(self) -> None:
        """Wait before the next try, longer each time; a stop cuts it short once."""
        with self._changed:
            self._progress += 1
            stopping = self._stopping
            self._changed.wait_for(lambda: self._abandoned or self._stopping != stopping, self._pause_s)
        self._pause_s = min(2 * self._pause_s, self._limits.retry_at_most_s)
