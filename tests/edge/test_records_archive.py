"""Which frames are kept, that they come back as they were, and that the oldest make room."""

import errno
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.config import Sample
from edge.errors import OperateError
from edge.messages import Outcome, PixelFormat
from edge.records import DATABASE, FrameArchive, Picture, keeps, open_records
from edge.records.archive import decode_picture, encode_picture, write_whole

PASS, REJECT, RECHECK, FAULT = Outcome.PASS, Outcome.REJECT, Outcome.RECHECK, Outcome.FAULT


class PictureList:
    """A picture index that knows what it is told. It does not survive its process."""

    def __init__(self):
        self.pictures = []

    def picture_bytes(self):
        return sum(picture.size_bytes for picture in self.pictures)

    def oldest_pictures(self, after, limit):
        return list(enumerate(self.pictures, start=1))[after : after + limit]


@pytest.mark.parametrize(
    ("policy", "part_id", "outcome", "kept"),
    [
        ("all", 1, PASS, True),
        ("all", 1, FAULT, True),
        ("none", 1, REJECT, False),  # not even rejects
        ("rejects", 1, PASS, False),
        ("rejects", 1, REJECT, True),
        ("rejects", 1, RECHECK, True),  # physically rejected
        ("rejects", 1, FAULT, True),
        (Sample(sample=10), 10, PASS, True),
        (Sample(sample=10), 11, PASS, False),
        (Sample(sample=10), 11, REJECT, True),  # besides the sample
        (Sample(sample=1), 7, PASS, True),
    ],
)
def test_policy(policy, part_id, outcome, kept):
    assert keeps(policy, part_id, outcome) is kept


@pytest.mark.parametrize("shape", [(48, 64), (1, 1), (47, 63), (48, 64, 3)])
def test_pictures_come_back_as_they_were(noise_image, shape):
    image = noise_image(1, shape)
    found = decode_picture(encode_picture(image))
    assert found.dtype == np.uint8
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, image)


def test_colours_are_in_the_order_that_other_programs_expect(tmp_path):
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    write_whole(tmp_path / "red.png", encode_picture(red))
    with Image.open(tmp_path / "red.png") as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)


def test_12_bits_are_kept_as_they_are():
    image = np.random.default_rng(2).integers(0, 4096, (6, 7), dtype=np.uint16)
    found = decode_picture(encode_picture(image))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, image)


def test_a_view_with_gaps_is_kept_as_it_looks(noise_image):
    image = noise_image(1)[::2, 1::3]
    np.testing.assert_array_equal(decode_picture(encode_picture(image)), image)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
    ],
    ids=lambda image: f"{image.dtype}{image.shape}",
)
def test_arrays_that_are_no_frame_are_refused(image):
    with pytest.raises(OperateError, match="cannot be kept"):
        encode_picture(image)


@pytest.mark.parametrize("content", [b"", b"no png", b"\x89PNG\r\n\x1a\n"])
def test_content_that_is_no_picture_is_refused(content):
    with pytest.raises(OperateError, match="not a whole PNG"):
        decode_picture(content)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_whole(tmp_path / "missing" / "1.png", b"content")
    (tmp_path / "1.png").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "1.png", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["1.png"]


def stored(archive, index, noise_image, run, part_id):
    picture = archive.write(run, part_id, noise_image(part_id))
    if picture is not None:
        index.pictures.append(picture)
    return picture


def files(directory):
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.png*"))


def test_the_oldest_go_first_over_all_runs(tmp_path, noise_image):
    index = PictureList()
    size = len(encode_picture(noise_image(0)))
    archive = FrameArchive(tmp_path, "all", 4 * size + 100, index)
    parts = [(1, 8), (1, 9), (2, 1), (2, 2), (2, 3), (2, 4)]
    pictures = [stored(archive, index, noise_image, *part) for part in parts]
    assert files(tmp_path) == ["frames/2/1.png", "frames/2/2.png", "frames/2/3.png", "frames/2/4.png"]
    assert archive.removed == tuple(pictures[:2])
    assert not (tmp_path / "frames" / "1").exists()
    assert archive.kept_bytes == sum(picture.size_bytes for picture in pictures[2:])


def test_removals_are_told_until_they_are_written_down(tmp_path, noise_image):
    index = PictureList()
    size = len(encode_picture(noise_image(0)))
    archive = FrameArchive(tmp_path, "all", round(2.5 * size), index)
    first, second, *_ = [stored(archive, index, noise_image, 1, part_id) for part_id in range(1, 5)]
    archive.forget_removed([first])
    assert archive.removed == (second,)


def test_a_budget_below_one_picture_keeps_what_is_there(tmp_path, noise_image):
    index = PictureList()
    stored(FrameArchive(tmp_path, "all", 10**9, index), index, noise_image, 1, 1)
    small = FrameArchive(tmp_path, "all", 100, index)
    assert stored(small, index, noise_image, 1, 2) is None
    assert files(tmp_path) == ["frames/1/1.png"]


def test_free_removes_as_much_as_asked(tmp_path, noise_image):
    index = PictureList()
    archive = FrameArchive(tmp_path, "all", 10**9, index)
    sizes = [stored(archive, index, noise_image, 1, part_id).size_bytes for part_id in range(1, 4)]
    assert archive.free(1) == sizes[0]
    assert archive.free(10**9) == sum(sizes[1:])
    assert archive.free(1) == 0
    assert archive.kept_bytes == 0


