"""The writer thread: nothing is lost while anything can be written, and everything else is counted and told.

Disks that refuse are injected here; `test_records_disk_full.py` fills a real one.
"""

import errno
import threading
import time

import numpy as np
import pytest

from edge.errors import OperateError
from edge.messages import FrameStatus
from edge.records import RecordWriter, WriterLimits, open_records
from edge.records.archive import encode_picture, write_whole
from edge.records.store import StoreFullError

QUICK = WriterLimits(commit_every_s=0.005, retry_after_s=0.005, retry_at_most_s=0.02)


class Listener:
    """Keeps what it is told about alarms, in order."""

    def __init__(self):
        self.told = []
        self._changed = threading.Condition()

    def alarm(self, name, detail):
        with self._changed:
            self.told.append((name, detail))
            self._changed.notify_all()

    def clear(self, name):
        with self._changed:
            self.told.append((name, None))
            self._changed.notify_all()

    def names(self):
        return [name if detail is not None else f"{name} over" for name, detail in self.told]

    def wait_for(self, name):
        with self._changed:
            assert self._changed.wait_for(lambda: name in self.names(), 10), f"{name} not in {self.names()}"


class Tap:
    """Lets through what is written to a store or disk until it is told to fail; then raises the fault."""

    def __init__(self, target):
        self._target = target
        self.fault = None
        self.calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.fault is not None:
            raise self.fault
        return self._target(*args, **kwargs)


class Gate:
    """Holds its caller until it is opened."""

    def __init__(self, target):
        self._target = target
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, *args, **kwargs):
        self.reached.set()
        assert self.opened.wait(10)
        return self._target(*args, **kwargs)


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def start_writer(open_store, run_info, listener):
    """Starts a writer on a new store; `tap` and `picture_tap` replace its commits and its file writes."""
    writers = []

    def make(limits=QUICK, tap=Tap, picture_tap=Tap, **config):
        store = open_store(**config)
        store.begin_run(run_info())
        store.append = tap(store.append)
        store.archive._write_file = picture_tap(write_whole)
        writer = RecordWriter(store, listener.alarm, listener.clear, limits)
        writers.append(writer)
        writer.start()
        return writer, store

    yield make
    for writer in writers:
        writer.stop(1)


def rows(store):
    with open_records(store.directory) as reader:
        return list(reader.parts(1))


def ids(store):
    return [record.part_id for record in rows(store)]


def wait_until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_rows_and_pictures_are_written(start_writer, part_record, raw_frame, listener, noise_image):
    writer, store = start_writer()
    for part_id in range(1, 21):
        writer.submit(part_record(part_id), raw_frame(part_id))
    assert writer.stop()
    counters = writer.counters()
    assert (counters.rows_written, counters.rows_waiting, counters.rows_lost) == (20, 0, 0)
    assert (counters.pictures_written, counters.pictures_dropped) == (20, 0)
    with open_records(store.directory) as reader:
        found = list(reader.parts(1))
        assert [record.part_id for record in found] == list(range(1, 21))
        for record in found:
            np.testing.assert_array_equal(reader.frame(record).image, noise_image(record.part_id))
    assert counters.picture_bytes == sum(
        len(encode_picture(noise_image(part_id))) for part_id in range(1, 21)
    )
    assert listener.told == []


def test_the_policy_decides_about_pictures(start_writer, part_record, reject_record, raw_frame):
    writer, store = start_writer(keep_frames={"sample": 5})
    for part_id in range(1, 11):
        make = reject_record if part_id == 7 else part_record
        writer.submit(make(part_id), raw_frame(part_id))
    writer.stop()
    assert [record.part_id for record in rows(store) if record.image_path] == [5, 7, 10]
    assert writer.counters().pictures_dropped == 0


@pytest.mark.parametrize("frame_of", [lambda make: None, lambda make: make(1, image=None)])
def test_a_part_without_a_picture_is_recorded(start_writer, part_record, raw_frame, frame_of):
    writer, store = start_writer()
    writer.submit(part_record(1, frame_status=FrameStatus.MISSING), frame_of(raw_frame))
    writer.stop()
    assert rows(store)[0].image_path is None


def test_many_rows_share_a_commit(start_writer, part_record):
    writer, store = start_writer(tap=Gate)
    writer.submit(part_record(1), None)
    assert store.append.reached.wait(10)
    store.append, gate = Tap(store.append._target), store.append
    for part_id in range(2, 2502):
        writer.submit(part_record(part_id), None)
    gate.opened.set()
    writer.stop()
    assert writer.counters().rows_written == 2501
    assert store.append.calls < 100


