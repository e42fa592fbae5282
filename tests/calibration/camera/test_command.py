"""`adclip calibrate` as its user runs it, on the simulated bench; then a frame through what it wrote."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from calibration.camera.bench import Target
from calibration.camera.command import calibrate_command
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.simulated_bench import SimulatedBench
from edge.camera_calibration import open_correction
from edge.errors import ConfigError
from edge.manifest import Preprocessing
from edge.messages import PixelFormat
from edge.preprocess import develop, input_tensor

DEMO = Path(__file__).parents[3] / "deploy" / "stations" / "demo.yaml"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


def run(*arguments):
    return CliRunner().invoke(calibrate_command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole calibration: camera, geometry, light."""
    place = tmp_path_factory.mktemp("station") / "cal"
    bench = ("--simulated", "--seed", 3, "--yes", "--out", place, "--operator", "Kim")
    for command in (
        ("camera", *bench, "--lens", "8 mm f/2.8", "--line-speed-mm-s", 200, "--mm-per-px", 0.5),
        ("geometry", *bench),
        ("light", *bench),
    ):
        result = run(*command)
        assert result.exception is None, result.output
        assert "For the station file:" in result.output
    return place


def test_the_folder_holds_the_truth(folder):
    truth = SimulatedBench(seed=3).truth
    found, correction = open_correction(folder)
    assert found.camera.serial == "SIM00003"
    assert found.camera.lens == "8 mm f/2.8"
    assert found.made_by == "Kim"
    assert found.mm_per_px == pytest.approx(truth.mm_per_px, rel=0.005)
    assert found.camera.red_gain == pytest.approx(truth.red_gain, rel=0.01)
    assert found.figures["electrons_per_dn"] == pytest.approx(truth.electrons_per_dn, rel=0.02)
    assert found.photometric is not None
    assert {tuple(px) for px in correction.dead_px} == {tuple(px) for px in truth.dead_px}


def test_a_frame_goes_through_it_into_the_network(folder):
    """Grey target, raw as the line would get it: even to the corners once developed, and a tensor of
    numbers."""
    found, correction = open_correction(folder)
    bench = SimulatedBench(seed=3)
    bench.clock.advance(3600)
    bench.set(red_gain=found.camera.red_gain, blue_gain=found.camera.blue_gain, exposure_us=800.0)
    bench.present(Target.GREY, "")
    (raw,) = bench.grab(1)
    seen = develop(raw, PixelFormat.BAYER_RG8).astype(float)
    mended = develop(raw, PixelFormat.BAYER_RG8, None, correction).astype(float)
    fields = [np.s_[:90, :90], np.s_[-90:, :90], np.s_[:90, -90:], np.s_[-90:, -90:], np.s_[225:315, 467:557]]
    assert np.ptp([seen[at].mean() for at in fields]) > 0.4 * seen.mean()
    assert np.ptp([mended[at].mean() for at in fields]) < 0.02 * mended.mean()
    assert np.ptp(mended.mean(axis=(0, 1))) < 0.02 * mended.mean()
    spec = Preprocessing(
        height_px=56,
        width_px=56,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        correction_id=correction.correction_id,
    )
    tensor = input_tensor(raw, PixelFormat.BAYER_RG8, spec, correction)
    assert tensor.shape == (1, 3, 56, 56)
    # Lens correction draws the edge of the picture outwards, so every pixel is still of the target.
    assert tensor.std() < 0.02 * (tensor.mean() + 1)


def test_pages_and_twins(folder):
    for name in ("camera", "geometry", "light"):
        page = (folder / f"report-{name}.html").read_text(encoding="utf-8")
        twin = json.loads((folder / f"report-{name}.json").read_text(encoding="utf-8"))
        assert twin["command"] == name
        assert twin["simulated"] is True
        assert "simulated bench: these numbers say nothing about a real camera" in page
        assert "http" not in page.replace("http-equiv", "")
        assert "<script" not in page
        for step in twin["steps"]:
            assert step["title"] in page
            assert "pictures" not in step
            assert step["readings"]
    assert twin["calibration_id"] == open_correction(folder)[1].correction_id


def test_earlier_states_are_kept(folder):
    kept = sorted(path.name for path in folder.parent.iterdir())
    assert kept[0] == "cal"
    assert len(kept) == 3
    assert all(name.startswith("cal.2") for name in kept[1:])


def test_json_is_all_there_is_on_standard_output(tmp_path):
    result = run("light", "--simulated", "--yes", "--json", "--out", tmp_path / "cal")
    twin = json.loads(result.stdout)
    assert twin["refusal"] is None
    assert twin["steps"][0]["step"] == "light"
    assert "Taken as done" in result.stderr


def test_a_refusal_says_what_to_change_and_is_resumed(tmp_path):
    steps = (
        "--steps",
        "exposure,dark",
        "--simulated",
        "--yes",
        "--mm-per-px",
        0.5,
        "--out",
        tmp_path / "cal",
    )
    result = run("camera", *steps, "--line-speed-mm-s", 20_000)
    assert isinstance(result.exception, MeasurementRefused)
    assert "slow the line" in result.exception.do
    assert not (tmp_path / "cal").exists()
    unfinished = tmp_path / "cal.unfinished"
    twin = json.loads((unfinished / "report-camera.json").read_text(encoding="utf-8"))
    assert twin["refusal"]["do"] == result.exception.do
    assert twin["calibration_id"] is None
    assert twin["steps"][-1]["outcome"] == "refused"
    assert "slow the line" in (unfinished / "report-camera.html").read_text(encoding="utf-8")
    again = run("camera", *steps, "--line-speed-mm-s", 200, "--resume")
    assert again.exception is None, again.output
    assert open_correction(tmp_path / "cal")[0].figures["black_level_dn"] == 4.0
    assert not unfinished.exists()


def test_a_part_on_the_patch_place_is_refused_and_reported(tmp_path):
    result = run("light", "--simulated", "--yes", "--out", tmp_path / "cal", "--patch", "5,5,20,20")
    assert isinstance(result.exception, MeasurementRefused)
    assert (tmp_path / "cal.unfinished" / "report-light.html").exists()
    assert not (tmp_path / "cal").exists()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("camera", "--yes"), "Name one bench"),
        (("camera", "--simulated", "--config", "x.yaml"), "Name one bench"),
        (("camera", "--config", DEMO, "--yes"), "nothing to calibrate"),  # its camera is a simulated line
        (("camera", "--simulated", "--steps", "noise", "--yes"), "dark"),
        (("camera", "--simulated", "--yes", "--line-speed-mm-s", 100), "scale is known"),
        (("camera", "--simulated", "--yes", "--area", "0,0,5000,10"), "does not lie"),
        (("camera", "--simulated", "--resume"), "nothing to resume"),
        (("camera", "--simulated"), "Nobody answers"),
        (("geometry", "--simulated", "--yes", "--square-mm", 10), "no board"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, what, tmp_path):
    result = run(*arguments, "--out", tmp_path / "cal")
    assert isinstance(result.exception, ConfigError)
    assert what in str(result.exception)
    assert not (tmp_path / "cal").exists()


def test_an_unknown_step_is_named(tmp_path):
    result = run("camera", "--simulated", "--steps", "focus,colour", "--out", tmp_path / "cal")
    assert result.exit_code == 2
    assert "'colour' is no step" in result.output


def test_help_of_every_command():
    for name in ("camera", "geometry", "light"):
        result = run(name, "--help")
        assert result.exit_code == 0
        assert "--simulated" in result.output
