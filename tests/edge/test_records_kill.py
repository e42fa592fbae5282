"""A writing process is killed, again and again: what it had committed is there, and the next start is clean.

A kill leaves the page cache behind, a power cut does not; this shows the first only.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import edge
from edge.config import RecordsConfig
from edge.records import RecordStore, open_records

ROUNDS = 5

# Forks a writer for each directory that it is given, and tells: its process id, the last part of each commit,
# and at last how it ended. So only one process pays for the imports.
WRITERS = """
import math, os, sys, time
from pathlib import Path

import numpy as np

from edge.config import RecordsConfig
from edge.messages import ActionKind, Frame, FrameStatus, Outcome, PixelFormat
from edge.records import PartRecord, RecordStore, RecordWriter, RunInfo, WriterLimits


def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())


def write(directory):
    store = RecordStore(RecordsConfig(directory=directory, keep_frames="all", disk_budget_mb=0.1))
    store.begin_run(RunInfo(*["text"] * 7, {}, {}, "1", "2024-05-06T07:08:09.123Z", 0))
    append = store.append

    def append_and_tell(records, pictures, removed):
        append(records, pictures, removed)
        tell("committed", records[-1].part_id)

    store.append = append_and_tell
    writer = RecordWriter(store, tell, tell, WriterLimits(commit_every_s=0.002))
    writer.start()
    image = np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8)
    part_id = 0
    while True:
        while writer.counters().rows_waiting > 20:
            time.sleep(0.001)
        part_id += 1
        writer.submit(
            PartRecord(
                part_id, part_id, 0, "2024-05-06T07:08:09.123Z", 0, 0, 0, FrameStatus.OK, PixelFormat.MONO8,
                math.nan, math.nan, "", 0.5, 0.5, Outcome.PASS, (), (), ActionKind.HOLD, 0.0, 0.0, 0.0, 0.0,
                0.0, "b", "c",
            ),
            Frame(part_id, part_id, 0, 0, image, PixelFormat.MONO8),
        )


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        write(Path(line.rstrip()))
    tell("pid", child)
    tell("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture
def writers():
    root = Path(edge.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", WRITERS], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()
        process.kill()


def killed_after(writers, directory, commits):
    """Have a writer started, and killed after that many commits; the last part id that it saw committed."""
    writers.stdin.write(f"{directory}\n")
    writers.stdin.flush()
    pid, told = 0, []
    for line in writers.stdout:
        word, number = line.split()
        if word == "ended":
            assert int(number) == -signal.SIGKILL
            return told[-1]
        if word == "pid":
            pid = int(number)
        elif word == "committed":
            told.append(int(number))
        if len(told) >= commits and pid:
            os.kill(pid, signal.SIGKILL)
            pid = 0  # from here on the number may be another's
    raise AssertionError("the writer ended by itself")


@pytest.mark.timeout(120)
def test_kills_lose_no_committed_row(tmp_path, writers):
    directory = tmp_path / "records"
    for number in range(1, ROUNDS + 1):
        committed = killed_after(writers, directory, commits=10 + 3 * number)
        RecordStore(RecordsConfig(directory=directory, keep_frames="all")).close()
        with open_records(directory) as reader:
            found = list(reader.parts(number))
            assert [record.part_id for record in found] == list(range(1, len(found) + 1))
            assert len(found) >= committed
            stored = list(reader.parts(number, stored_only=True))
            assert stored
            assert all(reader.frame(record) is not None for record in stored)
            assert [run.interrupted for run in reader.runs()] == [True] * (number - 1) + [False]
            kept = {
                record.image_path
                for run in reader.runs()
                for record in reader.parts(run.number, stored_only=True)
            }
        on_disk = {path.relative_to(directory).as_posix() for path in directory.glob("frames/*/*")}
        assert on_disk == kept
