"""What every runner must do, with the shipped demo bundle. A runner that is not here yet is added to BACKENDS.

Those that need a GPU run only when asked for, and then a failure is a failure:

    ADCLIP_TEST_CUDA=1        onnxruntime-gpu on a PC
    ADCLIP_TEST_ENGINES=DIR   TensorRT, with the engine that 'adclip engine build models/demo
                              --engine-directory DIR' has made on this device
"""

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import open_bundle
from edge.config import OnnxRuntimeConfig, OnnxRuntimeGpuConfig, TensorRtConfig
from edge.errors import BundleError, OperateError
from edge.golden import check_golden
from edge.manifest import manifest_text
from edge.runner import open_runner

BUNDLE = Path(__file__).resolve().parents[2] / "models" / "demo"


def on_cpu(precision):
    return OnnxRuntimeConfig(threads=1, precision=precision)


def on_cuda(precision):
    return OnnxRuntimeGpuConfig(backend="onnxruntime_gpu", precision=precision)


def on_tensorrt():
    """An engine is built from the FP16 graph when there is one, else from the FP32 graph."""
    directory = Path(os.environ["ADCLIP_TEST_ENGINES"]).resolve()
    return TensorRtConfig(backend="tensorrt", engine_directory=directory)


def backend(name, make_config, *arguments, needs=()):
    """One backend. `needs` are (is it there, how to get it); the first that is not there is why it skips."""
    missing = [how for there, how in needs if not there]
    return pytest.param(
        (make_config, *arguments),
        id=name,
        marks=[pytest.mark.skip(f"{name}: {missing[0]}")] if missing else [],
    )


FP16_GRAPH = (
    (BUNDLE / "model.fp16.onnx").is_file(),
    "the demo bundle has no FP16 graph; its recipe exports one",
)
CUDA = (
    "ADCLIP_TEST_CUDA" in os.environ,
    "needs onnxruntime-gpu and an NVIDIA GPU; set ADCLIP_TEST_CUDA=1 where both are",
)
ENGINE = (
    "ADCLIP_TEST_ENGINES" in os.environ,
    "needs TensorRT and an engine; on the device run 'adclip engine build models/demo --engine-directory DIR' "
    "and set ADCLIP_TEST_ENGINES=DIR",
)

BACKENDS = [
    backend("onnxruntime-fp32", on_cpu, "fp32"),
    backend("onnxruntime-fp16", on_cpu, "fp16", needs=[FP16_GRAPH]),
    backend("onnxruntime_gpu-fp32", on_cuda, "fp32", needs=[CUDA]),
    backend("onnxruntime_gpu-fp16", on_cuda, "fp16", needs=[FP16_GRAPH, CUDA]),
    backend("tensorrt", on_tensorrt, needs=[ENGINE]),
]


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.fixture(params=BACKENDS)
def runner(request, bundle):
    make_config, *arguments = request.param
    opened = open_runner(bundle, make_config(*arguments))
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


def test_description_names_library_version_and_precision(runner):
    assert re.match(r"(onnxruntime|tensorrt) \d+\.\d+", runner.description)
    assert runner.precision.upper() in runner.description


def test_it_works_in_another_thread_than_the_one_that_opened_it(runner, bundle):
    here = runner.infer(tensor(bundle)).score
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: runner.infer(tensor(bundle)).score).result() == here


def test_close_may_be_called_twice(runner):
    runner.close()
    runner.close()


def test_a_file_that_is_no_model_is_refused(tmp_path, bundle):
    files = {}
    for name in bundle.manifest.files:
        content = b"not a model" if name.endswith(".onnx") else bundle.read(name)
        (tmp_path / name).write_bytes(content)
        files[name] = hashlib.sha256(content).hexdigest()
    manifest = bundle.manifest.model_copy(update={"files": files})
    (tmp_path / "bundle.yaml").write_text(manifest_text(manifest))
    with pytest.raises(BundleError, match="does not take"):
        open_runner(open_bundle(tmp_path), OnnxRuntimeConfig())
