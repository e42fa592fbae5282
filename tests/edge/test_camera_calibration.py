"""The camera calibration folder: read whole or refused, and what it changes about a picture."""

import hashlib
import io

import cv2
import numpy as np
import pytest

from edge.camera_calibration import (
    CALIBRATION,
    FIELDS,
    CameraCalibration,
    calibration_text,
    open_correction,
    station_correction,
)
from edge.config import StationConfig
from edge.errors import ConfigError
from edge.messages import PixelFormat
from edge.preprocess import develop

HEIGHT, WIDTH = 40, 64


def fields(shape=(HEIGHT, WIDTH), dead=((3, 5),), **changes):
    content = io.BytesIO()
    arrays = {
        "offset": np.full(shape, 2, np.float32),
        "gain": np.full(shape, 1.25, np.float32),
        "dead_px": np.array(dead, np.int64).reshape(-1, 2),
    }
    np.savez(content, **(arrays | changes))
    return content.getvalue()


@pytest.fixture
def write(tmp_path):
    def make(content=None, **changes):
        content = fields() if content is None else content
        (tmp_path / FIELDS).write_bytes(content)
        described = {
            "made_utc": "2026-01-01T00:00:00Z",
            "made_by": "test",
            "camera": {
                "model": "M",
                "serial": "S1",
                "pixel_format": "BayerRG8",
                "exposure_us": 400.0,
                "gain_db": 0.0,
            },
            "width_px": WIDTH,
            "height_px": HEIGHT,
            "fields_sha256": hashlib.sha256(content).hexdigest(),
        }
        calibration = CameraCalibration.model_validate(described | changes)
        (tmp_path / CALIBRATION).write_text(calibration_text(calibration))
        return tmp_path

    return make


def station(folder, **camera):
    return StationConfig.model_validate(
        {
            "station": "test",
            "bundle": "bundle",
            "camera": camera or {"backend": "replay", "source": "pictures"},
            "preprocess": {"camera_calibration": str(folder)},
            "decision": {"score": 0.5},
            "gate": {"travel_ms": 120, "pulse_ms": 10},
            "outputs": {
                "backend": "recorder",
                "lines": {"reject": {"start": False, "stop": False, "crash": True, "stall": True}},
            },
            "records": {"directory": "records"},
        }
    )


def test_what_was_written_is_what_is_applied(write):
    found, correction = open_correction(write())
    assert found.camera.serial == "S1"
    raw = np.full((HEIGHT, WIDTH), 82, np.uint8)
    raw[3, 5] = 255
    assert (correction.levelled(raw, (0, 0, WIDTH, HEIGHT)) == 100).all()


def test_any_change_is_another_identity(write):
    before = open_correction(write())[1].correction_id
    assert open_correction(write())[1].correction_id == before
    assert open_correction(write(fields(dead=())))[1].correction_id != before
    assert open_correction(write(mm_per_px=0.1))[1].correction_id != before


def test_without_fields_only_the_lens_is_corrected(write):
    matrix, distortion = (60.0, 60.0, 32.0, 20.0), (-0.2, 0.0, 0.0, 0.0, 0.0)
    lens = {"camera_matrix": matrix, "distortion": distortion, "rms_px": 0.2, "views": 15}
    _, correction = open_correction(write(fields_sha256=None, lens=lens))
    picture = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    full = np.array([[60, 0, 32], [0, 60, 20], [0, 0, 1]], np.float64)
    wanted = cv2.undistort(picture, full, np.array(distortion))
    found = develop(picture, PixelFormat.MONO8, (20, 10, 24, 20), correction)
    assert np.abs(found.astype(int) - wanted[10:30, 20:44]).max() <= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not an archive", "does not hold the fields"),
        (fields(shape=(HEIGHT, WIDTH + 2)), "do not fit the frame"),
        (fields(gain=np.full((HEIGHT, WIDTH), np.nan, np.float32)), "not numbers"),
        (fields(dead=((3, WIDTH),)), "outside the frame"),
        (fields(dead=((-1, 0),)), "outside the frame"),
        (fields(offset=np.array([object()])), "does not hold the fields"),
    ],
)
def test_fields_that_do_not_fit_are_refused(write, content, message):
    with pytest.raises(ConfigError, match=message):
        open_correction(write(content))


def test_altered_and_missing_files_are_refused(write):
    folder = write()
    (folder / FIELDS).write_bytes(fields(dead=()))
    with pytest.raises(ConfigError, match="SHA-256 is another one"):
        open_correction(folder)
    (folder / FIELDS).unlink()
    with pytest.raises(ConfigError, match=r"fields\.npz cannot be used: it cannot be read"):
        open_correction(folder)
    with pytest.raises(ConfigError, match="is not a camera calibration"):
        open_correction(folder / "elsewhere")


def test_a_flat_field_of_interpolated_colours_is_refused(write):
    camera = {"model": "M", "serial": "S1", "exposure_us": 400.0, "gain_db": 0.0, "pixel_format": "RGB8"}
    with pytest.raises(ValueError, match="calibrate a Bayer or a Mono format"):
        write(camera=camera)


def test_a_station_without_one_has_no_correction(write):
    config = station(write())
    bare = config.model_copy(
        update={"preprocess": config.preprocess.model_copy(update={"camera_calibration": None})}
    )
    assert station_correction(bare) == (None, None)
    assert station_correction(config)[1] is not None


def test_another_camera_than_the_calibrated_one_is_refused(write):
    folder = write()
    camera = {"backend": "aravis", "exposure_us": 400, "serial": "S1"}
    assert station_correction(station(folder, **camera))[0].camera.serial == "S1"
    with pytest.raises(ConfigError, match="is of camera S1, the station file names S2"):
        station_correction(station(folder, **(camera | {"serial": "S2"})))
