"""`adclip verify` as its user runs it: exit codes, report, bad input; on the small bundle with its FP16 graph."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from edge.calibration_file import CalibrationFile, calibration_text
from edge.errors import EdgeError
from edge.manifest import MODEL_FP16
from export.verify.command import verify_command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

C_FC = "/vision/transformer/resblocks.1/mlp/c_fc/MatMul"


@pytest.fixture
def verify(capsys, tmp_path):
    """Runs the command; returns (exit code, stdout, stderr, figures or None)."""

    def run(*arguments):
        report = tmp_path / "report"
        try:
            code = verify_command.main(
                [str(one) for one in (*arguments, "--report", report)],
                prog_name="adclip verify",
                standalone_mode=False,
            )
        except EdgeError as error:
            code = 2
            print(error, file=sys.stderr)  # noqa: T201
        out, err = capsys.readouterr()
        figures = json.loads((report / "parity.json").read_text()) if report.exists() else None
        return code, out, err, figures

    return run


def pairs_of(figures, name):
    (found,) = (one for one in figures["sets"] if one["name"] == name)
    return {(pair["first"], pair["second"]): pair for pair in found["pairs"]}


def test_a_sound_bundle_is_proven_on_its_golden_frames(exported: Any, verify):
    code, out, err, figures = verify(exported.bundle.folder)
    assert code == 0, err
    assert "PROVEN on 3 golden frames" in out
    assert figures["passed"] is True
    assert figures["bundle_id"] == exported.bundle.bundle_id
    pairs = pairs_of(figures, "golden frames")
    assert list(pairs) == [
        ("golden outputs", "ONNX FP32"),
        ("ONNX FP32", "ONNX FP16"),
        ("golden outputs", "ONNX FP16"),
    ]
    assert 0 < pairs["golden outputs", "ONNX FP32"]["map"]["maximum"] < 1e-5
    assert 1e-5 < pairs["ONNX FP32", "ONNX FP16"]["map"]["maximum"] < 6e-3
    assert pairs["golden outputs", "ONNX FP16"]["flips"] is None  # not 0: no threshold was given
    assert "Verdicts were not compared" in out
    assert [one["form"] for one in figures["not_run"]] == ["PyTorch FP32", "TensorRT engine"]
    assert "TensorRT engine: not run." in out


def test_torch_joins_when_the_source_files_are_given(exported: Any, model_files: Any, verify):
    code, _, err, figures = verify(
        exported.bundle.folder, "--clip", model_files.clip, "--checkpoint", model_files.checkpoint
    )
    assert code == 0, err
    assert [one["form"] for one in figures["run"]] == [
        "golden outputs",
        "PyTorch FP32",
        "ONNX FP32",
        "ONNX FP16",
    ]
    pairs = pairs_of(figures, "golden frames")
    assert len(pairs) == 5  # three neighbours, and the golden outputs with two more
    assert pairs["golden outputs", "PyTorch FP32"]["score"]["maximum"] < 1e-6


def test_labelled_pictures_are_ranked_by_every_form(exported: Any, labelled_pictures: Path, verify):
    code, out, err, figures = verify(
        exported.bundle.folder, "--images", labelled_pictures, "--score-threshold", "0.999"
    )
    assert code == 0, err
    assert "6 pictures" in out
    (_, pictures) = figures["sets"]
    assert pictures["labels"].keys() == {"ONNX FP32", "ONNX FP16"}
    for ranking in pictures["labels"].values():
        assert (ranking["pictures"], ranking["maps"], ranking["regions"]) == (6, 6, 3)
        assert 0 <= ranking["image_auroc"] <= 1
        assert 0 <= ranking["aupro"] <= 1
    assert pairs_of(figures, "pictures")["ONNX FP32", "ONNX FP16"]["flips"] == 0


def scores_of(bundle: Path, picture: Path) -> list[float]:
    from edge.bundle import open_bundle
    from edge.camera.image_file import read_image
    from edge.config import OnnxRuntimeConfig
    from edge.preprocess import input_tensor
    from edge.runner import open_runner

    opened = open_bundle(bundle)
    tensor = input_tensor(*read_image(picture), opened.manifest.preprocessing)
    runners = [open_runner(opened, OnnxRuntimeConfig(precision=precision)) for precision in ("fp32", "fp16")]
    return [runner.infer(tensor).score for runner in runners]


def test_a_threshold_between_the_two_scores_is_a_flip(exported: Any, labelled_pictures: Path, verify):
    bundle = exported.bundle.folder
    scores = scores_of(bundle, labelled_pictures / "crack" / "1.png")
    assert scores[0] != scores[1]
    threshold = repr(float(np.mean(scores)))
    code, out, _, figures = verify(bundle, "--images", labelled_pictures, "--score-threshold", threshold)
    assert code == 1
    pair = pairs_of(figures, "pictures")["ONNX FP32", "ONNX FP16"]
    assert pair["flips"] == 1
    assert pair["guard_band"] >= 1
    assert pair["score_margin"] <= abs(scores[0] - scores[1])
    assert pair["within_tolerance"] is True
    assert pair["passed"] is False
    assert "NOT PROVEN" in out
    assert "ONNX FP32 and ONNX FP16 decide differently on 1 of the pictures." in out
    page = (Path(figures_folder(out)) / "parity.html").read_text()
    assert "verdict flips" in page
    assert 'class="flip"' in page


def figures_folder(out: str) -> Path:
    return Path(out.strip().splitlines()[-1]).parent


def test_a_changed_weight_is_refused_with_its_layer(sealed_copy, weight_changed, verify):
    bundle = sealed_copy(
        weight_changed(MODEL_FP16, f"{C_FC}_input_1", lambda weight: weight * np.float16(1.5))
    )
    code, out, _, figures = verify(bundle.folder)
    assert code == 1
    assert "The first large error, of " in out
    assert f"appears at {C_FC} (MatMul)" in out
    assert C_FC in figures["where_it_starts"]
    assert pairs_of(figures, "golden frames")["golden outputs", "ONNX FP32"]["passed"] is True


def test_a_graph_that_gives_no_numbers_is_refused(
    sealed_copy, weight_changed, labelled_pictures: Path, verify
):
    bundle = sealed_copy(
        weight_changed(MODEL_FP16, f"{C_FC}_input_1", lambda weight: weight * np.float16(np.nan))
    )
    code, out, err, figures = verify(bundle.folder, "--images", labelled_pictures, "--score-threshold", "0.5")
    assert code == 1, err
    pair = pairs_of(figures, "pictures")["ONNX FP32", "ONNX FP16"]
    assert pair["map"]["maximum"] is None
    assert pair["flips"] == 6  # every one a FAULT
    assert f"appears at {C_FC}" in out


def test_bad_pictures_are_named_and_the_others_go_on(exported: Any, labelled_pictures: Path, verify):
    (labelled_pictures / "good" / "text.png").write_text("no picture")
    write_mask = labelled_pictures.parent / "ground_truth" / "crack" / "2_mask.png"
    Image.new("L", (3, 3), 255).save(write_mask)
    code, out, err, figures = verify(exported.bundle.folder, "--images", labelled_pictures)
    assert code == 1
    assert "text.png" in err
    assert "2_mask.png" in err
    assert "2 of the pictures could not be used." in out
    (_, pictures) = figures["sets"]
    assert pictures["pictures"] == 5
    assert [one["picture"] for one in pictures["unusable"]] == ["crack/2.png", "good/text.png"]


def test_no_usable_picture_proves_nothing(exported: Any, tmp_path: Path, verify):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "only.png").write_text("no picture")
    code, out, _, figures = verify(exported.bundle.folder, "--images", tmp_path / "pictures")
    assert code == 1
    assert "NOT PROVEN" in out
    (_, pictures) = figures["sets"]
    assert pictures["pictures"] == 0
    assert pictures["pairs"] == []


def test_a_calibration_gives_the_thresholds(exported: Any, tmp_path: Path, verify):
    manifest = exported.bundle.manifest
    file = tmp_path / "calibration.yaml"
    content = CalibrationFile(
        bundle_id=exported.bundle.bundle_id,
        preprocessing_id=manifest.preprocessing.identity(),
        method="test",
        score=0.25,
        map=1.5,
    )
    file.write_text(calibration_text(content))
    code, _, err, figures = verify(exported.bundle.folder, "--calibration", file)
    assert code in (0, 1), err
    assert figures["thresholds"]["score"] == 0.25
    assert figures["thresholds"]["map"] == 1.5
    file.write_text(calibration_text(content.model_copy(update={"bundle_id": "0" * 64})))
    code, _, err, _ = verify(exported.bundle.folder, "--calibration", file)
    assert code == 2
    assert "set for another bundle" in err


def test_user_errors(exported: Any, model_files: Any, labelled_pictures: Path, tmp_path: Path, verify):
    bundle, other = exported.bundle.folder, tmp_path / "other.pt"
    other.write_bytes(b"another file")
    (tmp_path / "empty").mkdir()
    altered = Path(shutil.copytree(bundle, tmp_path / "altered"))
    (altered / MODEL_FP16).write_bytes(b"x")
    for arguments, message in [
        ((tmp_path,), "is not a bundle"),
        ((altered,), "is not the file that was exported"),
        ((bundle, "--images", tmp_path / "empty"), "holds no pictures"),
        ((bundle, "--images", tmp_path / "none"), "is not a folder"),
        ((bundle, "--clip", model_files.clip), "go together"),
        ((bundle, "--clip", other, "--checkpoint", other), "is not the clip file"),
        (
            (bundle, "--clip", model_files.clip, "--checkpoint", model_files.clip),
            "is not the checkpoint file",
        ),
        ((bundle, "--clip", tmp_path / "none", "--checkpoint", other), "cannot be read"),
        ((bundle, "--calibration", tmp_path / "none"), "does not exist"),
        ((bundle, "--calibration", other, "--score-threshold", "0.5"), "more than one way"),
    ]:
        code, out, err, figures = verify(*arguments)
        assert (code, out, figures) == (2, "", None), arguments
        assert message in err


def test_the_report_never_lands_where_it_must_not(exported: Any, tmp_path: Path, verify):
    from export.verify.report import check_folder, default_folder

    bundle = exported.bundle.folder
    assert default_folder(bundle) == bundle.with_name("bundle.parity")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    (tmp_path / "file").touch()
    for folder, message in [
        (bundle, "is sealed"),
        (bundle / "parity", "is sealed"),
        (tmp_path / "mine", "holds notes.txt"),
        (tmp_path / "file", "is not a folder"),
    ]:
        with pytest.raises(EdgeError, match=message):
            check_folder(folder, bundle)
    assert verify(bundle)[0] == 0
    assert verify(bundle)[0] == 0  # over its own earlier report


def test_the_page_stands_alone_and_escapes_names(exported: Any, tmp_path: Path, verify):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (50, 40), (90, 100, 80)).save(folder / "<script>alert(1)<b>.png")
    code, out, err, _ = verify(exported.bundle.folder, "--images", folder)
    assert code == 0, err
    page = (figures_folder(out) / "parity.html").read_text()
    assert "&lt;script&gt;alert" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/jpeg") == 4 + 2 + 2  # four cases, and two legends for each section


NO_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnxscript", "onnx", "onnx_ir"}:
            raise ImportError(name + " is not needed here")
sys.meta_path.insert(0, Refuse())
from export.verify.command import verify_command
sys.exit(verify_command.main(sys.argv[1:], standalone_mode=False))
"""


