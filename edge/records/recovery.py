"""Putting pictures and records in step again after a run that broke off.

A picture file is written before its record is committed, and removed before its removal is written down. So a
kill or a power cut can leave half a file, a whole one without a record, or a record of a file that is gone or
shorter than it was. Runs once, when the store opens; record rows are not touched.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge.records.archive import FRAMES, PART_SUFFIX

_PICTURE_FILE = re.compile(rf"[0-9]+\.png({re.escape(PART_SUFFIX)})?")


def recover_pictures(connection: sqlite3.Connection, directory: Path, now_utc: str) -> None:
    """Remove files that no record names; write down which recorded ones are gone.

    Does nothing when every run ended cleanly. Raises `OSError` or `sqlite3.Error`.
    """
    unfinished = {
        number
        for (number,) in connection.execute(
            "SELECT number FROM runs WHERE ended_utc IS NULL AND NOT interrupted"
        )
    }
    if not unfinished:
        return
    kept: set[Path] = set()
    gone: list[tuple[str, str]] = []
    for run, path, size in connection.execute(
        "SELECT run, path, bytes FROM images WHERE removed_utc IS NULL"
    ):
        file = directory / path
        if file.is_file() and (run not in unfinished or file.stat().st_size == size):
            kept.add(file)
        else:
            gone.append((now_utc, path))
    for file in _picture_files(connection, directory):
        if file not in kept:
            file.unlink()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("UPDATE images SET removed_utc = ? WHERE path = ?", gone)
    connection.execute("COMMIT")


def _picture_files(connection: sqlite3.Connection, directory: Path) -> Iterator[Path]:
    """Files named as the archive names them, of the runs that the database knows."""
    for (number,) in connection.execute("SELECT number FROM runs ORDER BY number").fetchall():
        folder = directory / FRAMES / str(number)
        if folder.is_dir():
            yield from [file for file in folder.iterdir() if _PICTURE_FILE.fullmatch(file.name)]
