"""The calibration folder: whole or not at all, and nothing is overwritten."""

import numpy as np
import pytest

from calibration.camera.bench import Identity, Settings
from calibration.camera.geometry import Geometry
from calibration.camera.pack import Fields, opened, write_calibration
from calibration.camera.session import SessionRecord, Step
from calibration.camera.station_calibration import (
    Signature,
    camera_calibration,
    check_same_camera,
    with_geometry,
)
from edge.camera_calibration import LensModel, open_correction
from edge.errors import ConfigError
from edge.messages import PixelFormat

IDENTITY = Identity("BFS", "123", "1.0", PixelFormat.BAYER_RG8, 8, 6)
SETTINGS = Settings(1000.0, 0.0, 1.5, 1.6)
FIRST, SECOND = (Signature(f"2026-11-2{day}T08:00:00Z", "Kim", "8 mm") for day in (1, 2))


def fields(gain=1.25):
    whole = np.full((6, 8), gain, np.float32)
    return Fields(np.full((6, 8), 4.0, np.float32), whole, np.array([[1, 2]], np.intp))


def content(signature=FIRST, settings=SETTINGS, before=None, done=(Step.DARK, Step.FLAT), **record):
    found = SessionRecord(IDENTITY, settings, done, **record)
    return camera_calibration(found, before, signature, None)


def write(folder, signature=FIRST, reports=None, **record):
    made, own, _ = content(signature, fields=fields(), **record)
    return write_calibration(folder, made, own, lambda identity: reports or {})


def test_what_is_written_corrects_frames(tmp_path):
    identity = write(tmp_path / "cal", figures={"prnu_share": 0.008})
    found, correction = open_correction(tmp_path / "cal")
    assert correction.correction_id == identity
    assert found.camera.serial == "123"
    assert found.camera.lens == "8 mm"
    assert (found.camera.exposure_us, found.camera.red_gain) == (1000.0, 1.5)
    assert found.figures == {"prnu_share": 0.008}
    raw = np.full((6, 8), 104, np.uint8)
    assert (correction.levelled(raw, (0, 0, 8, 6)) == 125).all()


def test_the_one_before_is_kept_by_its_time(tmp_path):
    first = write(tmp_path / "cal")
    second = write(tmp_path / "cal", SECOND)
    third = write(tmp_path / "cal", SECOND, figures={"dead_px": 1.0})
    kept = {path.name: opened(path).identity for path in tmp_path.iterdir()}
    assert kept == {"cal": third, "cal.20261121T080000Z": first, "cal.20261122T080000Z": second}


def test_two_of_the_same_time_are_both_kept(tmp_path):
    for _ in range(3):
        write(tmp_path / "cal")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cal",
        "cal.20261121T080000Z",
        "cal.20261121T080000Z-2",
    ]


def test_a_calibration_that_cannot_be_used_replaces_nothing(tmp_path):
    identity = write(tmp_path / "cal")
    made, _, _ = content(SECOND)
    wrong = Fields(np.zeros((3, 3), np.float32), np.ones((3, 3), np.float32), np.zeros((0, 2), np.intp))
    with pytest.raises(ConfigError, match="do not fit the frame"):
        write_calibration(tmp_path / "cal", made, wrong, lambda _: {})
    assert [path.name for path in tmp_path.iterdir()] == ["cal"]
    assert opened(tmp_path / "cal").identity == identity


def test_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "cal").mkdir()
    (tmp_path / "cal" / "holiday.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match="no camera calibration"):
        write(tmp_path / "cal")
    assert (tmp_path / "cal" / "holiday.jpg").exists()


def test_reports_of_other_commands_are_taken_along(tmp_path):
    write(tmp_path / "cal", reports={"report-geometry.html": b"grid"})
    write(tmp_path / "cal", SECOND, reports={"report-camera.html": b"new"})
    assert (tmp_path / "cal" / "report-geometry.html").read_bytes() == b"grid"
    assert (tmp_path / "cal" / "report-camera.html").read_bytes() == b"new"


def test_reports_know_the_identity(tmp_path):
    made, own, _ = content(fields=fields())
    identity = write_calibration(
        tmp_path / "cal", made, own, lambda found: {"report-camera.html": found.encode()}
    )
    assert (tmp_path / "cal" / "report-camera.html").read_text() == identity


def geometry():
    lens = LensModel(camera_matrix=(580, 580, 4, 3), distortion=(0, 0, 0, 0, 0), rms_px=0.1, views=20)
    nothing = np.zeros((0, 2))
    return Geometry(lens, 0.5, (0.5, 0.5), 300.0, 0.0, np.ones((3, 3), int), nothing, nothing, (), (8, 6))


def test_geometry_completes_a_calibration(tmp_path):
    write(tmp_path / "cal", figures={"prnu_share": 0.008})
    before = opened(tmp_path / "cal")
    made = with_geometry(geometry(), IDENTITY, SETTINGS, before, SECOND, None)
    write_calibration(tmp_path / "cal", made, before.fields, lambda _: {})
    found, correction = open_correction(tmp_path / "cal")
    assert found.mm_per_px == 0.5
    assert correction.lens is not None
    assert (correction.gain == 1.25).all()
    assert found.figures["prnu_share"] == 0.008
    assert found.figures["belt_distance_mm"] == 300.0


def with_all(tmp_path):
    write(tmp_path / "cal")
    before = opened(tmp_path / "cal")
    made = with_geometry(geometry(), IDENTITY, SETTINGS, before, SECOND, None)
    write_calibration(tmp_path / "cal", made, before.fields, lambda _: {})
    return opened(tmp_path / "cal")


def test_some_steps_keep_the_rest(tmp_path):
    before = with_all(tmp_path)
    made, own, lost = content(before=before, done=(Step.NOISE,))
    assert made.mm_per_px == 0.5
    assert own is before.fields
    assert lost == ()


def test_geometry_does_not_outlive_the_focus(tmp_path):
    made, _, lost = content(before=with_all(tmp_path), done=(Step.FOCUS,))
    assert made.mm_per_px is None
    assert made.lens is None
    assert "adclip calibrate geometry" in lost[0]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"serial": "124"}, "another camera"),
        ({"firmware": "2.0"}, "another firmware"),
        ({"pixel_format": PixelFormat.MONO8}, "another pixel format"),
        ({"width_px": 10}, "another size"),
    ],
)
def test_a_calibration_of_another_camera_is_not_continued(tmp_path, change, what):
    write(tmp_path / "cal")
    values = {name: getattr(IDENTITY, name) for name in IDENTITY.__dataclass_fields__}
    with pytest.raises(ConfigError, match=what):
        check_same_camera(opened(tmp_path / "cal"), Identity(**{**values, **change}), None)


def test_another_region_is_another_calibration(tmp_path):
    write(tmp_path / "cal")
    with pytest.raises(ConfigError, match="another region"):
        check_same_camera(opened(tmp_path / "cal"), IDENTITY, (0, 0, 8, 6))
