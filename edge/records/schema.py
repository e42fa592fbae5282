"""The tables, and how records become rows and come back.

`parts` and `runs` rows are never deleted and `parts` rows never changed; triggers in the database see to it,
whoever opens it. What happens to a picture later is told in `images`, so a part's row can stay as it is.
"""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

from edge.errors import OpenError
from edge.messages import ActionKind, FrameStatus, Outcome, PixelFormat, Reason, Region
from edge.records.record import PartRecord, Run, RunInfo

DATABASE = "records.sqlite"
VERSION = 1

_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    station TEXT NOT NULL,
    bundle_id TEXT NOT NULL,
    bundle TEXT NOT NULL,
    config_id TEXT NOT NULL,
    config_yaml TEXT NOT NULL,
    runner TEXT NOT NULL,
    camera TEXT NOT NULL,
    thresholds TEXT NOT NULL,     -- JSON
    preprocessing TEXT NOT NULL,  -- JSON
    software TEXT NOT NULL,
    started_utc TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    ended_utc TEXT,               -- NULL until a clean end
    counters TEXT,                -- JSON, with ended_utc
    interrupted INTEGER NOT NULL DEFAULT 0 CHECK (interrupted IN (0, 1))
) STRICT;
CREATE TABLE parts (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (number),
    part_id INTEGER NOT NULL,
    frame_id INTEGER,
    triggered_ns INTEGER NOT NULL,
    triggered_utc TEXT NOT NULL,
    captured_ns INTEGER,
    decided_ns INTEGER,
    due_ns INTEGER NOT NULL,
    frame_status TEXT NOT NULL,
    pixel_format TEXT,
    exposure_us REAL,             -- NULL is not a number, here and below
    gain_db REAL,
    source TEXT NOT NULL,
    score REAL,
    threshold REAL,
    outcome TEXT NOT NULL,
    reasons TEXT NOT NULL,        -- JSON list
    regions TEXT NOT NULL,        -- JSON list of objects
    action TEXT NOT NULL,
    margin_ms REAL,
    preprocess_ms REAL,
    runner_ms REAL,
    anomaly_map_ms REAL,
    decide_ms REAL,
    bundle_id TEXT NOT NULL,
    config_id TEXT NOT NULL,
    image_path TEXT,
    UNIQUE (run, part_id)         -- also the index for listing a run
) STRICT;
CREATE INDEX parts_by_time ON parts (triggered_utc);
CREATE TABLE images (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL,
    part_id INTEGER NOT NULL,
    path TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    removed_utc TEXT,
    UNIQUE (run, part_id),
    FOREIGN KEY (run, part_id) REFERENCES parts (run, part_id)
) STRICT;
CREATE INDEX images_kept ON images (sequence, bytes) WHERE removed_utc IS NULL;
CREATE TRIGGER parts_stay BEFORE UPDATE ON parts
    BEGIN SELECT RAISE(ABORT, 'part records are never changed'); END;
CREATE TRIGGER parts_last BEFORE DELETE ON parts
    BEGIN SELECT RAISE(ABORT, 'part records are never deleted'); END;
CREATE TRIGGER runs_last BEFORE DELETE ON runs
    BEGIN SELECT RAISE(ABORT, 'runs are never deleted'); END;
CREATE TRIGGER runs_end_once BEFORE UPDATE ON runs WHEN OLD.ended_utc IS NOT NULL OR OLD.interrupted
    BEGIN SELECT RAISE(ABORT, 'a run ends once'); END;
CREATE TRIGGER images_last BEFORE DELETE ON images
    BEGIN SELECT RAISE(ABORT, 'image records are never deleted'); END;
