"""Alarms, heartbeats and the status snapshot."""

import json
import threading

import pytest

from edge.health import Alarms, BeatingClock, Heartbeats, notify_service_manager, write_status


class Clock:
    """Steps its own time; a wait takes no real time."""

    def __init__(self):
        self.now = 0

    def now_ns(self):
        return self.now

    def wait_until(self, due_ns, stop):
        self.now = max(self.now, due_ns)
        return stop.is_set()


def test_alarms_count_stand_and_clear(caplog):
    alarms = Alarms()
    alarms.raise_alarm("disk_full", "first")
    alarms.raise_alarm("disk_full", "second")
    alarms.raise_alarm("crash", "once")
    alarms.clear("disk_full")
    alarms.clear("never_raised")
    disk, crash = alarms.snapshot()
    assert (disk.name, disk.count, disk.detail, disk.active) == ("disk_full", 2, "second", False)
    assert (crash.name, crash.count, crash.active) == ("crash", 1, True)
    # One line when it begins, one when it is over: a flood of raises is not a flood of log lines.
    assert [record.message.split()[1] for record in caplog.records] == ["disk_full:", "crash:", "disk_full"]


def test_a_thread_without_progress_is_found_and_one_that_left_is_not():
    clock = Clock()
    beats = Heartbeats(clock)
    beats.beat("capture")
    clock.now = 400_000_000
    beats.beat("decide")
    assert beats.stalled(500) is None
    clock.now = 600_000_000
    assert beats.stalled(500) == "capture"
    beats.gone("capture")
    assert beats.stalled(500) is None


def test_waiting_for_a_moment_is_progress():
    clock, beats = Clock(), []
    waiting = BeatingClock(clock, lambda: beats.append(clock.now))
    assert waiting.wait_until(1_000_000_000, threading.Event()) is False
    assert clock.now == 1_000_000_000
    assert max(b - a for a, b in zip(beats, [*beats[1:], clock.now], strict=True)) <= 250_000_000


def test_waiting_ends_when_stopped():
    stop = threading.Event()
    stop.set()
    assert BeatingClock(Clock(), lambda: None).wait_until(10**12, stop) is True


def test_status_is_replaced_whole(tmp_path):
    path = tmp_path / "status.json"
    write_status(path, {"counts": 1})
    write_status(path, {"counts": 2})
    assert json.loads(path.read_text()) == {"counts": 2}
    assert [file.name for file in tmp_path.iterdir()] == ["status.json"]


def test_a_snapshot_that_cannot_be_written_stops_nothing(tmp_path):
    write_status(tmp_path / "none" / "status.json", {"counts": 1})
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("socket", [None, "@no-such-socket"])
def test_service_manager_is_told_only_when_there_is_one(monkeypatch, socket):
    if socket is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", socket)
    notify_service_manager("WATCHDOG=1")
