"""The watchdog is fed only while the records thread advances; the snapshot says what stands.

The writer here is two numbers. It does not model a disk.
"""

import json

import pytest

from edge.account import Counts
from edge.config import StationConfig
from edge.health import Alarms
from edge.supervisor import Supervisor

STALL_MS = 600


class Writer:
    def __init__(self):
        self.idle, self.count = False, 0

    def progress(self):
        return self.count


@pytest.fixture
def line(stepped_clock, tmp_path):
    """A supervisor with everything it touches, as attributes."""

    class Line:
        clock, writer, alarms, notified = stepped_clock, Writer(), Alarms(), []
        status = tmp_path / "status.json"
        camera_there = True

    config = StationConfig.model_validate(
        {
            "station": "test",
            "bundle": "bundle",
            "camera": {"backend": "replay", "source": "pictures"},
            "decision": {"score": 0.5},
            "gate": {"travel_ms": 120, "pulse_ms": 10},
            "outputs": {
                "backend": "recorder",
                "lines": {"reject": {"start": False, "stop": False, "crash": True, "stall": True}},
            },
            "records": {"directory": "records"},
            "limits": {"stall_ms": STALL_MS},
            "status_file": str(Line.status),
        }
    )
    Line.supervisor = Supervisor(
        config,
        Counts,
        Line.alarms,
        Line.writer,
        Line.clock,
        lambda _counts: None,
        lambda: Line.camera_there,
        Line.notified.append,
    )
    return Line


def active(alarms):
    return [alarm.name for alarm in alarms.snapshot() if alarm.active]


def test_a_stuck_writer_leaves_the_watchdog_unfed_until_it_moves_again(line):
    line.supervisor.tick()
    assert line.notified == ["WATCHDOG=1"]
    line.clock.advance_ms(STALL_MS + 1)
    line.supervisor.tick()
    line.supervisor.tick()
    assert line.notified == ["WATCHDOG=1"]
    assert active(line.alarms) == ["records_stalled"]
    assert [alarm.count for alarm in line.alarms.snapshot()] == [1]  # once, not at every look
    line.writer.count += 1
    line.supervisor.tick()
    assert len(line.notified) == 2
    assert active(line.alarms) == []


def test_a_writer_without_work_is_not_stuck(line):
    line.writer.idle = True
    for _ in range(3):
        line.clock.advance_ms(STALL_MS + 1)
        line.supervisor.tick()
    assert len(line.notified) == 3


def test_a_slow_writer_that_advances_is_not_stuck(line):
    for _ in range(4):
        line.clock.advance_ms(STALL_MS - 1)
        line.writer.count += 1
        line.supervisor.tick()
    assert len(line.notified) == 4
    assert active(line.alarms) == []


def test_a_camera_that_is_away_is_told_of_once_until_it_is_back(line):
    line.writer.idle = True
    for there in (True, False, False, True, False):
        line.camera_there = there
        line.supervisor.tick()
    assert active(line.alarms) == ["camera_lost"]
    assert [alarm.count for alarm in line.alarms.snapshot()] == [2]
    assert len(line.notified) == 5  # the daemon itself is well


def test_the_snapshot_tells_of_the_stall(line):
    line.clock.advance_ms(STALL_MS + 1)
    line.supervisor.tick()
    status = json.loads(line.status.read_text())
    assert [(alarm["name"], alarm["active"]) for alarm in status["alarms"]] == [("records_stalled", True)]
