"""Files that are no ONNX, or not all of it: told in one paragraph, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Export = Callable[..., tuple[int, str]]


@pytest.fixture
def onnx(contract: ModuleType) -> Any:
    return contract.onnx


def refused(export: Export, model: Path, *expected: str) -> None:
    before = sorted(model.parent.rglob("*"))
    code, told = export(model)
    assert code == 2
    for words in expected:
        assert words in told
    assert "Traceback" not in told
    assert sorted(model.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.xml", "an OpenVINO model"),
        ("model.pt", "runs code when it is loaded"),
        ("model.ckpt", "runs code when it is loaded"),
        ("model.onnx.data", "Give the .onnx file that lies beside it"),
        ("model.plan", "fits one device alone"),
    ],
)
def test_other_formats_are_named(
    name: str, message: str, contract: ModuleType, export: Export, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"anything")
    refused(export, tmp_path / name, message)


@pytest.mark.parametrize("content", [b"", b"no network", b"PK\x03\x04 a renamed checkpoint", b"\x08\x0a\x12"])
def test_no_onnx_at_all(content: bytes, contract: ModuleType, export: Export, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    refused(export, tmp_path / "model.onnx", "is truncated, damaged or of another kind")


def test_cut_short(contract: ModuleType, export: Export, tmp_path: Path) -> None:
    path = contract.anomalib_2x(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:-700])
    refused(export, path, "is truncated, damaged or of another kind")


def test_absent_and_folder(contract: ModuleType, export: Export, tmp_path: Path) -> None:
    refused(export, tmp_path / "absent.onnx", "cannot be read")
    (tmp_path / "export").mkdir()
    refused(export, tmp_path / "export", "is a folder", "weights/onnx/model.onnx")


def test_data_file_left_behind(contract: ModuleType, export: Export, tmp_path: Path) -> None:
    path = contract.anomalib_27(tmp_path / "model.onnx")
    (tmp_path / "model.onnx.data").unlink()
    refused(export, path, "keeps its weights in model.onnx.data, which is not beside it", "external_data")


def test_data_file_cut_short(contract: ModuleType, export: Export, tmp_path: Path) -> None:
    path = contract.anomalib_27(tmp_path / "model.onnx")
    data = tmp_path / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-4])
    refused(export, path, "it is cut short")


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "", "link.bin"])
def test_data_outside_of_the_folder(
    location: str, contract: ModuleType, export: Export, onnx: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    path = contract.anomalib_27(folder / "model.onnx")
    data = (folder / "model.onnx.data").read_bytes()
    (tmp_path / "outside.bin").write_bytes(data)
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(proto.SerializeToString())
    refused(export, path, "does not lie in its folder")


@pytest.mark.parametrize("offset", ["-4", "x", "1e3"])
def test_an_offset_that_is_no_number(
    offset: str, contract: ModuleType, export: Export, onnx: Any, tmp_path: Path
) -> None:
    path = contract.anomalib_27(tmp_path / "model.onnx")
    proto = onnx.load(path, load_external_data=False)
    stored = next(tensor for tensor in proto.graph.initializer if tensor.external_data)
    next(entry for entry in stored.external_data if entry.key == "offset").value = offset
    path.write_bytes(proto.SerializeToString())
    refused(export, path, "the offset of a data file is")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "it is not JSON"),
        ("[1]", "it is not a JSON object"),
        ('{"task": "classification"}', "none of anomalib's limits"),
        (
            '{"image_threshold": "high", "pred_scores.min": 0, "pred_scores.max": 1}',
            "image_threshold is 'high'",
        ),
        ('{"image_threshold": NaN, "pred_scores.min": 0, "pred_scores.max": 1}', "image_threshold is nan"),
        ('{"image_threshold": 1, "pred_scores.min": 3, "pred_scores.max": 3}', "is not above"),
    ],
)
def test_metadata_that_is_none(
    content: str, message: str, contract: ModuleType, export: Export, tmp_path: Path
) -> None:
    path = contract.anomalib_1x(tmp_path / "model.onnx", "padim")
    (tmp_path / "metadata.json").write_text(content)
    code, told = export(path, "--metadata", tmp_path / "metadata.json")
    assert (code, message in told) == (2, True), told
