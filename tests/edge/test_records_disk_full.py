"""A real disk that is full: a small file system in memory, mounted for the test."""

import os
import subprocess
import threading
import time

import pytest

from edge.records import RecordWriter, WriterLimits, open_records

DISK_MB = 12

QUICK = WriterLimits(commit_every_s=0.01, retry_after_s=0.01, retry_at_most_s=0.05)


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", disk]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting needs root; run the tests as root to include this")
    yield disk
    subprocess.run(["umount", disk], check=True)


def fill(disk):
    """Take all the room that is left."""
    ballast = disk / f"ballast{len(list(disk.glob('ballast*')))}"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        write_for_ever(file)


def write_for_ever(file):
    while True:
        file.write(bytes(4096))


def wait_until(condition):
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class Alarms:
    def __init__(self):
        self.standing, self.raised, self._lock = set(), set(), threading.Lock()

    def alarm(self, name, _detail):
        with self._lock:
            self.standing.add(name)
            self.raised.add(name)

    def clear(self, name):
        with self._lock:
            self.standing.discard(name)


@pytest.mark.timeout(60)
def test_no_row_is_lost_on_a_full_disk(small_disk, open_store, run_info, part_record, raw_frame):
    store = open_store(small_disk / "records")
    store.begin_run(run_info())
    alarms = Alarms()
    writer = RecordWriter(store, alarms.alarm, alarms.clear, QUICK)
    writer.start()
    parts = iter(range(1, 100_000))

    def submit(count, with_frame):
        for _ in range(count):
            part_id = next(parts)
            writer.submit(part_record(part_id), raw_frame(part_id, (300, 400)) if with_frame else None)

    submit(10, with_frame=True)
    wait_until(lambda: writer.idle)
    assert writer.counters().pictures_written == 10

    # Pictures find no room: they are dropped, the rows are written where the database can still grow.
    fill(small_disk)
    submit(10, with_frame=True)
    wait_until(lambda: "disk_full" in alarms.raised)

    # Rows find no room either: old pictures go, and the rows get theirs.
    while writer.counters().picture_bytes > 0:
        submit(20, with_frame=False)
        time.sleep(0.005)
    wait_until(lambda: writer.idle)

    # Nothing is left to give up: rows wait in memory.
    while writer.counters().rows_waiting < 500:
        fill(small_disk)
        submit(50, with_frame=False)
        time.sleep(0.005)
    assert "disk_full" in alarms.standing

    # Room returns: everything is written, in order, and pictures are kept again.
    for ballast in small_disk.glob("ballast*"):
        ballast.unlink()
    wait_until(lambda: writer.idle)
    submit(1, with_frame=True)
    assert writer.stop()
    assert alarms.standing == set()
    total = next(parts) - 1
    counters = writer.counters()
    assert (counters.rows_written, counters.rows_waiting, counters.rows_lost) == (total, 0, 0)
    with open_records(store.directory) as reader:
        assert [record.part_id for record in reader.parts(1)] == list(range(1, total + 1))
        assert [record.part_id for record in reader.parts(1, stored_only=True)] == [total]
