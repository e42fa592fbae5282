"""The recorder keeps every edge with its time, in memory and on disk."""

import pytest

from edge.config import RecorderOutputConfig
from edge.errors import OpenError
from edge.outputs.recorder import RecorderOutputs

LINES = {"reject": {"start": False, "stop": False, "crash": True, "stall": True}}


def recorder(clock, file=None):
    return RecorderOutputs(RecorderOutputConfig(backend="recorder", lines=LINES, file=file), clock)


class Clock:
    def __init__(self):
        self.now = 0

    def now_ns(self):
        self.now += 10
        return self.now


def test_edges_have_times_and_repeats_leave_none(tmp_path):
    outputs = recorder(Clock(), tmp_path / "deep" / "lines.csv")
    for level in (True, True, False):
        outputs.write("reject", level)
    outputs.close()
    assert [(edge.time_ns, edge.level) for edge in outputs.edges] == [(10, False), (20, True), (30, False)]
    assert (tmp_path / "deep" / "lines.csv").read_text() == (
        "time_ns,line,level\n10,reject,0\n20,reject,1\n30,reject,0\n"
    )


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OpenError, match="cannot write"):
        recorder(Clock(), tmp_path / "file" / "lines.csv")


def test_the_lines_go_on_when_the_disk_does_not():
    outputs = recorder(Clock(), None)

    class FullDisk:
        def write(self, text):
            raise OSError(28, "No space left on device")

    outputs._file = FullDisk()
    outputs.write("reject", True)
    assert outputs.levels == {"reject": True}
