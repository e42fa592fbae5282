"""`adclip export aaclip` as its user meets it: the bundle, its limits, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from edge.bundle import Bundle, open_bundle
from edge.camera.image_file import image_files, read_image
from edge.config import OnnxRuntimeConfig
from edge.errors import BundleError, ConfigError, EdgeError, ModelFileError, OperateError
from edge.golden import check_golden
from edge.inspection import Inspector
from edge.manifest import PARITY, AaClipHead, GridBlur, Precision
from edge.messages import Frame
from edge.runner import open_runner

pytest.importorskip("onnxscript", reason="the exporter needs onnxscript, which is not installed here")

from export.aaclip.command import aaclip_command
from export.aaclip.limits import calibration_pictures, measure_limits

Export = Callable[..., Result]
BY_HAND = {"--map-limits": "-4.5,9", "--score-limits": "0.4,0.6", "--calibration-images": None}


@pytest.fixture(scope="module")
def export(aaclip_files: Any) -> Export:
    """Run the command on the small model; keyword arguments replace options, None leaves one out."""

    def run(out: Path, options: dict[str, Any] | None = None, *flags: str, catch: bool = False) -> Result:
        given = {
            "--clip": aaclip_files.clip,
            "--image-adapter": aaclip_files.image_adapter,
            "--text-adapter": aaclip_files.text_adapter,
            "--vocabulary": aaclip_files.vocabulary,
            "--product": "metal ring",
            "--image-size": 44,
            "--levels": "1,3,4",
            "--calibration-images": aaclip_files.pictures,
            "--out": out,
            **(options or {}),
        }
        arguments = [
            str(part) for name, value in given.items() if value is not None for part in (name, value)
        ]
        return CliRunner().invoke(aaclip_command, [*arguments, *flags], catch_exceptions=catch)

    return run


@pytest.fixture(scope="module")
def bundle_folder(export: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model exported with everything at its default; read-only by convention."""
    out = tmp_path_factory.mktemp("exported") / "bundle"
    assert export(out).exit_code == 0
    return out


def test_the_manifest_tells_the_head_and_its_post_processing(bundle_folder: Path, aaclip_files: Any) -> None:
    manifest = open_bundle(bundle_folder).manifest
    assert manifest.head == AaClipHead(patch=8, product="metal ring", levels=(1, 3, 4), domain="industrial")
    assert (manifest.map.grid, manifest.map.layers, manifest.map.align_corners) == ((5, 5), 3, True)
    assert (manifest.map.grid_blur, manifest.map.sigma_px) == (GridBlur(kernel=7, sigma=1.0), 0.0)
    assert manifest.score.rule == "mean_with_map_peak"
    assert set(manifest.source.files) == {
        "clip", "image_adapter", "text_adapter", "vocabulary", "calibration_images",
    }  # fmt: skip


def test_the_calibration_pictures_reach_both_ends_of_the_scales(
    bundle_folder: Path, aaclip_files: Any, tmp_path: Path
) -> None:
    from edge.commands.infer import infer

    arguments = [str(bundle_folder), str(aaclip_files.pictures), "--json", "--save-maps", str(tmp_path)]
    assert CliRunner().invoke(infer, arguments, standalone_mode=False).exit_code == 0
    maps = [np.load(path, allow_pickle=False)["anomaly_map"] for path in tmp_path.iterdir()]
    assert min(values.min() for values in maps) == pytest.approx(0, abs=1e-6)
    assert max(values.max() for values in maps) == pytest.approx(1, abs=1e-6)


def test_the_golden_frames_and_the_figures_are_in_the_bundle(bundle_folder: Path) -> None:
    bundle = open_bundle(bundle_folder)
    for precision in bundle.manifest.precisions:
        runner = open_runner(bundle, OnnxRuntimeConfig(precision=precision))
        assert check_golden(bundle, runner).passed
    assert json.loads((bundle_folder / PARITY).read_text())["passed"] is True


def test_the_same_files_give_the_same_bundle(bundle_folder: Path, export: Export, tmp_path: Path) -> None:
    export(tmp_path / "again")
    assert open_bundle(tmp_path / "again").bundle_id == open_bundle(bundle_folder).bundle_id


def test_limits_given_by_hand_are_stored_and_the_summary_tells_them(export: Export, tmp_path: Path) -> None:
    output = export(tmp_path / "bundle", BY_HAND).output
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert (manifest.map.scale, manifest.score.scale) == ((-4.5, 9.0), (0.4, 0.6))
    assert "calibration_images" not in manifest.source.files
    for told in ("AA-CLIP, industrial", "metal ring", "1, 3, 4", "-4.5 to 9", "0.4 to 0.6", "command line"):
        assert told in output
    assert "FP32 map error" in output
    assert "FP16 map error" in output


def test_the_graph_in_fp16_keeps_the_order_of_the_pictures(bundle_folder: Path, aaclip_files: Any) -> None:
    bundle = open_bundle(bundle_folder)
    assert bundle.manifest.precisions == ("fp32", "fp16")
    fp32, fp16 = (np.array(_scores(bundle, aaclip_files.pictures, p)) for p in bundle.manifest.precisions)
    assert np.abs(fp16 - fp32).max() < 2e-3  # of a range of 1; 3.3e-4 was found
    assert np.array_equal(np.argsort(fp32), np.argsort(fp16))


