"""The record store: one directory, one SQLite database, one process at a time that writes to it.

Committed means on the disk (WAL, synchronous=FULL): neither a kill nor a power cut takes a committed row.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.config import RecordsConfig
from edge.errors import EdgeError, OpenError, OperateError
from edge.records.archive import FRAMES, FrameArchive
from edge.records.record import PartRecord, Picture, RunInfo, utc_now
from edge.records.recovery import recover_pictures
from edge.records.schema import DATABASE, PART_COLUMNS, RUN_COLUMNS, insert, part_row, prepare, run_row

LOCK = "records.lock"

_INSERT_PART = insert("parts", ("run", *PART_COLUMNS))
_INSERT_RUN = insert("runs", RUN_COLUMNS)
_INSERT_IMAGE = insert("images", ("run", "part_id", "path", "bytes", "sha256"))
_REFUSALS = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    OverflowError,
)
_LOCKED_S = 1.0  # no program of this project locks the database; one that does must not stall the writer
_WAL_KEPT_BYTES = 64 * 1024 * 1024


class StoreFullError(OperateError):
    """The disk has no room for a row. Nothing of the transaction was kept; it can be repeated."""


class RefusedRecordError(OperateError):
    """The database does not take a record, whatever the disk does."""


class RecordStore:
    """Opens the records directory of a station for writing. Used by one thread at a time.

    `archive` holds the pictures. Raises `OpenError` when the directory cannot be written, is in use by
    another process, or holds something else.
    """

    def __init__(self, config: RecordsConfig, utc: Callable[[], str] = utc_now) -> None:
        self.directory = config.directory
        self._utc = utc
        self._run: int | None = None
        self._access = threading.RLock()
        self._lock: int | None = _locked(config.directory)
        try:
            self._connection = _connect(config.directory, utc())
        except EdgeError:
            os.close(self._lock)
            raise
        budget_bytes = round(config.disk_budget_mb * 1e6)
        self.archive = FrameArchive(config.directory, config.keep_frames, budget_bytes, self)

    @property
    def run(self) -> int:
        """Number of the run that `begin_run` began."""
        if self._run is None:
            raise OperateError("No run was begun.", do="Begin a run before recording parts.")
        return self._run

    def begin_run(self, info: RunInfo) -> int:
        """Begin the next run, and mark those that never ended as interrupted; the run's number, from 1."""
        with self._transaction():
            self._connection.execute(
                "UPDATE runs SET interrupted = 1 WHERE ended_utc IS NULL AND NOT interrupted"
            )
            number = self._connection.execute(_INSERT_RUN, run_row(info)).lastrowid
            _refuse_unknown_pictures(self.directory / FRAMES / str(number))
        self._run = number
        return self.run

    def append(
        self,
        records: Sequence[PartRecord],
        pictures: Sequence[Picture] = (),
        removed: Sequence[Picture] = (),
    ) -> None:
        """Commit records, their pictures, and pictures removed since, in one transaction.

        Raises `StoreFullError`, `RefusedRecordError` or another `OperateError`; nothing is then kept.
        """
        run, now_utc = self.run, self._utc()
        with self._transaction():
            self._connection.executemany(_INSERT_PART, ((run, *part_row(record)) for record in records))
            self._connection.executemany(_INSERT_IMAGE, (_image_row(picture) for picture in pictures))
            self._connection.executemany(
                "UPDATE images SET removed_utc = ? WHERE path = ?",
                ((now_utc, picture.path) for picture in removed),
            )

    def end_run(self, counters: Mapping[str, Any]) -> None:
        """Mark the run as ended cleanly, with its final counters. Raises `OperateError`."""
        with self._transaction():
            self._connection.execute(
                "UPDATE runs SET ended_utc = ?, counters = ? WHERE number = ?",
                (self._utc(), json.dumps(dict(counters)), self.run),
            )

    def picture_bytes(self) -> int:
        """See `archive.PictureIndex`."""
        query = "SELECT coalesce(sum(bytes), 0) FROM images WHERE removed_utc IS NULL"
        return int(self._rows(query)[0][0])

    def oldest_pictures(self, after: int, limit: int) -> list[tuple[int, Picture]]:
        """See `archive.PictureIndex`."""
        query = """SELECT sequence, run, part_id, path, bytes, sha256 FROM images
                   WHERE removed_utc IS NULL AND sequence > ? ORDER BY sequence LIMIT ?"""
        return [(sequence, Picture(*values)) for sequence, *values in self._rows(query, after, limit)]

    def close(self) -> None:
        """Close the database and let other processes write. Calling it twice is allowed."""
        with self._access:
            self._connection.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._open_access():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._open_access():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _open_access(self) -> Iterator[None]:
        # A caller that closes the store while its last user is still in a transaction waits here.
        with self._access:
            if self._lock is None:
                raise OperateError(
                    f"The records in {self.directory} are closed.", do="Open them before recording."
                )
            with _store_errors(self.directory):
                yield


