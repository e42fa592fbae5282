"""Reading the records back: while they are written, after a kill, or from a copy of the directory."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from edge.errors import ConfigError, OpenError, OperateError
from edge.messages import Frame
from edge.records.archive import decode_picture, picture_path
from edge.records.record import PartRecord, Run
from edge.records.schema import DATABASE, check_version, part_record, run_of

_PAGE = 500

_STORED = (
    "EXISTS (SELECT 1 FROM images i WHERE i.run = p.run AND i.part_id = p.part_id AND i.removed_utc IS NULL)"
)


def open_records(directory: Path) -> RecordReader:
    """Open the records of a directory for reading. Raises `ConfigError` without any, else `OpenError`."""
    return RecordReader(directory)


class RecordReader:
    """Runs, parts and pictures of one records directory. Used by one thread at a time.

    No query holds the database between two calls, so a writer is never held up. All methods raise
    `OperateError` for a database or picture that is damaged or was altered.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = directory / DATABASE
        if not path.is_file():
            raise ConfigError(
                f"{directory} holds no inspection records: there is no {DATABASE} in it.",
                do="Name the directory that the station file gives as records.directory.",
            )
        self._connection = _connect(path)

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        with self._altered_rows():
            return [run_of(row) for row in self._rows("SELECT * FROM runs ORDER BY number")]

    def run(self, number: int | None = None) -> Run:
        """One run, the last when no number is given. Raises `ConfigError` when there is no such run."""
        runs = self.runs()
        found = [run for run in runs if number is None or run.number == number]
        if not found:
            wanted = "no run" if number is None else f"no run {number}"
            known = f"The last is run {runs[-1].number}." if runs else "Nothing was recorded yet."
            raise ConfigError(
                f"{self.directory} has {wanted}. {known}",
                do="Name one that `adclip records list` shows.",
            )
        return found[-1]

    def parts(self, run: int, *, stored_only: bool = False) -> Iterator[PartRecord]:
        """The parts of a run by part id; with `stored_only` those whose picture is still there."""
        where = f"run = ? AND part_id > ?{f' AND {_STORED}' if stored_only else ''}"
        query = f"SELECT * FROM parts p WHERE {where} ORDER BY part_id LIMIT {_PAGE}"
        last = -(2**63)
        while rows := self._rows(query, run, last):
            last = rows[-1]["part_id"]
            with self._altered_rows():
                page = [part_record(row) for row in rows]
            yield from page

    def part_count(self, run: int, *, stored_only: bool = False) -> int:
        """How many parts a run has, or how many of them have a picture still."""
        table = "images WHERE removed_utc IS NULL AND" if stored_only else "parts WHERE"
        return int(self._rows(f"SELECT count(*) FROM {table} run = ?", run)[0][0])

    def frame(self, record: PartRecord) -> Frame | None:
        """The raw frame of a part as it was; None when its picture was not kept or has been removed.

        Raises `OperateError` when the file is not, byte for byte, the one that was recorded.
        """
        if record.image_path is None:
            return None
        rows = self._rows("SELECT * FROM images WHERE path = ?", record.image_path)
        if not rows or rows[0]["path"] != picture_path(rows[0]["run"], rows[0]["part_id"]):
            raise self._altered(f"nothing is recorded about the picture {record.image_path}")
        content = None if rows[0]["removed_utc"] else self._read(record.image_path)
        if content is None:
            return None
        if hashlib.sha256(content).hexdigest() != rows[0]["sha256"]:
            raise self._altered(f"{record.image_path} is not the picture that was recorded")
        if record.pixel_format is None:
            raise self._altered(f"part {record.part_id} has a picture and no pixel format")
        return Frame(
            part_id=record.part_id,
            frame_id=record.part_id if record.frame_id is None else record.frame_id,
            triggered_ns=record.triggered_ns,
            captured_ns=record.triggered_ns if record.captured_ns is None else record.captured_ns,
            image=decode_picture(content),
            pixel_format=record.pixel_format,
            exposure_us=record.exposure_us,
            gain_db=record.gain_db,
            status=record.frame_status,
            source=record.source,
        )

    def close(self) -> None:
        """Close the database. Calling it twice is allowed."""
        self._connection.close()

    def _read(self, path: str) -> bytes | None:
        try:
            return (self.directory / path).read_bytes()
        except FileNotFoundError:  # removed a moment ago, or left out of a copy
            return None
        except OSError as fault:
            raise OperateError(
                f"{self.directory / path} cannot be read: {fault.strerror}.",
                do="Check its rights and the disk.",
            ) from fault

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        try:
            return self._connection.execute(query, values).fetchall()
        except (sqlite3.Error, OverflowError) as fault:
            raise OperateError(
                f"The records in {self.directory} cannot be read: {fault}.",
                do="Check the disk, or restore the records from a backup.",
            ) from fault

    @contextmanager
    def _altered_rows(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError) as fault:
            raise self._altered(str(fault)) from fault

    def _altered(self, what: str) -> OperateError:
        return OperateError(
            f"The records in {self.directory} were altered or damaged: {what}.",
            do="Restore them from a backup, and find out who changed them.",
        )


def _connect(path: Path) -> sqlite3.Connection:
    try:
        try:
            return _checked(path, "mode=ro")
        except sqlite3.OperationalError:
            # Without the right to write beside it, a database at rest can still be read as it is.
            log = path.with_name(path.name + "-wal")
            if log.exists() and log.stat().st_size > 0:
                raise
            return _checked(path, "immutable=1")
    except sqlite3.Error as fault:
        raise OpenError(
            f"{path} cannot be read: {fault}.",
            do="Check that this user may read and write the directory, or copy all of it and read the copy.",
        ) from fault


def _checked(path: Path, mode: str) -> sqlite3.Connection:
    # Opened by one thread and handed to another: the replay camera reads in the capture thread.
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    try:
        check_version(connection, path)
    except BaseException:  # whatever it was, the connection must not stay open
        connection.close()
        raise
    return connection