def test_a_picture_is_never_written_over(tmp_path, noise_image):
    index = PictureList()
    archive = FrameArchive(tmp_path, "all", 10**9, index)
    stored(archive, index, noise_image, 1, 1)
    before = (tmp_path / "frames/1/1.png").read_bytes()
    with pytest.raises(OperateError, match="already there"):
        archive.write(1, 1, noise_image(99))
    assert (tmp_path / "frames/1/1.png").read_bytes() == before


def test_a_full_disk_is_told(tmp_path, noise_image):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    archive = FrameArchive(tmp_path, "all", 10**9, PictureList(), write_file=full)
    with pytest.raises(OSError, match="No space left"):
        archive.write(1, 1, noise_image(1))
    assert archive.kept_bytes == 0


def test_frames_come_back_from_the_records(recorded_run, noise_image):
    with open_records(recorded_run) as reader:
        records = list(reader.parts(1))
        frames = [reader.frame(record) for record in records]
        assert reader.part_count(1) == 5
        assert reader.part_count(1, stored_only=True) == 4
        assert [record.part_id for record in reader.parts(1, stored_only=True)] == [11, 12, 14, 15]
    assert frames[2] is None
    frame = frames[0]
    assert (frame.part_id, frame.frame_id, frame.pixel_format) == (11, 511, PixelFormat.MONO8)
    assert (frame.triggered_ns, frame.captured_ns) == (records[0].triggered_ns, records[0].captured_ns)
    assert (frame.exposure_us, frame.gain_db) == (111.0, 0.0)
    np.testing.assert_array_equal(frame.image, noise_image(11, (48, 64)))


def test_an_altered_picture_is_refused(recorded_run):
    file = recorded_run / "frames/1/11.png"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    with (
        open_records(recorded_run) as reader,
        pytest.raises(OperateError, match=r"11\.png is not the picture"),
    ):
        reader.frame(next(reader.parts(1)))


def test_a_picture_taken_away_is_none(recorded_run):
    (recorded_run / "frames/1/11.png").unlink()
    with open_records(recorded_run) as reader:
        assert reader.frame(next(reader.parts(1))) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE images SET path = '../../secret' WHERE part_id = 11",
        "UPDATE images SET part_id = 13 WHERE part_id = 11",
    ],
)
def test_a_path_from_elsewhere_is_never_read(recorded_run, statement):
    with open_records(recorded_run) as reader:
        record = next(reader.parts(1))
    connection = sqlite3.connect(recorded_run / DATABASE)
    connection.execute(statement)
    connection.commit()
    connection.close()
    with open_records(recorded_run) as reader, pytest.raises(OperateError, match="nothing is recorded about"):
        reader.frame(record)


def test_pictures_removed_for_the_budget_are_written_down(open_store, run_info, part_record, noise_image):
    size = len(encode_picture(noise_image(0)))
    store = open_store(disk_budget_mb=2.5 * size / 1e6)
    run = store.begin_run(run_info())
    for part_id in range(1, 5):
        picture = store.archive.write(run, part_id, noise_image(part_id))
        removed = store.archive.removed
        store.append([part_record(part_id, image_path=picture.path)], [picture], removed)
        store.archive.forget_removed(removed)
    with open_records(store.directory) as reader:
        found = list(reader.parts(1))
        assert [record.part_id for record in found] == [1, 2, 3, 4]
        assert [reader.frame(record) is not None for record in found] == [False, False, True, True]
    store.close()
    assert open_store(disk_budget_mb=1).archive.kept_bytes == store.archive.kept_bytes


def abandoned_run(open_store, run_info, part_record, noise_image) -> Path:
    """A run of parts 1 to 3 that never ended, with all their pictures."""
    store = open_store()
    run = store.begin_run(run_info())
    for part_id in (1, 2, 3):
        picture = store.archive.write(run, part_id, noise_image(part_id))
        store.append([part_record(part_id, image_path=picture.path)], [picture])
    store.close()
    return store.directory


def kept_after_opening(open_store, directory):
    open_store().close()
    with open_records(directory) as reader:
        return [record.part_id for record in reader.parts(1, stored_only=True)]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("4.png", False),  # written, its record never committed
        ("4.png.part", False),  # half written
        ("notes.txt", True),  # not ours
    ],
)
def test_leftovers_of_a_broken_run_are_cleaned_up(open_store, run_info, part_record, noise_image, name, kept):
    directory = abandoned_run(open_store, run_info, part_record, noise_image)
    leftover = directory / "frames" / "1" / name
    leftover.write_bytes(b"left")
    assert kept_after_opening(open_store, directory) == [1, 2, 3]
    assert leftover.exists() is kept


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"")])
def test_pictures_lost_in_a_power_cut_are_written_down(
    open_store, run_info, part_record, noise_image, damage
):
    directory = abandoned_run(open_store, run_info, part_record, noise_image)
    damage(directory / "frames/1/2.png")
    assert kept_after_opening(open_store, directory) == [1, 3]
    assert not (directory / "frames/1/2.png").exists()


def test_nothing_is_cleaned_up_after_a_clean_run(open_store, recorded_run):
    extra = recorded_run / "frames" / "1" / "99.png"
    extra.write_bytes(b"put there by somebody")
    open_store().close()
    assert extra.exists()


def test_picture_rows_belong_to_parts(open_store, run_info):
    store = open_store()
    store.begin_run(run_info())
    with pytest.raises(OperateError, match="FOREIGN KEY"):
        store.append([], [Picture(1, 5, "frames/1/5.png", 10, "0" * 64)])
