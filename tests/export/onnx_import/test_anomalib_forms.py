"""Every form of anomalib's exports, on files built to its contract (`contract.py`), not on genuine ones.

The expected values come from running the file itself in ONNX Runtime on a picture that Pillow has resized.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from edge.bundle import open_bundle

Export = Callable[..., tuple[int, str]]
Infer = Callable[[], dict[str, Any]]


def file_says(model: Path, picture: Path, size: tuple[int, int] = (48, 48)) -> dict[str, np.ndarray]:
    """The file's own outputs for a picture that comes at the network's (height, width)."""
    with Image.open(picture) as image:
        ready = np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR), np.float32) / 255
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": ready.transpose(2, 0, 1)[None]}), strict=True))


@pytest.mark.parametrize(
    ("model", "score_from", "localises"),
    [
        ("padim", "largest of the map", True),
        ("patchcore", "second output", True),
        ("efficient_ad", "largest of the map", True),  # the first of three maps
        ("dfm", "first output", True),
        ("dfm_nll", "first output", False),
    ],
)
def test_version_1_is_told_apart_by_rank(
    model: str,
    score_from: str,
    localises: bool,
    contract: ModuleType,
    export: Export,
    infer: Infer,
    picture: Path,
    tmp_path: Path,
) -> None:
    path = contract.anomalib_1x(tmp_path / "model.onnx", model)
    assert export(path) == (0, "")
    said = list(file_says(path, picture).values())
    expected = {
        "first output": said[0].max(),
        "second output": said[-1].max(),
        "largest of the map": said[0].max(),
    }
    told = infer()
    assert told["score"] == pytest.approx(float(expected[score_from]), rel=1e-5)
    assert told["reference"] is None
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest.head.kind == "onnx"
    assert manifest.head.origin.startswith("anomalib 1.x")
    assert (manifest.map.localises, manifest.preprocessing.size_px) == (localises, (48, 48))
    assert manifest.precisions == ("fp32",)


def test_limits_of_version_1_come_from_metadata(
    contract: ModuleType, export: Export, infer: Infer, tmp_path: Path
) -> None:
    path = contract.anomalib_1x(tmp_path / "model.onnx", "padim")
    low = contract.metadata(tmp_path / "metadata.json")
    assert export(path, "--metadata", low) == (0, "")
    told = infer()
    expected = min(1.0, (told["score"] - 0.75) / 2.0 + 0.5)
    assert told["reference"]["score"] == pytest.approx(expected)
    assert told["reference"]["bad"] is (told["score"] >= 0.75)
    limits = open_bundle(tmp_path / "bundle").manifest.reference
    assert limits is not None
    assert limits.map is not None
    assert (limits.bad_at_limit, limits.map.threshold, limits.map.span) == (True, 0.5, 1.0)


def test_limits_that_version_1_has_not_computed(
    contract: ModuleType, export: Export, infer: Infer, tmp_path: Path
) -> None:
    missing = {"pred_scores.min": None, "anomaly_maps.max": None}
    given = contract.metadata(tmp_path / "metadata.json", **missing)
    assert export(contract.anomalib_1x(tmp_path / "model.onnx", "padim"), "--metadata", given) == (0, "")
    assert infer()["reference"] is None


@pytest.mark.parametrize("form", ["2.0 to 2.6", "2.0 to 2.6 fixed", "2.7", "2.7 sort", "2.7 one file"])
def test_version_2_is_cut_at_the_raw_values(
    form: str, contract: ModuleType, export: Export, infer: Infer, picture: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    if form.startswith("2.7"):
        contract.anomalib_27(path, data="file" not in form, sort="sort" in form)
    else:
        contract.anomalib_2x(path, fixed=(48, 48) if "fixed" in form else None)
    assert export(path) == (0, "")
    said, told = file_says(path, picture), infer()
    assert told["reference"]["score"] == pytest.approx(float(said["pred_score"].max()), abs=1e-5)
    assert told["reference"]["bad"] is bool(said["pred_label"].max())
    assert told["score"] > contract.THRESHOLD + 0.5 * contract.SPAN  # where the file itself is clipped at 1
    limits = open_bundle(tmp_path / "bundle").manifest.reference
    assert limits is not None
    assert limits.score is not None
    assert limits.map is not None
    assert limits.score.threshold == pytest.approx(contract.THRESHOLD)
    assert limits.score.span == pytest.approx(contract.SPAN)
    assert limits.map.threshold == pytest.approx(contract.MAP_THRESHOLD)
    assert limits.map.span == pytest.approx(contract.MAP_SPAN)


def test_sensitivity_is_read_from_the_label(contract: ModuleType, export: Export, tmp_path: Path) -> None:
    assert export(contract.anomalib_2x(tmp_path / "model.onnx", sensitivity=0.75)) == (0, "")
    limits = open_bundle(tmp_path / "bundle").manifest.reference
    assert limits is not None
    assert (limits.bad_above, limits.bad_at_limit) == (0.25, False)


def test_a_crop_stays_in_the_graph_and_its_map_is_put_in_place(
    contract: ModuleType, export: Export, picture: Path, tmp_path: Path
) -> None:
    path = contract.anomalib_1x(tmp_path / "model.onnx", "patchcore", size=(64, 80), crop=(12, 8, 56, 48))
    assert export(path) == (0, "")
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest.preprocessing.size_px == (64, 80)
    assert (manifest.map.grid, manifest.map.covers_px) == ((48, 56), (12, 8, 56, 48))


@pytest.mark.parametrize("version", ["2.0 to 2.6", "2.7"])
def test_never_validated_is_refused_unless_raw_scores_are_wanted(
    version: str, contract: ModuleType, export: Export, infer: Infer, picture: Path, tmp_path: Path
) -> None:
    build = contract.anomalib_27 if version == "2.7" else contract.anomalib_2x
    path = build(tmp_path / "model.onnx", validated=False)
    code, told = export(path)
    assert code == 2
    assert "before it was validated" in told
    assert "engine.validate" in told
    assert not (tmp_path / "bundle").exists()
    assert export(path, "--without-limits") == (0, "")
    found = infer()
    assert found["reference"] is None
    assert found["score"] == pytest.approx(float(file_says(path, picture)["pred_score"].max()), rel=1e-5)


def test_without_post_processor_scores_are_raw_on_purpose(
    contract: ModuleType, export: Export, tmp_path: Path
) -> None:
    path = contract.anomalib_2x(tmp_path / "model.onnx", validated=False, labels=False)
    assert export(path) == (0, "")
    assert open_bundle(tmp_path / "bundle").manifest.reference is None


def test_two_pictures_at_a_time_are_refused(contract: ModuleType, export: Export, tmp_path: Path) -> None:
    code, told = export(contract.anomalib_27(tmp_path / "model.onnx", batch=2))
    assert code == 2
    assert "takes 2 pictures at a time" in told
    assert '"dynamic_axes": None' in told


def test_without_pre_processor_the_pixels_must_be_told(
    contract: ModuleType, export: Export, infer: Infer, tmp_path: Path
) -> None:
    path = contract.anomalib_2x(tmp_path / "model.onnx", pre_processor=False, fixed=(48, 48))
    code, told = export(path)
    assert (code, "--imagenet" in told) == (2, True)
    assert export(path, "--imagenet") == (0, "")
    outside = infer()["score"]
    inside = contract.anomalib_2x(tmp_path / "whole.onnx", fixed=(48, 48))
    assert export(inside, "--force") == (0, "")
    assert outside == pytest.approx(infer()["score"], rel=1e-5)


def test_a_size_that_the_file_does_not_tell(contract: ModuleType, export: Export, tmp_path: Path) -> None:
    path = contract.anomalib_2x(tmp_path / "model.onnx", pre_processor=False)
    code, told = export(path, "--imagenet")
    assert (code, "--input-size" in told) == (2, True)
    assert export(path, "--imagenet", "--input-size", "40,56") == (0, "")
    assert open_bundle(tmp_path / "bundle").manifest.preprocessing.size_px == (40, 56)


def test_limits_of_version_2_are_not_taken_from_elsewhere(
    contract: ModuleType, export: Export, tmp_path: Path
) -> None:
    given = contract.metadata(tmp_path / "metadata.json")
    code, told = export(contract.anomalib_2x(tmp_path / "model.onnx"), "--metadata", given)
    assert (code, "Leave --metadata out" in told) == (2, True)


def test_normalising_twice_is_refused(contract: ModuleType, export: Export, tmp_path: Path) -> None:
    code, told = export(contract.anomalib_2x(tmp_path / "model.onnx"), "--imagenet")
    assert (code, "would do it twice" in told) == (2, True)
