"""Bundles: a changed byte is refused."""

import hashlib
import io

import numpy as np
import pytest
import yaml

from edge.bundle import open_bundle
from edge.errors import BundleError
from edge.manifest import BundleManifest, manifest_text


def manifest(files):
    return {
        "backbone": "ViT 64x2, patch 16, native grid 2",
        "head": {
            "kind": "anomalyclip",
            "patch": 16,
            "dpam": 2,
            "features": [1, 2],
            "layers_used": [1, 2],
            "legacy_features": False,
        },
        "preprocessing": {
            "height_px": 32,
            "width_px": 32,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.2, 0.2, 0.2],
        },
        "map": {"grid": [2, 2], "layers": 2, "sigma_px": 4.0},
        "tolerances": {"fp32": {"score": 2e-5, "map": 1e-4}},
        "source": {"files": {"clip": "0" * 64, "checkpoint": "1" * 64}, "exporter": "test"},
        "files": files,
    }


@pytest.fixture
def folder(tmp_path):
    """A bundle whose model is not a model: enough for everything but running it."""
    golden = io.BytesIO()
    np.savez(
        golden,
        image_0=np.zeros((4, 5, 3), np.uint8),
        image_1=np.ones((6, 5, 3), np.uint8),
        image_score=np.array([0.25, 0.5], np.float32),
        grid_map=np.zeros((2, 2, 2), np.float32),
    )
    contents = {"model.fp32.onnx": b"model", "golden.npz": golden.getvalue()}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    (tmp_path / "bundle.yaml").write_text(manifest_text(BundleManifest.model_validate(manifest(hashes))))
    return tmp_path


def change(folder, **changes):
    content = yaml.safe_load((folder / "bundle.yaml").read_text()) | changes
    (folder / "bundle.yaml").write_text(yaml.safe_dump(content))


def test_opens_and_reads(folder):
    bundle = open_bundle(folder)
    assert bundle.manifest.map.grid == (2, 2)
    assert bundle.read("model.fp32.onnx") == b"model"
    golden = bundle.golden()
    assert [image.shape for image in golden.images] == [(4, 5, 3), (6, 5, 3)]
    assert golden.image_score.tolist() == [0.25, 0.5]


@pytest.mark.parametrize("name", ["model.fp32.onnx", "golden.npz"])
def test_a_changed_byte_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name}.*SHA-256"):
        open_bundle(folder)


def test_a_byte_changed_after_opening_is_refused_too(folder):
    bundle = open_bundle(folder)
    (folder / "model.fp32.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="SHA-256"):
        bundle.read("model.fp32.onnx")


def test_a_changed_manifest_is_another_bundle(folder):
    before = open_bundle(folder).bundle_id
    change(folder, backbone="another")
    assert open_bundle(folder).bundle_id != before


def test_a_missing_file_is_named(folder):
    (folder / "golden.npz").unlink()
    with pytest.raises(BundleError, match=r"golden\.npz cannot be read"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 1}, "schema_version"),
        ({"head": {"kind": "other"}}, "head"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "files"),
        ({"files": {"model.fp32.onnx": "0" * 64}}, r"must list .*golden\.npz"),
        ({"fp16": {"fp32_blocks": [1]}}, r"go together: all or none"),
        ({"score": {"rule": "graph", "scale": [0.5, 0.5]}}, "high above low"),
        ({"map": {"grid": [2, 2], "grid_blur": {"kernel": 4, "sigma": 1.0}}}, "kernel must be odd"),
        ({"outptus": {}}, r"did you mean 'outputs'"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder, changes, message):
    change(folder, **changes)
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


def test_a_folder_that_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="not a bundle"):
        open_bundle(tmp_path)


def test_golden_frames_are_never_unpickled(folder):
    evil = io.BytesIO()
    np.savez(evil, image_0=np.array([object()], dtype=object), image_score=np.zeros(1), grid_map=np.zeros(1))
    (folder / "golden.npz").write_bytes(evil.getvalue())
    files = yaml.safe_load((folder / "bundle.yaml").read_text())["files"]
    change(folder, files=files | {"golden.npz": hashlib.sha256(evil.getvalue()).hexdigest()})
    with pytest.raises(BundleError, match="does not hold golden frames"):
        open_bundle(folder).golden()