def test_submitting_does_not_wait_for_the_disk(start_writer, part_record, raw_frame, listener):
    limits = WriterLimits(pictures=3, rows=10, commit_every_s=0.005)
    writer, store = start_writer(limits, picture_tap=Gate)
    writer.submit(part_record(1), raw_frame(1))
    gate = store.archive._write_file
    assert gate.reached.wait(10)
    for part_id in range(2, 15):  # returns, although the disk hangs
        writer.submit(part_record(part_id), raw_frame(part_id))
    counters = writer.counters()
    # one on its way to the disk and two behind it; then rows without pictures up to ten; then nothing
    assert (counters.rows_waiting, counters.pictures_dropped, counters.rows_lost) == (10, 7, 4)
    gate.opened.set()
    writer.stop()
    assert ids(store) == list(range(1, 11))
    assert [record.part_id for record in rows(store) if record.image_path] == [1, 2, 3]
    assert set(listener.names()) == {"pictures_dropped", "pictures_dropped over", "records_lost"}
    assert not writer.stop()


def test_a_disk_that_refuses_pictures_keeps_rows(start_writer, part_record, raw_frame, listener):
    writer, store = start_writer()
    disk = store.archive._write_file
    disk.fault = OSError(errno.ENOSPC, "No space left on device")
    writer.submit(part_record(1), raw_frame(1))
    listener.wait_for("pictures_dropped")
    wait_until(lambda: writer.counters().rows_written == 1)
    assert "disk_full over" not in listener.names()
    disk.fault = None
    writer.submit(part_record(2), raw_frame(2))
    listener.wait_for("disk_full over")
    writer.stop()
    counters = writer.counters()
    assert (counters.rows_written, counters.pictures_written, counters.pictures_dropped) == (2, 1, 1)
    assert [record.image_path is None for record in rows(store)] == [True, False]
    assert listener.names() == ["disk_full", "pictures_dropped", "disk_full over", "pictures_dropped over"]


def test_a_disk_that_refuses_for_another_reason_is_told(start_writer, part_record, raw_frame, listener):
    writer, store = start_writer()
    store.archive._write_file.fault = OSError(errno.EROFS, "Read-only file system")
    writer.submit(part_record(1), raw_frame(1))
    writer.stop()
    name, detail = listener.told[0]
    assert name == "pictures_dropped"
    assert "Read-only file system" in detail
    assert ids(store) == [1]


def test_rows_outrank_pictures(start_writer, part_record, raw_frame, listener):
    writer, store = start_writer()
    for part_id in range(1, 4):
        writer.submit(part_record(part_id), raw_frame(part_id))
    wait_until(lambda: writer.counters().rows_written == 3)
    store.append.fault = StoreFullError("The disk is full.", do="Make room.")
    writer.submit(part_record(4), raw_frame(4))
    wait_until(lambda: not list(store.directory.rglob("*.png")))  # the old ones, then its own
    for part_id in range(5, 100):
        writer.submit(part_record(part_id), raw_frame(part_id))
    assert writer.counters().rows_written == 3
    store.append.fault = None
    listener.wait_for("disk_full over")
    writer.submit(part_record(100), raw_frame(100))
    assert writer.stop()
    assert ids(store) == list(range(1, 101))
    with open_records(store.directory) as reader:
        stored = [record.part_id for record in reader.parts(1, stored_only=True)]
        found = {record.part_id: record for record in reader.parts(1)}
        assert reader.frame(found[1]) is None  # kept once, gone to make room
    assert stored[-1] == 100
    assert found[1].image_path is not None
    assert found[4].image_path is None
    counters = writer.counters()
    assert (counters.rows_written, counters.rows_lost) == (100, 0)
    assert counters.pictures_written + counters.pictures_dropped == 100
    assert counters.pictures_written == 3 + len(stored)


@pytest.mark.parametrize(
    "fault", [OperateError("The disk failed.", do="Check it."), RuntimeError("nobody thought of this")]
)
def test_rows_wait_out_any_failure(start_writer, part_record, raw_frame, listener, fault, caplog):
    writer, store = start_writer()
    store.append.fault = fault
    writer.submit(part_record(1), raw_frame(1))
    listener.wait_for("records_failed")
    before = writer.progress()
    wait_until(lambda: store.append.calls > 3)
    assert writer.progress() > before
    assert not writer.idle
    store.append.fault = None
    listener.wait_for("records_failed over")
    assert writer.stop()
    assert ids(store) == [1]
    assert ("RuntimeError" in caplog.text) is isinstance(fault, RuntimeError)


