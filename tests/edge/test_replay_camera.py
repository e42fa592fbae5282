"""Pictures from a folder and from a recorded run, on time, and with the faults that were asked for."""

import math
import shutil
import sqlite3
import threading

import numpy as np
import pytest
from PIL import Image

from edge.camera.replay import ReplayCamera
from edge.camera_config import ReplayCameraConfig
from edge.errors import ConfigError, OpenError
from edge.messages import FrameStatus, PixelFormat
from edge.records import DATABASE

MS = 1_000_000


class Line:
    """Runs a replay camera to its end and keeps, in order, what happened and when."""

    def __init__(self, clock, source, **settings):
        self.clock, self.events, self.triggers = clock, [], []
        config = ReplayCameraConfig.model_validate({"backend": "replay", "source": source} | settings)
        self.camera = ReplayCamera(config, self._trigger, clock)

    def _trigger(self, trigger):
        self.triggers.append(trigger)
        self.events.append(("trigger", trigger.part_id, trigger.triggered_ns))

    def run(self, stop=None):
        frames = []
        for frame in self.camera.frames(stop or threading.Event()):
            self.events.append(("frame", frame.part_id, frame.captured_ns))
            frames.append(frame)
        self.camera.close()
        return frames

    def order(self):
        return [f"{kind[0]}{part_id}" for kind, part_id, _ in self.events]

    def times_ms(self, kind):
        """Of all triggers or frames, after the first trigger."""
        start = self.events[0][2]
        return [(time_ns - start) / MS for event, _, time_ns in self.events if event == kind]


@pytest.fixture
def pictures(tmp_path):
    """Six grey pictures, two in a sub-folder."""
    folder = tmp_path / "pictures"
    for number in range(1, 7):
        path = folder / ("" if number < 5 else "more") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 10), number, np.uint8)).save(path)
    return folder


def statuses(frames):
    return [frame.status.value for frame in frames]


def test_a_folder_comes_in_name_order(stepped_clock, pictures):
    Image.new("RGB", (4, 4), (9, 8, 7)).save(pictures / "0.bmp")
    line = Line(stepped_clock, pictures)
    frames = line.run()
    assert [frame.source for frame in frames] == [
        "0.bmp",
        "1.png",
        "2.png",
        "3.png",
        "4.png",
        "more/5.png",
        "more/6.png",
    ]
    assert [(frame.part_id, frame.frame_id) for frame in frames] == [(n, n) for n in range(1, 8)]
    assert [frame.pixel_format for frame in frames] == [PixelFormat.RGB8] + [PixelFormat.MONO8] * 6
    assert frames[0].image[0, 0].tolist() == [9, 8, 7]
    assert math.isnan(frames[0].exposure_us)
    assert math.isnan(frames[0].gain_db)
    assert "7 pictures in" in line.camera.description


def test_each_trigger_comes_once_and_before_its_frame(stepped_clock, pictures):
    line = Line(stepped_clock, pictures)
    frames = line.run()
    assert line.order() == [f"{kind}{part}" for part in range(1, 7) for kind in "tf"]
    assert [frame.triggered_ns for frame in frames] == [trigger.triggered_ns for trigger in line.triggers]


def test_fast_does_not_let_time_pass(stepped_clock, pictures):
    line = Line(stepped_clock, pictures, timing="fast")
    line.run()
    assert not line.camera.live
    assert line.times_ms("trigger") == [0.0] * 6


def test_rate(stepped_clock, pictures):
    line = Line(stepped_clock, pictures, timing="rate", rate_per_min=240)
    line.run()
    assert line.camera.live
    assert line.times_ms("trigger") == [250.0 * n for n in range(6)]


def test_a_slow_line_is_not_made_up_for(stepped_clock, pictures):
    line = Line(stepped_clock, pictures, timing="rate", rate_per_min=240)
    for frame in line.camera.frames(threading.Event()):
        if frame.part_id == 2:
            stepped_clock.advance_ms(1000)  # the disk took that long
    assert line.times_ms("trigger") == [0, 250, 1250, 1500, 1750, 2000]


@pytest.mark.parametrize(("parts", "count"), [(0, 6), (1, 1), (4, 4), (99, 6)])
def test_parts(stepped_clock, pictures, parts, count):
    assert len(Line(stepped_clock, pictures, parts=parts).run()) == count