def test_a_medical_bundle_scores_by_the_peak_alone_and_may_do_without_fp16(
    export: Export, tmp_path: Path
) -> None:
    options = {**BY_HAND, "--score-limits": None, "--domain": "medical"}
    assert export(tmp_path / "bundle", options, "--fp32-only").exit_code == 0
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest.precisions == ("fp32",)
    assert (manifest.score.rule, manifest.score.scale) == ("map_peak", None)
    assert manifest.map.grid_blur == GridBlur(kernel=9, sigma=1.5)


@pytest.mark.parametrize(
    "options",
    [
        {"--calibration-images": None},
        {**BY_HAND, "--calibration-images": "somewhere"},
        {**BY_HAND, "--score-limits": None},
        {**BY_HAND, "--map-limits": None},
        {**BY_HAND, "--domain": "medical"},
    ],
)
def test_limits_must_come_from_one_source_and_suit_the_domain(
    export: Export, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"limits"):
        export(tmp_path / "bundle", options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {**BY_HAND, "--map-limits": "1,1"},
        {**BY_HAND, "--map-limits": "0,nan"},
        {**BY_HAND, "--score-limits": "0,inf"},
        {**BY_HAND, "--score-limits": "0.5"},
        {"--levels": "six"},
        {"--levels": ","},
        {"--domain": "dental"},
    ],
)
def test_a_wrong_value_is_a_usage_error(export: Export, tmp_path: Path, options: dict[str, Any]) -> None:
    result = export(tmp_path / "bundle", options)
    assert result.exit_code == 2
    assert "Invalid value" in result.output


def test_too_few_calibration_pictures_are_refused(export: Export, aaclip_files: Any, tmp_path: Path) -> None:
    folder = _copies(aaclip_files.pictures / "3.png", tmp_path / "pictures", 9)
    with pytest.raises(ConfigError, match="holds 9 pictures"):
        export(tmp_path / "bundle", {"--calibration-images": folder})
    assert [entry.name for entry in tmp_path.iterdir()] == ["pictures"]


def test_ten_times_the_same_picture_gives_no_scale(
    bundle_folder: Path, aaclip_files: Any, tmp_path: Path
) -> None:
    paths = calibration_pictures(_copies(aaclip_files.pictures / "3.png", tmp_path / "pictures", 10))
    with pytest.raises(ConfigError, match=r"score goes from .* which gives no scale"):
        measure_limits(open_bundle(bundle_folder), paths)


def test_a_broken_calibration_picture_is_named_and_nothing_is_left_behind(
    export: Export, aaclip_files: Any, tmp_path: Path
) -> None:
    folder = shutil.copytree(aaclip_files.pictures, tmp_path / "pictures")
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes()[:40])
    with pytest.raises(OperateError, match=r"4\.png"):
        export(tmp_path / "bundle", {"--calibration-images": folder}, "--fp32-only")
    assert [entry.name for entry in tmp_path.iterdir()] == ["pictures"]


@pytest.mark.parametrize(
    ("option", "other", "why"),
    [
        ("--image-adapter", "text_adapter", "holds the text_adapter, not the image_adapter"),
        ("--text-adapter", "clip", "it has no entry text_adapter"),
        ("--vocabulary", "clip", "is no CLIP vocabulary"),
        ("--clip", "image_adapter", r"image_adapter_20\.pth holds entries that are not tensors"),
    ],
)
def test_swapped_files_are_named_and_nothing_is_left_behind(
    export: Export, aaclip_files: Any, tmp_path: Path, option: str, other: str, why: str
) -> None:
    with pytest.raises(ModelFileError, match=why):
        export(tmp_path / "bundle", {option: getattr(aaclip_files, other)})
    assert not list(tmp_path.iterdir())


def test_a_bundle_is_replaced_only_when_asked(export: Export, bundle_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    shutil.copytree(bundle_folder, out)
    other = {**BY_HAND, "--map-limits": "0,1"}
    with pytest.raises(BundleError, match="exists already"):
        export(out, other, "--fp32-only")
    assert export(out, other, "--fp32-only", "--force").exit_code == 0
    assert open_bundle(out).manifest.map.scale == (0.0, 1.0)


def test_a_head_that_is_not_known_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    shutil.copytree(bundle_folder, out)
    content = yaml.safe_load((out / "bundle.yaml").read_text())
    content["head"]["kind"] = "somebodys"
    (out / "bundle.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(BundleError, match="head"):
        open_bundle(out)


def test_help_needs_no_torch() -> None:
    result = CliRunner().invoke(aaclip_command, ["--help"])
    assert result.exit_code == 0
    assert "--calibration-images" in result.output


def test_a_missing_file_is_named(export: Export, tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="nowhere"):
        export(tmp_path / "bundle", {"--image-adapter": tmp_path / "nowhere.pth"})


def _copies(picture: Path, folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        shutil.copy(picture, folder / f"{number}.png")
    return folder


def _scores(bundle: Bundle, pictures: Path, precision: Precision) -> list[float]:
    """The image scores of the line's own path."""
    runner = open_runner(bundle, OnnxRuntimeConfig(precision=precision))
    inspector = Inspector(bundle, runner, bundle.manifest.preprocessing, lambda: 0)
    frames = [Frame(1, 1, 0, 0, *read_image(path)) for path in image_files(pictures)]
    return [inspector.inspect(frame).score for frame in frames]