@contextmanager
def _store_errors(directory: Path) -> Iterator[None]:
    """SQLite's errors as ours. The codes behind them reach Python from 3.11 on only, hence the texts."""
    try:
        yield
    except _REFUSALS as fault:
        raise RefusedRecordError(
            f"The database refuses a record: {fault}.", do="Report it, with the log of this run."
        ) from fault
    except sqlite3.DatabaseError as fault:
        if "full" in str(fault) or ("disk I/O" in str(fault) and _no_space(directory)):
            raise StoreFullError(
                f"The disk of {directory} is full: {fault}.", do="Make room on it."
            ) from fault
        raise OperateError(
            f"The records in {directory} failed: {fault}.",
            do="Check the disk and its file system; the records so far can be read from a copy.",
        ) from fault


def _no_space(directory: Path) -> bool:
    space = os.statvfs(directory)
    return space.f_bavail * space.f_frsize < 1_000_000


def _locked(directory: Path) -> int:
    """Make the directory where needed and hold its lock; the descriptor that holds it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as fault:
        raise _unwritable(directory, fault.strerror or str(fault)) from fault
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        os.close(lock)
        if not isinstance(fault, BlockingIOError):
            raise _unwritable(directory, fault.strerror or str(fault)) from fault
        raise OpenError(
            f"Another process is already recording into {directory}.",
            do="Stop it first, or give this station its own records.directory.",
        ) from fault
    return lock


def _connect(directory: Path, now_utc: str) -> sqlite3.Connection:
    """The database, with its tables, in step with the pictures. Raises `OpenError`."""
    if sqlite3.sqlite_version_info < (3, 37):
        raise OpenError(
            f"The records need SQLite 3.37 and this Python has {sqlite3.sqlite_version}.",
            do="Use the Python of Ubuntu 22.04 or newer.",
        )
    path = directory / DATABASE
    connection = None
    try:
        # Opened by the caller of the constructor, then handed to the thread that writes.
        connection = sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None, check_same_thread=False)
        prepare(connection, path)
        _make_durable(connection, path)
        recover_pictures(connection, directory, now_utc)
    except (sqlite3.Error, OSError, EdgeError) as fault:
        if connection is not None:
            connection.close()
        if isinstance(fault, EdgeError):
            raise
        raise _not_opened(path, fault) from fault
    return connection


def _make_durable(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise OpenError(
            f"{path} lies on a file system that cannot hold a write-ahead log.",
            do="Put records.directory on a local disk.",
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # A database file that cannot be written shows only here.
    connection.executescript("BEGIN IMMEDIATE; ROLLBACK")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")


def _not_opened(path: Path, fault: sqlite3.Error | OSError) -> OpenError:
    text = str(fault)
    if "not a database" in text or "malformed" in text:
        return OpenError(
            f"{path} is damaged or not a database: {text}.",
            do="Move the whole records directory aside, keep it, and start with a new one.",
        )
    return _unwritable(path.parent, text)


def _unwritable(directory: Path, reason: str) -> OpenError:
    return OpenError(
        f"The records directory {directory} cannot be written: {reason}.",
        do="Name a directory that this user can write under records.directory, with room on its disk.",
    )


def _refuse_unknown_pictures(folder: Path) -> None:
    """Pictures where a new run would put its own belong to records that are elsewhere: never overwrite."""
    if folder.is_dir() and any(folder.iterdir()):
        raise OpenError(
            f"{folder} holds pictures of a run that {DATABASE} does not know.",
            do="Put the database that belongs to them back, or name a new records.directory.",
        )


def _image_row(picture: Picture) -> tuple[int, int, str, int, str]:
    return (picture.run, picture.part_id, picture.path, picture.size_bytes, picture.sha256)