def test_stop_ends_it_before_the_next_trigger(stepped_clock, pictures):
    line, stop = Line(stepped_clock, pictures, timing="rate"), threading.Event()
    for frame in line.camera.frames(stop):
        if frame.part_id == 3:
            stop.set()
    assert [trigger.part_id for trigger in line.triggers] == [1, 2, 3]


def test_missing(stepped_clock, pictures):
    line = Line(stepped_clock, pictures, faults={"missing": [1, 3, 6]})
    line.run()
    assert line.order() == ["t1", "t2", "f2", "t3", "t4", "f4", "t5", "f5", "t6"]
    counters = line.camera.counters()
    assert (counters.triggers, counters.delivered, counters.id_gaps) == (6, 3, 3)


def test_duplicated(stepped_clock, pictures):
    line = Line(stepped_clock, pictures, faults={"duplicated": [2]}, parts=3)
    frames = line.run()
    assert line.order() == ["t1", "f1", "t2", "f2", "f2", "t3", "f3"]
    assert frames[1].frame_id == frames[2].frame_id
    np.testing.assert_array_equal(frames[1].image, frames[2].image)
    assert line.camera.counters().delivered == 4


def test_truncated(stepped_clock, pictures):
    frames = Line(stepped_clock, pictures, faults={"truncated": [2]}).run()
    assert statuses(frames) == ["ok", "incomplete", "ok", "ok", "ok", "ok"]
    assert frames[1].image[:4].min() == 2
    assert frames[1].image[4:].max() == 0
    assert not frames[1].image.flags.writeable


def test_late_does_not_delay_the_others(stepped_clock, pictures):
    line = Line(
        stepped_clock, pictures, timing="rate", rate_per_min=600, faults={"late": [2, 5], "late_ms": 250}
    )
    frames = line.run()
    assert line.order() == ["t1", "f1", "t2", "t3", "f3", "t4", "f4", "f2", "t5", "t6", "f6", "f5"]
    assert line.times_ms("trigger") == [0, 100, 200, 300, 400, 500]
    late = {frame.part_id: (frame.captured_ns - frame.triggered_ns) / MS for frame in frames}
    assert late == {1: 0, 2: 250, 3: 0, 4: 0, 5: 250, 6: 0}


def test_late_in_fast_comes_at_its_time_after_the_end(stepped_clock, pictures):
    line = Line(stepped_clock, pictures, parts=2, faults={"late": [1], "late_ms": 50})
    line.run()
    assert line.order() == ["t1", "t2", "f2", "f1"]
    assert line.times_ms("frame") == [0, 50]


def test_a_stop_drops_what_is_late(stepped_clock, pictures):
    line, stop = Line(stepped_clock, pictures, parts=2, faults={"late": [1]}), threading.Event()
    got = []
    for frame in line.camera.frames(stop):
        got.append(frame.part_id)
        stop.set()
    assert got == [2]


def test_faults_add_up(stepped_clock, pictures):
    faults = {"late": [1], "duplicated": [1], "truncated": [1], "late_ms": 10}
    line = Line(stepped_clock, pictures, parts=2, faults=faults)
    frames = line.run()
    assert line.order() == ["t1", "t2", "f2", "f1", "f1"]
    assert statuses(frames) == ["ok", "incomplete", "incomplete"]
    assert line.camera.counters().incomplete == 2


