"""`adclip run` and `adclip replay` as processes: drained, killed, on a full disk, with faults injected."""

import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest

from edge.messages import Outcome, Reason
from edge.records import open_records

SYNTHETIC = {"backend": "synthetic", "rate_per_min": 600, "width_px": 1024, "height_px": 540}
pytestmark = pytest.mark.timeout(120)


def recorded(station, run=None):
    with open_records(station.records) as reader:
        found = reader.run(run)
        return found, list(reader.parts(found.number))


def replay_camera(pictures, **changes):
    return {"backend": "replay", "source": str(pictures)} | changes


def test_every_picture_is_decided_recorded_and_accounted_for(station, pictures, adclip):
    station.write(replay_camera(pictures))
    code, _, log = adclip("run", "--config", station.file)
    assert code == 0, log
    assert "8 triggers, 8 frames, 8 verdicts" in log
    run, parts = recorded(station)
    assert run.ended_utc is not None
    assert [part.source for part in parts] == [f"part_{number}.png" for number in range(1, 9)]
    assert all(part.outcome in {Outcome.PASS, Outcome.REJECT} for part in parts)
    assert all(part.image_path for part in parts)
    assert station.levels()[-1] is False


def test_injected_faults_end_in_faults_and_nothing_else_changes(station, pictures, adclip):
    station.write(replay_camera(pictures))
    adclip("run", "--config", station.file)
    _, clean = recorded(station)
    faults = {"missing": [2], "duplicated": [3], "truncated": [5], "late": [7], "late_ms": 1600}
    station.write(replay_camera(pictures, faults=faults))
    code, _, log = adclip("run", "--config", station.file)
    assert code == 0, log
    _, parts = recorded(station)
    assert [part.part_id for part in parts] == list(range(1, 9))
    assert parts[1].reasons == (Reason.MISSING_FRAME,)
    assert parts[4].reasons == (Reason.INCOMPLETE_FRAME,)
    assert parts[6].reasons == (Reason.MISSING_FRAME,)
    for number in (1, 3, 4, 6, 8):
        assert parts[number - 1].score == clean[number - 1].score
    for alarm in ("duplicate_frame", "late_frame", "missing_frame", "incomplete_frame"):
        assert f"alarm {alarm}" in log


def test_sigterm_drains_and_leaves_the_lines_at_their_stop_level(station):
    process = station.write(SYNTHETIC).start()
    station.wait_for_verdicts(process, 5)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    run, parts = recorded(station)
    assert run.ended_utc is not None
    assert run.counters["triggers"] == run.counters["verdicts"] == len(parts)
    assert all(Reason.STOPPED not in part.reasons for part in parts)
    assert station.levels()[-1] is False


def test_sigkill_loses_no_committed_record_and_the_next_start_is_clean(station, adclip):
    process = station.write(SYNTHETIC).start()
    station.wait_for_verdicts(process, 6)
    with closing(sqlite3.connect(f"file:{station.records / 'records.sqlite'}?mode=ro", uri=True)) as database:
        committed = {row[0] for row in database.execute("SELECT part_id FROM parts")}
    process.kill()
    process.communicate(timeout=30)
    station.write(SYNTHETIC | {"parts": 3})
    code, _, log = adclip("run", "--config", station.file)
    assert code == 0, log
    first, parts = recorded(station, 1)
    assert committed
    assert committed <= {part.part_id for part in parts}
    assert first.interrupted
    assert len(recorded(station, 2)[1]) == 3


def test_replay_reproduces_every_bit_and_names_what_differs(station, pictures, adclip):
    station.write(replay_camera(pictures), decision={"score": 0.5, "map": 0.9})
    assert adclip("run", "--config", station.file)[0] == 0
    code, out, _ = adclip("replay", station.records)
    assert code == 0, out
    assert "8 parts decided the same, 0 differ" in out
    with closing(sqlite3.connect(station.records / "records.sqlite")) as database:
        # The database itself refuses changes; whoever has the file can still take that guard away.
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE parts SET score = score + 1e-7 WHERE part_id = 4")
        database.commit()
    code, out, _ = adclip("replay", station.records)
    assert code == 1
    assert out.startswith("part 4: score")
    assert "7 parts decided the same, 1 differ" in out


def test_a_recorded_run_can_be_the_camera(station, pictures, adclip):
    # Paced, so that the second run, which keeps the intervals of the first, is in no hurry either.
    station.write(replay_camera(pictures, timing="rate", rate_per_min=400))
    adclip("run", "--config", station.file)
    _, first = recorded(station)
    source = station.records
    station.records = station.folder / "second"
    station.write(replay_camera(source, timing="recorded"))
    code, _, log = adclip("run", "--config", station.file)
    assert code == 0, log
    _, second = recorded(station)
    assert [(p.part_id, p.score) for p in second] == [(p.part_id, p.score) for p in first]


def test_a_full_disk_costs_pictures_but_no_part(station, pictures, adclip, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        station.records = small / "records"
        # 1024 x 540 of noise is about half a megabyte each: the disk takes two or three.
        station.write(SYNTHETIC | {"parts": 12})
        code, _, log = adclip("run", "--config", station.file)
        assert code == 0, log
        assert "disk_full" in log
        assert "12 triggers, 12 frames, 12 verdicts" in log
        _, parts = recorded(station)
        assert [part.part_id for part in parts] == list(range(1, 13))
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_second_daemon_on_the_same_records_is_refused(station, adclip):
    process = station.write(SYNTHETIC).start()
    try:
        station.wait_for_verdicts(process, 1)
        code, _, log = adclip("run", "--config", station.file)
        assert code == 2
        assert "Another process is already recording" in log
        assert "Traceback" not in log
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_unwritable_records_are_one_paragraph(station, pictures, adclip):
    blocker = station.folder / "file"
    blocker.write_text("in the way")
    station.records = blocker / "records"
    station.write(replay_camera(pictures))
    code, _, log = adclip("run", "--config", station.file)
    assert code == 2
    assert str(station.records) in log
    assert "Traceback" not in log


def test_an_empty_folder_is_named(station, tmp_path, adclip):
    empty = tmp_path / "empty"
    empty.mkdir()
    station.write(replay_camera(empty))
    code, _, log = adclip("run", "--config", station.file)
    assert code == 2
    assert str(empty) in log
    assert "Traceback" not in log


def test_list_names_the_runs(station, pictures, adclip):
    station.write(replay_camera(pictures))
    adclip("run", "--config", station.file)
    code, out, _ = adclip("records", "list", station.records, COLUMNS="200")
    assert code == 0
    assert "test" in out