def test_neither_torch_nor_onnx_is_needed(pytestconfig, tmp_path: Path):
    bundle = pytestconfig.rootpath / "models" / "demo"
    Image.new("L", (60, 60), 120).save(tmp_path / "part.png")
    arguments = [bundle, "--images", tmp_path, "--report", tmp_path / "report"]
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, *map(str, arguments)],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "PROVEN on 3 golden frames" in done.stdout
    assert json.loads((tmp_path / "report" / "parity.json").read_text())["passed"] is True


def test_a_station_brings_thresholds_region_and_tiles(
    exported: Any, labelled_pictures: Path, tmp_path: Path, verify
):
    station = {
        "station": "test",
        "bundle": str(exported.bundle.folder),
        "camera": {"backend": "replay", "source": "."},
        "preprocess": {"roi_px": [2, 4, 50, 40], "tiles": {"rows": 1, "columns": 2}},
        "decision": {"score": 0.95},
        "gate": {"travel_ms": 400, "pulse_ms": 20},
        "outputs": {
            "backend": "recorder",
            "lines": {"reject": {"start": False, "stop": False, "crash": True, "stall": True}},
        },
        "records": {"directory": "records"},
    }
    file = tmp_path / "station.yaml"
    file.write_text(yaml.safe_dump(station))
    code, _, err, figures = verify(exported.bundle.folder, "--images", labelled_pictures, "--station", file)
    assert code == 0, err
    assert figures["thresholds"]["score"] == 0.95
    assert figures["sets"][1]["labels"]["ONNX FP16"]["maps"] == 6
