"""What is known of a picture: from the folders it lies in, from a CSV file, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.errors import ConfigError, FrameError
from edge.messages import PixelFormat
from export.verify.labelled import Picture, find_pictures, read_subject


def picture(path, size=(8, 6), value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


def known(folder):
    return {one.name: (one.defective, one.defect, one.mask) for one in find_pictures(folder)}


def test_folders_are_labels(tmp_path: Path):
    product = tmp_path / "product"
    picture(product / "test" / "good" / "1.png")
    picture(product / "test" / "crack" / "1.png")
    picture(product / "test" / "stain" / "1.png")
    mask = picture(product / "ground_truth" / "crack" / "1_mask.png", value=255)
    assert known(product / "test") == {
        "good/1.png": (False, "", None),
        "crack/1.png": (True, "crack", mask),
        "stain/1.png": (True, "stain", None),
    }


@pytest.mark.parametrize(
    "masks", ["product/grouth_truth/crack/1.png", "product/test/ground_truth/crack/1_mask.png"]
)
def test_masks_are_found_where_data_sets_put_them(masks, tmp_path: Path):
    picture(tmp_path / "product" / "test" / "good" / "1.png")
    picture(tmp_path / "product" / "test" / "crack" / "1.png")
    mask = picture(tmp_path / masks, value=255)
    assert known(tmp_path)["product/test/crack/1.png"] == (True, "crack", mask)


def test_other_folders_say_nothing(tmp_path: Path):
    picture(tmp_path / "monday" / "1.png")
    picture(tmp_path / "2.png")
    assert {label for label, _, _ in known(tmp_path).values()} == {None}


def test_a_good_folder_labels_only_its_neighbours(tmp_path: Path):
    picture(tmp_path / "a" / "good" / "1.png")
    picture(tmp_path / "a" / "dent" / "1.png")
    picture(tmp_path / "b" / "dent" / "1.png")
    found = known(tmp_path)
    assert found["a/dent/1.png"][0] is True
    assert found["b/dent/1.png"][0] is None


def test_a_table_of_pictures(tmp_path: Path):
    picture(tmp_path / "sub" / "1.png")
    table = tmp_path / "pictures.csv"
    table.write_text(
        "path,label,defect,mask_path,other\n"
        "sub/1.png,error,dent,masks/1.png,7\nsub/2.png,normal,,,\nsub/3.png,,,,\n"
    )
    assert find_pictures(table) == (
        Picture(tmp_path / "sub/1.png", "sub/1.png", True, "dent", tmp_path / "masks/1.png"),
        Picture(tmp_path / "sub/2.png", "sub/2.png", False),
        Picture(tmp_path / "sub/3.png", "sub/3.png"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nx,good\n", "no column path"),
        ("path,label\n", "names no picture"),
        ("path,label\nx.png,perhaps\n", "line 2: the label 'perhaps'"),
        ('path,label\n"x.png,good\n', "cannot be read as CSV"),
    ],
)
def test_tables_that_cannot_be_understood(text, message, tmp_path: Path):
    table = tmp_path / "pictures.csv"
    table.write_text(text)
    with pytest.raises(ConfigError, match=message):
        find_pictures(table)


def test_nothing_to_see(tmp_path: Path):
    with pytest.raises(ConfigError, match="no pictures"):
        find_pictures(tmp_path)
    with pytest.raises(ConfigError, match="not a folder"):
        find_pictures(tmp_path / "none")


def test_a_subject_brings_its_mask(tmp_path: Path):
    path = picture(tmp_path / "1.png")
    marked = np.zeros((6, 8), np.uint8)
    marked[2:4, 3:5] = 1  # any value above 0 is defect
    Image.fromarray(marked).save(tmp_path / "mask.png")
    subject = read_subject(Picture(path, "1", True, "dent", tmp_path / "mask.png"), 3)
    assert subject.frame.pixel_format is PixelFormat.MONO8
    assert subject.frame.part_id == 3
    assert subject.mask is not None
    np.testing.assert_array_equal(subject.mask, marked > 0)
    good = read_subject(Picture(path, "1", False), 1).mask
    assert good is not None
    assert good.shape == (6, 8)
    assert not good.any()
    assert read_subject(Picture(path, "1", True), 1).mask is None
    assert read_subject(Picture(path, "1"), 1).mask is None


@pytest.mark.parametrize(
    ("size", "value", "message"),
    [((8, 7), 255, "8 x 7 pixels, its picture 8 x 6"), ((8, 6), 0, "marks nothing")],
)
def test_masks_that_do_not_fit(size, value, message, tmp_path: Path):
    path, mask = picture(tmp_path / "1.png"), picture(tmp_path / "mask.png", size, value)
    with pytest.raises(FrameError, match=message):
        read_subject(Picture(path, "1", True, "dent", mask), 1)
