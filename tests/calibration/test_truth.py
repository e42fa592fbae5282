"""Manifests: matched by the end of the path, masks kept inside, faults named with their fix."""

import re

import numpy as np
import pytest
from PIL import Image

from calibration.truth import read_manifest, read_truth
from edge.errors import ConfigError

HEADER = "path,label,defect,group,mask_path,width\n"
ROWS = (
    "COMP_1/tile/test/good/a.jpg,normal,good,t1,,10\n"
    "COMP_1/tile/test/crack/b.jpg,error,crack,t2,COMP_1/tile/ground_truth/crack/b_mask.png,10\n"
    "COMP_2/screw/test/crack/b.jpg,error,crack,s1,,10\n"
)


@pytest.fixture
def write(tmp_path):
    """Write manifest.csv and give its path."""

    def written(text):
        path = tmp_path / "manifest.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


@pytest.fixture
def mask(tmp_path):
    """Write the mask that ROWS names."""

    def written(values):
        path = tmp_path / "COMP_1/tile/ground_truth/crack/b_mask.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(values).save(path)
        return path

    return written


def test_a_source_is_the_end_of_one_path(write):
    manifest = read_manifest(write(HEADER + ROWS))
    found = manifest.match(["good/a.jpg", "tile/test/crack/b.jpg"])
    assert found["good/a.jpg"].group == "t1"
    assert found["tile/test/crack/b.jpg"].group == "t2"


def test_whole_folder_names_are_compared(write):
    with pytest.raises(ConfigError, match="no row"):
        read_manifest(write(HEADER + ROWS)).match(["ood/a.jpg"])


def test_absent_pictures_are_named_and_counted(write):
    manifest = read_manifest(write(HEADER + ROWS))
    with pytest.raises(
        ConfigError, match=r"no row for 5 of the pictures \(1\.png, 2\.png, 3\.png and 2 more\)"
    ):
        manifest.match([*(f"{number}.png" for number in range(1, 6)), "good/a.jpg"])


def test_pictures_that_cannot_be_told_apart_are_named_and_counted(write):
    with pytest.raises(
        ConfigError, match=r"tell 1 of the pictures apart \(crack/b\.jpg: 2 rows\).*further up"
    ):
        read_manifest(write(HEADER + ROWS)).match(["crack/b.jpg"])


def test_the_mask_marks_the_defect(write, mask):
    drawn = np.zeros((6, 9), np.uint8)
    drawn[2, 3:5] = 255
    mask(drawn)
    manifest = read_manifest(write(HEADER + ROWS))
    truth = read_truth(manifest.rows[1])
    assert (truth.defective, truth.defect, truth.group) == (True, "crack", "t2")
    assert np.array_equal(truth.mask, drawn > 0)


def test_a_good_part_has_no_defect_and_no_mask(write):
    truth = read_truth(read_manifest(write(HEADER + ROWS)).rows[0])
    assert (truth.defective, truth.defect, truth.mask) == (False, "", None)


def test_path_and_label_are_enough(write):
    rows = read_manifest(write("path,label\nx.png,defective\ny.png,good\n")).rows
    assert [(row.defective, row.defect, row.mask) for row in rows] == [
        (True, "unnamed", None),
        (False, "", None),
    ]


def test_a_byte_order_mark_and_windows_paths_are_read(write):
    manifest = read_manifest(write(b"\xef\xbb\xbfpath,label\r\nbad\\x.png,error\r\n"))
    assert manifest.match(["bad/x.png"])["bad/x.png"].defective


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column path and no column label"),
        ("path,defect\nx.png,crack\n", "no column label"),
        (
            HEADER + "x.png,broken,,,,\n",
            "line 2: the label 'broken' is not known.*normal, good, error, defective",
        ),
        (HEADER + "x.png,error,crack,g,,10,surplus\n", "line 2, does not have the columns"),
        (HEADER + ",error,crack,g,,10\n", "line 2, does not have the columns"),
        (HEADER + ROWS + ROWS.splitlines()[0] + "\n", "two rows for COMP_1/tile/test/good/a.jpg"),
        (HEADER + "x.png,error,crack,g,../outside.png,10\n", r"the mask \.\./outside\.png lies outside"),
        (HEADER + "x.png,error,crack,g,/etc/passwd,10\n", "the mask /etc/passwd lies outside"),
        (b"path,label\n\xff\xfe,error\n", "cannot be read.*UTF-8"),
        ('path,label\n"x.png,error\n', "is not CSV"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(write, text, says):
    with pytest.raises(ConfigError, match=says):
        read_manifest(write(text))


def test_a_link_out_of_the_folder_is_refused(write, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (inside / "mask.png").symlink_to(tmp_path / "secret.png")
    (inside / "manifest.csv").write_text("path,label,mask_path\nx.png,error,mask.png\n")
    with pytest.raises(ConfigError, match="lies outside"):
        read_manifest(inside / "manifest.csv")


def test_a_missing_manifest_is_a_user_error(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read_manifest(tmp_path / "manifest.csv")


def test_a_missing_mask_is_a_user_error(write):
    with pytest.raises(ConfigError, match=r"b_mask\.png cannot be read"):
        read_truth(read_manifest(write(HEADER + ROWS)).rows[1])


def test_a_truncated_mask_is_a_user_error(write, mask):
    path = mask(np.random.default_rng(0).integers(0, 255, (60, 60), np.uint8))
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        read_truth(read_manifest(write(HEADER + ROWS)).rows[1])


def test_an_empty_mask_of_a_defective_part_is_refused(write, mask):
    mask(np.zeros((6, 9), np.uint8))
    with pytest.raises(ConfigError, match=r"marks no pixel, but .*b\.jpg is labelled defective"):
        read_truth(read_manifest(write(HEADER + ROWS)).rows[1])
