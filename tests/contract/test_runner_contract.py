"""What every runner must do, with the shipped demo bundle. A runner that is not here yet is added to BACKENDS."""

from pathlib import Path

import numpy as np
import pytest

from edge.bundle import open_bundle
from edge.config import OnnxRuntimeConfig
from edge.errors import BundleError, OperateError
from edge.golden import check_golden
from edge.runner import open_runner

BUNDLE = Path(__file__).resolve().parents[2] / "models" / "demo"

BACKENDS = ["onnxruntime"]


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.fixture(params=BACKENDS)
def runner(request, bundle):
    opened = open_runner(bundle, OnnxRuntimeConfig(backend=request.param, threads=1))
    yield opened
    opened.close()


def tensor(bundle, seed=0):
    return (
        np.random.default_rng(seed)
        .standard_normal((1, 3, *bundle.manifest.preprocessing.size_px))
        .astype(np.float32)
    )


def test_golden_frames_come_out_within_tolerance(runner, bundle):
    result = check_golden(bundle, runner)
    assert result.frames == len(bundle.golden().images) > 0
    assert result.passed


def test_shapes_and_ranges(runner, bundle):
    found = runner.infer(tensor(bundle))
    manifest = bundle.manifest
    assert 0 <= found.score <= 1
    assert found.grid_map.shape == manifest.map.grid
    assert found.grid_map.dtype == np.float32
    assert 0 <= found.grid_map.min() <= found.grid_map.max() <= manifest.map.layers


def test_the_same_tensor_gives_the_same_bits(runner, bundle):
    first = runner.infer(tensor(bundle))
    score, grid_map = first.score, first.grid_map.copy()
    runner.infer(tensor(bundle, seed=1))
    again = runner.infer(tensor(bundle))
    assert again.score == score
    np.testing.assert_array_equal(again.grid_map, grid_map)


def test_not_a_number_is_handed_on(runner, bundle):
    spoilt = tensor(bundle)
    spoilt[0, 1, 5, 5] = np.nan
    assert not np.isfinite(runner.infer(spoilt).score)


@pytest.mark.parametrize("wrong", [(1, 3, 8, 8), (2, 3, 256, 256), (3, 256, 256)])
def test_a_wrong_shape_is_refused(runner, wrong):
    with pytest.raises(OperateError):
        runner.infer(np.zeros(wrong, np.float32))


def test_a_wrong_dtype_is_refused(runner, bundle):
    with pytest.raises(OperateError):
        runner.infer(tensor(bundle).astype(np.float64))


def test_description_names_library_and_version(runner):
    assert "onnxruntime 1." in runner.description


def test_close_may_be_called_twice(runner):
    runner.close()
    runner.close()


def test_a_file_that_is_no_model_is_refused(tmp_path, bundle):
    import hashlib

    import yaml

    content = b"not a model"
    (tmp_path / "model.fp32.onnx").write_bytes(content)
    (tmp_path / "golden.npz").write_bytes(bundle.read("golden.npz"))
    manifest = yaml.safe_load((bundle.folder / "bundle.yaml").read_text())
    manifest["files"] = {
        "model.fp32.onnx": hashlib.sha256(content).hexdigest(),
        "golden.npz": bundle.manifest.files["golden.npz"],
    }
    (tmp_path / "bundle.yaml").write_text(yaml.safe_dump(manifest))
    with pytest.raises(BundleError, match="does not take"):
        open_runner(open_bundle(tmp_path), OnnxRuntimeConfig())