"""

PART_COLUMNS = tuple(field.name for field in fields(PartRecord))
RUN_COLUMNS = tuple(field.name for field in fields(RunInfo))


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in a new database, or check that they are the ones known here.

    Raises `OpenError` for a database of another kind or of a newer version.
    """
    found = _version(connection)
    if found == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        connection.executescript(f"{_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        return
    check_version(connection, path)


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raises `OpenError` unless the database has the tables known here."""
    found = _version(connection)
    if found > VERSION:
        raise OpenError(
            f"{path} was written by a newer version (schema {found}, known here: {VERSION}).",
            do="Use the software that wrote it, or start with a new records directory.",
        )
    if found < VERSION:
        raise OpenError(
            f"{path} is a database, but not one of inspection records.",
            do="Choose another records directory.",
        )


def insert(table: str, columns: tuple[str, ...]) -> str:
    """An INSERT statement with one placeholder per column."""
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def part_row(record: PartRecord) -> tuple[Any, ...]:
    """The record in the order of `PART_COLUMNS`."""
    return tuple(_stored(getattr(record, name)) for name in PART_COLUMNS)


def part_record(row: sqlite3.Row) -> PartRecord:
    """The record of a row that has at least `PART_COLUMNS`. Raises `ValueError` for an altered one."""
    return PartRecord(
        part_id=row["part_id"],
        frame_id=row["frame_id"],
        triggered_ns=row["triggered_ns"],
        triggered_utc=row["triggered_utc"],
        captured_ns=row["captured_ns"],
        decided_ns=row["decided_ns"],
        due_ns=row["due_ns"],
        frame_status=FrameStatus(row["frame_status"]),
        pixel_format=None if row["pixel_format"] is None else PixelFormat(row["pixel_format"]),
        exposure_us=_number(row["exposure_us"]),
        gain_db=_number(row["gain_db"]),
        source=row["source"],
        score=_number(row["score"]),
        threshold=_number(row["threshold"]),
        outcome=Outcome(row["outcome"]),
        reasons=tuple(Reason(reason) for reason in json.loads(row["reasons"])),
        regions=tuple(_region(region) for region in json.loads(row["regions"])),
        action=ActionKind(row["action"]),
        margin_ms=_number(row["margin_ms"]),
        preprocess_ms=_number(row["preprocess_ms"]),
        runner_ms=_number(row["runner_ms"]),
        anomaly_map_ms=_number(row["anomaly_map_ms"]),
        decide_ms=_number(row["decide_ms"]),
        bundle_id=row["bundle_id"],
        config_id=row["config_id"],
        image_path=row["image_path"],
    )


def run_row(info: RunInfo) -> tuple[Any, ...]:
    """What was in force, in the order of `RUN_COLUMNS`."""
    values = {name: getattr(info, name) for name in RUN_COLUMNS}
    values["thresholds"] = json.dumps(dict(info.thresholds))
    values["preprocessing"] = json.dumps(dict(info.preprocessing))
    return tuple(values.values())


def run_of(row: sqlite3.Row) -> Run:
    """The run of a whole row of `runs`. Raises `ValueError` for an altered one."""
    values = {name: row[name] for name in RUN_COLUMNS}
    values["thresholds"] = json.loads(values["thresholds"])
    values["preprocessing"] = json.loads(values["preprocessing"])
    counters = None if row["counters"] is None else json.loads(row["counters"])
    return Run(row["number"], RunInfo(**values), row["ended_utc"], bool(row["interrupted"]), counters)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _stored(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):  # a file name may hold bytes that are no text
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, tuple):
        return json.dumps([_as_json(item) for item in value], separators=(",", ":"))
    return value


def _as_json(item: Reason | Region) -> Any:
    if isinstance(item, Region):
        return {field.name: getattr(item, field.name) for field in fields(Region)}
    return item.value


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _region(values: dict[str, Any]) -> Region:
    try:
        x, y, width, height = values["box_px"]
        return Region((x, y, width, height), values["area_px"], values["area_mm2"], values["peak"])
    except (KeyError, TypeError) as fault:
        raise ValueError(f"not a region: {values}") from fault
