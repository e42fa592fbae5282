"""The page and what it draws, from findings made by hand."""

import numpy as np

from calibration.camera.false_colour import false_colour, relative_planes
from calibration.camera.findings import (
    SHARE,
    CalibrationReport,
    Outcome,
    Reading,
    Refusal,
    judged,
    refused,
)
from calibration.camera.plots import Band, Curve, Line, plot
from calibration.camera.report import report_files
from calibration.camera.station_yaml import station_yaml
from edge.camera_calibration import CalibratedCamera
from edge.camera_config import SpinnakerCameraConfig
from edge.messages import PixelFormat
from edge.yaml_file import parse_model

CAMERA = CalibratedCamera(
    model="BFS <b>",
    serial="123",
    pixel_format=PixelFormat.BAYER_RG8,
    exposure_us=812.345,
    gain_db=0.0,
    red_gain=1.5,
    blue_gain=1.25,
)


def report(steps, **changes):
    values = {
        "command": "camera",
        "made_utc": "2026-11-21T08:00:00Z",
        "made_by": "Kim",
        "simulated": False,
        "camera": CAMERA,
        "width_px": 8,
        "height_px": 6,
        "folder": "/etc/adclip/camera",
        "calibration_id": "c" * 64,
        "steps": tuple(steps),
    }
    return CalibrationReport(**{**values, **changes})


def page_of(made):
    return report_files(made)["report-camera.html"].decode()


def test_a_number_outside_its_limit_is_seen():
    step = judged(
        "noise", "Noise", "", (Reading(name="PRNU", value=0.1, unit=SHARE, limit="at most 2%", within=False),)
    )
    assert step.outcome is Outcome.ADVICE
    page = page_of(report([step]))
    assert "10.00&nbsp;%" in page
    assert "outside" in page
    assert "advice to follow on: noise" in page


def test_names_cannot_become_markup():
    assert "BFS &lt;b&gt;" in page_of(report([]))
    assert "BFS <b>" not in page_of(report([]))


def test_a_refusal_comes_first_and_asks_nothing_of_the_station_file():
    refusal = Refusal(what="It is too dark.", do="Open the aperture.")
    made = report([refused("flat", "Flat field", refusal)], refusal=refusal, calibration_id=None)
    page = page_of(made)
    assert "nothing was written" in page
    assert "Open the aperture." in page
    assert "For the station file" not in page


def test_what_no_longer_holds_is_said():
    page = page_of(report([], notes=("The focus was worked on.",)))
    assert "The focus was worked on." in page


def test_a_value_that_could_not_be_told():
    reading = Reading(name="read noise", value=None, unit="e⁻")
    assert "not to be told" in page_of(report([judged("noise", "Noise", "", (reading,))]))


def test_the_station_file_takes_what_it_is_given():
    lines = station_yaml(CAMERA, "/etc/adclip/camera")
    own = lines.split("preprocess:")[0].replace("camera:\n", "backend: spinnaker\n").replace("\n  ", "\n")
    taken = parse_model(own, SpinnakerCameraConfig, name="camera")
    assert taken.exposure_us == 812.35
    assert taken.white_balance is not None
    assert taken.white_balance.red == 1.5
    assert "camera_calibration: /etc/adclip/camera" in lines


def test_curves_of_nothing_and_of_gaps_are_drawn():
    assert "<svg" in plot("empty", "x", "y", [Curve("", [])])
    drawn = plot(
        "gap",
        "x",
        "y",
        [Curve("a", [(0.0, 1.0), (1.0, float("nan")), (2.0, 3.0)], dots=True), Curve("b", [(0.0, 2.0)])],
        bands=[Band(1.0, 2.0, "wanted"), Band(1.0, 2.0, "here", along_x=False)],
        lines=[Line(1.5, "now")],
    )
    assert drawn.count("<circle") == 2
    assert "nan" not in drawn
    assert "wanted" in drawn
    assert "now" in drawn


def test_false_colours_have_their_scale():
    values = np.linspace(0.5, 1.5, 64 * 48).reshape(48, 64)
    shown = false_colour(values, 0.5, 1.5, "a slope")
    assert 'alt="a slope"' in shown
    assert "0.50" in shown
    assert "1.50" in shown


def test_the_mosaic_is_not_part_of_the_picture():
    mosaic = np.tile(np.array([[1.0, 1.2], [0.8, 1.0]], np.float32), (4, 5))
    assert relative_planes(mosaic, bayer=True).shape == (4, 5)
    assert np.allclose(relative_planes(mosaic, bayer=True), 1.0)
    assert relative_planes(mosaic, bayer=False) is mosaic