def test_a_failure_while_a_picture_is_written_loses_no_row(start_writer, part_record, raw_frame, listener):
    writer, store = start_writer()
    store.archive._write_file.fault = RuntimeError("nobody thought of this")
    writer.submit(part_record(1), raw_frame(1))
    listener.wait_for("records_failed")
    store.archive._write_file.fault = None
    assert writer.stop()
    assert ids(store) == [1]


def test_a_record_that_is_refused_does_not_hold_up_the_others(start_writer, part_record, raw_frame, listener):
    writer, store = start_writer()
    for part_id in (1, 2, 1, 2**70, 3):
        writer.submit(part_record(part_id, triggered_ns=0, due_ns=0), raw_frame(part_id % 9))
    assert not writer.stop()
    assert ids(store) == [1, 2, 3]
    assert (writer.counters().rows_written, writer.counters().rows_lost) == (3, 2)
    assert "records_lost" in listener.names()
    assert len(list(store.directory.rglob("*.png"))) == 3


def test_what_cannot_be_written_before_the_end_is_counted(start_writer, part_record, raw_frame, listener):
    writer, store = start_writer()
    store.append.fault = OperateError("The disk failed.", do="Check it.")
    for part_id in (1, 2):
        writer.submit(part_record(part_id), raw_frame(part_id))
    assert not writer.stop(0.05)
    counters = writer.counters()
    assert (counters.rows_written, counters.rows_waiting, counters.rows_lost) == (0, 0, 2)
    assert listener.names()[-1] == "records_lost"
    assert list(store.directory.rglob("*.png")) == []  # no picture without a record


def test_a_part_after_the_end_is_counted(start_writer, part_record):
    writer, _ = start_writer()
    assert writer.stop()
    writer.submit(part_record(1), None)
    assert writer.counters().rows_lost == 1


def test_a_writer_that_never_started_can_be_stopped(open_store, run_info, part_record, listener):
    store = open_store()
    store.begin_run(run_info())
    writer = RecordWriter(store, listener.alarm, listener.clear)
    writer.submit(part_record(1), None)
    assert not writer.stop()


def test_an_idle_writer_makes_progress(start_writer):
    writer, _ = start_writer()
    before = writer.progress()
    assert writer.idle
    wait_until(lambda: writer.progress() > before)


def test_the_budget_holds_while_writing(start_writer, reject_record, raw_frame, listener, noise_image):
    size = len(encode_picture(noise_image(1)))
    writer, store = start_writer(WriterLimits(commit_every_s=0.5), disk_budget_mb=3.5 * size / 1e6)
    for part_id in range(1, 13):
        writer.submit(reject_record(part_id), raw_frame(part_id))
    writer.stop()
    assert sorted(int(path.stem) for path in store.directory.rglob("*.png")) == [10, 11, 12]
    assert ids(store) == list(range(1, 13))
    assert writer.counters().picture_bytes <= 3.5 * size
    assert listener.told == []


def test_a_budget_without_room_for_one_picture_is_told(start_writer, reject_record, raw_frame, listener):
    writer, store = start_writer(disk_budget_mb=0.0001)
    writer.submit(reject_record(1), raw_frame(1))
    writer.stop()
    assert ids(store) == [1]
    assert ("pictures_dropped", "the disk budget has no room for a picture") in listener.told


def test_a_listener_that_fails_does_not_end_the_thread(open_store, run_info, part_record, raw_frame, caplog):
    def fail(*_told):
        raise RuntimeError("the listener fails")

    store = open_store(disk_budget_mb=0.0001)
    store.begin_run(run_info())
    writer = RecordWriter(store, fail, fail, QUICK)
    writer.start()
    for part_id in (1, 2):
        writer.submit(part_record(part_id), raw_frame(part_id))
        wait_until(lambda: writer.idle)
    assert writer.stop()
    assert ids(store) == [1, 2]
    assert "the listener fails" in caplog.text


def test_counts_always_add_up(start_writer, part_record, raw_frame):
    writer, _ = start_writer()
    done = threading.Event()
    wrong = []

    def watch():
        low = 0
        while not done.is_set():
            before = submitted[0]
            counters = writer.counters()
            total = counters.rows_written + counters.rows_waiting + counters.rows_lost
            if not max(low, before) <= total <= submitted[0] + 1:
                wrong.append((before, total, submitted[0]))
            low = total

    submitted = [0]
    watcher = threading.Thread(target=watch)
    watcher.start()
    for part_id in range(1, 500):
        writer.submit(part_record(part_id), raw_frame(part_id) if part_id % 50 == 0 else None)
        submitted[0] += 1
    writer.stop()
    done.set()
    watcher.join()
    assert wrong == []
    assert writer.counters().rows_written == 499
