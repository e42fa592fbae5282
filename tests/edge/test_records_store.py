"""Rows go in and come back as they were, once, from one writer at a time."""

import math
import os
import sqlite3
import subprocess
import sys
import threading
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge
from edge.errors import ConfigError, OpenError, OperateError
from edge.messages import ActionKind, FrameStatus, Outcome, PixelFormat, Reason, Region
from edge.records import DATABASE, PartRecord, open_records, utc_text
from edge.records.schema import part_record as from_row
from edge.records.schema import part_row
from edge.records.store import RefusedRecordError

NAN = math.nan

FULL = {
    "frame_id": 2**40,
    "triggered_ns": 2**62,
    "triggered_utc": "2024-05-06T07:08:09.123Z",
    "captured_ns": 2**62 + 1,
    "decided_ns": 2**62 + 2,
    "due_ns": 2**62 + 3,
    "frame_status": FrameStatus.INCOMPLETE,
    "pixel_format": PixelFormat.BAYER_RG8,
    "exposure_us": 99.9,
    "gain_db": -1.5,
    "source": "ordner/größe 1.png",
    "score": float(np.float32(0.1)),
    "threshold": 0.1,
    "outcome": Outcome.REJECT,
    "reasons": (Reason.SCORE, Reason.REGION),
    "regions": (Region((1, 2, 3, 4), 12.5, 0.1, 3.7), Region((5, 6, 7, 8), 1 / 3, None, 1e-300)),
    "action": ActionKind.FIRE,
    "margin_ms": -0.75,
    "preprocess_ms": 1.1,
    "runner_ms": 2.2,
    "anomaly_map_ms": 3.3,
    "decide_ms": 4.4,
    "bundle_id": "b" * 64,
    "config_id": "c" * 64,
}

EMPTY = {
    "triggered_ns": 0,
    "due_ns": 1,
    "frame_id": None,
    "captured_ns": None,
    "decided_ns": None,
    "frame_status": FrameStatus.MISSING,
    "pixel_format": None,
    "exposure_us": NAN,
    "gain_db": NAN,
    "score": NAN,
    "threshold": NAN,
    "outcome": Outcome.FAULT,
    "reasons": (Reason.MISSING_FRAME,),
    "margin_ms": NAN,
    "preprocess_ms": NAN,
    "runner_ms": NAN,
    "anomaly_map_ms": NAN,
    "decide_ms": NAN,
    "bundle_id": "",
}


def as_text(record):
    """Every field with its exact value; unlike ==, it takes NaN for NaN."""
    return {field.name: repr(getattr(record, field.name)) for field in fields(record)}


def read_back(directory, run=None):
    with open_records(directory) as reader:
        return list(reader.parts(reader.run(run).number))


@pytest.mark.parametrize("content", [FULL, EMPTY], ids=["everything", "nothing"])
def test_every_field_comes_back(open_store, run_info, part_record, content):
    store = open_store()
    store.begin_run(run_info())
    record = part_record(2**63 - 1, **content)
    store.append([record])
    (found,) = read_back(store.directory)
    assert as_text(found) == as_text(record)


@given(st.floats(width=32, allow_nan=False), st.floats(allow_nan=False))
def test_scores_come_back_bit_for_bit(score, margin):
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.execute("CREATE TABLE t (score REAL, margin_ms REAL) STRICT")
    connection.execute("INSERT INTO t VALUES (?, ?)", (score, margin))
    row = connection.execute("SELECT * FROM t").fetchone()
    connection.close()
    assert row["score"] == score
    assert row["margin_ms"] == margin


def test_a_row_has_a_value_for_each_field(part_record):
    record = part_record(1, **FULL)
    row = dict(zip((field.name for field in fields(PartRecord)), part_row(record), strict=True))
    assert as_text(from_row(row)) == as_text(record)


