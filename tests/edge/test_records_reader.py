"""Reading where writing is not allowed, from copies, and from what somebody has damaged."""

import os
import shutil
import sqlite3
import subprocess

import pytest

from edge.errors import OpenError, OperateError
from edge.records import DATABASE, open_records


def ids(directory):
    with open_records(directory) as reader:
        return [record.part_id for record in reader.parts(1)]


def test_a_copy_can_be_read(recorded_run, tmp_path):
    shutil.copytree(recorded_run, tmp_path / "copy")
    shutil.rmtree(recorded_run)
    assert ids(tmp_path / "copy") == [11, 12, 13, 14, 15]


def test_a_copy_of_a_run_that_was_killed_can_be_read(open_store, run_info, part_record, tmp_path):
    store = open_store()
    store.begin_run(run_info())
    store.append([part_record(1), part_record(2)])
    shutil.copytree(store.directory, tmp_path / "copy")  # with its log, as a kill leaves it
    assert (tmp_path / "copy" / f"{DATABASE}-wal").stat().st_size > 0
    assert ids(tmp_path / "copy") == [1, 2]


@pytest.fixture
def read_only_mount(recorded_run, tmp_path):
    """The recorded run on a file system that cannot be written, as on a memory card with its slide set."""
    mount = tmp_path / "mount"
    mount.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "--bind", recorded_run, mount], capture_output=True).returncode
    ):
        pytest.skip("mounting needs root; run the tests as root to include this")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", mount], check=True)
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True)


def test_records_on_a_read_only_disk_can_be_read(read_only_mount):
    assert ids(read_only_mount) == [11, 12, 13, 14, 15]


def test_a_file_that_is_no_whole_database_is_refused(tmp_path):
    (tmp_path / DATABASE).write_bytes(b"SQLite format 3\x00" + bytes(4000))
    with pytest.raises(OpenError, match="cannot be read"):
        open_records(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        "outcome = 'excellent'",
        "reasons = 'not json'",
        "regions = '[{\"box_px\": [1, 2]}]'",
        "regions = '[7]'",
        "regions = '7'",
    ],
)
def test_an_altered_row_is_refused(recorded_run, change):
    connection = sqlite3.connect(recorded_run / DATABASE)
    connection.executescript(f"DROP TRIGGER parts_stay; UPDATE parts SET {change} WHERE part_id = 12;")
    connection.close()
    with open_records(recorded_run) as reader, pytest.raises(OperateError, match="altered or damaged"):
        list(reader.parts(1))


def test_a_damaged_page_is_told(recorded_run):
    database = recorded_run / DATABASE
    content = bytearray(database.read_bytes())
    content[4096 * 2 :] = b"\xff" * len(content[4096 * 2 :])
    database.write_bytes(content)
    with open_records(recorded_run) as reader, pytest.raises(OperateError):
        list(reader.parts(reader.run().number))


def test_the_reader_cannot_write(recorded_run):
    with open_records(recorded_run) as reader, pytest.raises(OperateError, match="readonly"):
        reader._rows("UPDATE images SET removed_utc = 'now'")