def test_a_file_that_cannot_be_read_is_an_incomplete_frame(stepped_clock, pictures, caplog):
    whole = (pictures / "2.png").read_bytes()
    (pictures / "2.png").write_bytes(whole[: len(whole) // 2])
    line = Line(stepped_clock, pictures)
    frames = line.run()
    assert statuses(frames) == ["ok", "incomplete", "ok", "ok", "ok", "ok"]
    assert (frames[1].image, frames[1].source) == (None, "2.png")
    assert line.camera.counters().incomplete == 1
    assert str(pictures / "2.png") in caplog.text


def test_a_run_keeps_numbers_settings_and_intervals(stepped_clock, recorded_run, raw_frame):
    line = Line(stepped_clock, recorded_run, timing="recorded")
    frames = line.run()
    assert line.camera.live
    assert [(frame.part_id, frame.frame_id) for frame in frames] == [
        (11, 511),
        (12, 512),
        (14, 514),
        (15, 515),
    ]
    assert [frame.exposure_us for frame in frames[:3]] == [111.0, 112.0, 114.0]
    assert math.isnan(frames[3].exposure_us)
    assert {frame.pixel_format for frame in frames} == {PixelFormat.MONO8}
    assert line.times_ms("trigger") == [0, 250, 750, 1000]  # part 13 has no stored frame
    for frame in frames:
        np.testing.assert_array_equal(frame.image, raw_frame(frame.part_id).image)
    assert "run 1 in" in line.camera.description
    assert "4 of 5 frames stored" in line.camera.description


def test_faults_in_a_run_count_positions(stepped_clock, recorded_run):
    line = Line(stepped_clock, recorded_run, faults={"missing": [3]})
    line.run()
    assert line.order() == ["t11", "f11", "t12", "f12", "t14", "t15", "f15"]


def test_an_altered_picture_of_a_run_is_an_incomplete_frame(stepped_clock, recorded_run, caplog):
    (recorded_run / "frames/1/12.png").write_bytes(b"altered")
    frames = Line(stepped_clock, recorded_run).run()
    assert statuses(frames) == ["ok", "incomplete", "ok", "ok"]
    assert (frames[1].image, frames[1].frame_id) == (None, 512)
    assert "12.png is not the picture" in caplog.text


def test_the_recorded_status_is_kept(stepped_clock, open_store, run_info, part_record, noise_image):
    store = open_store()
    run = store.begin_run(run_info())
    for part_id, status in [(1, FrameStatus.OK), (2, FrameStatus.INCOMPLETE)]:
        picture = store.archive.write(run, part_id, noise_image(part_id))
        store.append([part_record(part_id, frame_status=status, image_path=picture.path)], [picture])
    assert statuses(Line(stepped_clock, store.directory).run()) == ["ok", "incomplete"]


def test_the_last_run_is_replayed_unless_one_is_named(
    stepped_clock, open_store, recorded_run, run_info, part_record, noise_image
):
    store = open_store()
    picture = store.archive.write(store.begin_run(run_info()), 77, noise_image(1))
    store.append([part_record(77, image_path=picture.path)], [picture])
    assert [frame.part_id for frame in Line(stepped_clock, recorded_run).run()] == [77]
    assert [frame.part_id for frame in Line(stepped_clock, recorded_run, run=1).run()] == [11, 12, 14, 15]


def test_a_run_may_be_recorded_into_its_own_directory(
    stepped_clock, open_store, recorded_run, run_info, part_record
):
    store = open_store(recorded_run)
    line = Line(stepped_clock, recorded_run)
    run = store.begin_run(run_info())
    for frame in line.camera.frames(threading.Event()):
        picture = store.archive.write(run, frame.part_id, frame.image)
        store.append([part_record(frame.part_id, image_path=picture.path)], [picture])
    again = Line(stepped_clock, recorded_run)
    assert "run 2" in again.camera.description
    assert len(again.run()) == 4


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"run": 1}, "no run 1 to replay"),
        ({"timing": "recorded"}, "no recorded times"),
    ],
)
def test_a_folder_is_not_a_run(stepped_clock, pictures, settings, text):
    with pytest.raises(ConfigError, match=text):
        Line(stepped_clock, pictures, **settings)


def test_an_empty_folder_is_refused(stepped_clock, tmp_path):
    with pytest.raises(ConfigError, match="holds no pictures"):
        Line(stepped_clock, tmp_path)


def test_an_unknown_run_is_refused(stepped_clock, recorded_run):
    with pytest.raises(ConfigError, match="no run 7"):
        Line(stepped_clock, recorded_run, run=7)


def test_a_run_without_stored_frames_is_refused(stepped_clock, open_store, run_info, part_record):
    store = open_store()
    store.begin_run(run_info())
    store.append([part_record(1)])
    with pytest.raises(ConfigError, match="no stored frame"):
        Line(stepped_clock, store.directory)


def test_a_damaged_database_is_refused(stepped_clock, recorded_run):
    connection = sqlite3.connect(recorded_run / DATABASE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OpenError, match="newer version"):
        Line(stepped_clock, recorded_run)


def test_pictures_taken_away_meanwhile_are_left_out(stepped_clock, recorded_run):
    line = Line(stepped_clock, recorded_run)
    shutil.rmtree(recorded_run / "frames")
    assert line.run() == []
    assert line.triggers == []