def test_file_names_that_are_no_text_do_not_lose_the_part(open_store, run_info, part_record):
    store = open_store()
    store.begin_run(run_info())
    store.append([part_record(1, source=os.fsdecode(b"caf\xe9.png"))])
    assert read_back(store.directory)[0].source == "caf\\udce9.png"


def test_parts_come_in_the_order_of_their_ids(open_store, run_info, part_record):
    store = open_store()
    store.begin_run(run_info())
    ids = list(range(1, 1300))
    store.append([part_record(part_id) for part_id in reversed(ids)])
    assert [record.part_id for record in read_back(store.directory)] == ids


def test_run_and_its_end_come_back(open_store, run_info):
    store = open_store()
    info = run_info(thresholds={"score": 0.1, "map": None}, station="line-7")
    number = store.begin_run(info)
    with open_records(store.directory) as reader:
        begun = reader.run()
        store.end_run({"triggers": 3, "passed": 2})
        ended = reader.run()
    assert (begun.number, begun.info, begun.ended_utc, begun.counters) == (number, info, None, None)
    assert ended.counters == {"triggers": 3, "passed": 2}
    assert ended.ended_utc.endswith("Z")
    assert not ended.interrupted


def test_a_run_without_end_is_marked_when_the_next_begins(open_store, run_info):
    first = open_store()
    first.begin_run(run_info())
    first.close()
    second = open_store()
    with open_records(second.directory) as reader:
        assert not reader.run(1).interrupted
        assert second.begin_run(run_info()) == 2
        assert [(run.interrupted, run.ended_utc) for run in reader.runs()] == [(True, None), (False, None)]


def test_part_ids_may_repeat_in_another_run(open_store, run_info, part_record):
    store = open_store()
    for run in (1, 2):
        store.begin_run(run_info())
        store.append([part_record(1, score=run / 4)])
        store.end_run({})
    assert [record.score for run in (1, 2) for record in read_back(store.directory, run)] == [0.25, 0.5]


def test_a_refused_record_leaves_nothing_of_its_transaction(open_store, run_info, part_record):
    store = open_store()
    store.begin_run(run_info())
    store.append([part_record(1)])
    with pytest.raises(RefusedRecordError):
        store.append([part_record(2), part_record(1)])
    assert [record.part_id for record in read_back(store.directory)] == [1]
    store.append([part_record(2)])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE parts SET outcome = 'pass'",
        "DELETE FROM parts",
        "DELETE FROM runs",
        "DELETE FROM images",
        "UPDATE runs SET ended_utc = '2030-01-01T00:00:00.000Z'",
    ],
)
def test_the_database_itself_refuses_to_forget(recorded_run, statement):
    connection = sqlite3.connect(recorded_run / DATABASE)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.close()


def test_a_second_process_is_refused(open_store):
    store = open_store()
    script = (
        "import sys; from pathlib import Path; from edge.config import RecordsConfig;"
        "from edge.records import RecordStore; from edge.errors import OpenError\n"
        "try: RecordStore(RecordsConfig(directory=Path(sys.argv[1])))\n"
        "except OpenError as error: sys.exit(str(error))"
    )
    root = Path(edge.__file__).parents[1]
    child = subprocess.run(
        [sys.executable, "-c", script, str(store.directory)], cwd=root, capture_output=True, text=True
    )
    assert child.returncode == 1
    assert "already recording" in child.stderr
    assert "Traceback" not in child.stderr


def test_a_refused_open_gives_the_lock_back(tmp_path, open_store):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / DATABASE).write_bytes(b"not a database " * 500)
    with pytest.raises(OpenError, match="not a database"):
        open_store()
    (tmp_path / "records" / DATABASE).unlink()
    open_store()


def test_a_closed_directory_can_be_opened_again(open_store):
    open_store().close()
    open_store()


def test_a_directory_below_a_file_is_refused(tmp_path, open_store):
    (tmp_path / "file").touch()
    with pytest.raises(OpenError, match=r"file/records cannot be written.*records\.directory"):
        open_store(tmp_path / "file" / "records")


@pytest.fixture
def without_rights():
    """For root nothing is unwritable, so the test runs as somebody else meanwhile."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_an_unwritable_directory_is_refused(tmp_path, open_store, request):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    request.getfixturevalue("without_rights")
    with pytest.raises(OpenError, match="closed cannot be written: Permission denied"):
        open_store(closed)


def test_a_newer_schema_is_refused(open_store, tmp_path):
    store = open_store()
    store.close()
    connection = sqlite3.connect(store.directory / DATABASE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OpenError, match=r"newer version \(schema 99, known here: 1\)"):
        open_store()
    with pytest.raises(OpenError, match="newer version"):
        open_records(store.directory)


def test_a_database_of_another_kind_is_refused(tmp_path, open_store):
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("CREATE TABLE other (x)")
    connection.commit()
    connection.close()
    with pytest.raises(OpenError, match="not one of inspection records"):
        open_store(tmp_path)


def test_pictures_of_unknown_runs_are_never_overwritten(tmp_path, open_store, run_info):
    folder = tmp_path / "records" / "frames" / "1"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(b"evidence")
    store = open_store()
    with pytest.raises(OpenError, match="does not know"):
        store.begin_run(run_info())
    assert (folder / "1.png").read_bytes() == b"evidence"
    with open_records(store.directory) as reader:
        assert reader.runs() == []


def test_commits_wait_for_the_disk(open_store):
    # synchronous is a matter of the connection: nobody else can see it
    connection = open_store()._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_closed_store_says_so(open_store, run_info, part_record):
    store = open_store()
    store.begin_run(run_info())
    store.close()
    store.close()
    with pytest.raises(OperateError, match="are closed"):
        store.append([part_record(1)])


def test_recording_needs_a_run(open_store, part_record):
    with pytest.raises(OperateError, match="No run was begun"):
        open_store().append([part_record(1)])


def test_reading_while_another_thread_writes(open_store, run_info, part_record):
    store = open_store()
    store.begin_run(run_info())
    total = 400

    def write():
        for part_id in range(1, total + 1):
            store.append([part_record(part_id)])

    writer = threading.Thread(target=write)
    writer.start()
    seen = [0]
    with open_records(store.directory) as reader:
        while seen[-1] < total:
            ids = [record.part_id for record in reader.parts(1)]
            assert ids == list(range(1, len(ids) + 1))
            assert len(ids) >= seen[-1]
            seen.append(len(ids))
    writer.join()


def test_utc_text():
    east = timezone(timedelta(hours=9))
    moment = datetime(2024, 1, 1, 8, 59, 59, 999_600, tzinfo=east)
    assert utc_text(moment) == "2023-12-31T23:59:59.999Z"


def test_no_records_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"no records\.sqlite in it"):
        open_records(tmp_path)


@pytest.mark.parametrize(("number", "text"), [(9, "no run 9. The last is run 1"), (0, "no run 0")])
def test_an_unknown_run_is_said(recorded_run, number, text):
    with open_records(recorded_run) as reader, pytest.raises(ConfigError, match=text):
        reader.run(number)


def test_no_run_yet_is_said(open_store):
    with open_records(open_store().directory) as reader, pytest.raises(ConfigError, match="Nothing was rec"):
        reader.run()


def test_listing_uses_the_indexes(recorded_run):
    connection = sqlite3.connect(recorded_run / DATABASE)
    plans = {
        query: str(connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall())
        for query in (
            "SELECT * FROM parts WHERE run = 1 AND part_id > 5 ORDER BY part_id LIMIT 9",
            "SELECT * FROM parts WHERE triggered_utc > 'x' ORDER BY triggered_utc LIMIT 9",
            "SELECT path FROM images WHERE removed_utc IS NULL AND sequence > 5 ORDER BY sequence LIMIT 9",
            "SELECT sum(bytes) FROM images WHERE removed_utc IS NULL",
        )
    }
    connection.close()
    for plan in plans.values():
        assert "TEMP B-TREE" not in plan
        assert "INDEX" in plan
