"""ONNX Runtime: the provider asked for is the one got, or there is an error.

Refusals of the GPU provider are shown with a stand-in for the module onnxruntime. It plays what the real one
was seen to do (falling back to the CPU without an exception); it runs nothing and proves nothing about CUDA.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from edge.config import OnnxRuntimeConfig, OnnxRuntimeGpuConfig
from edge.errors import BundleError, OpenError, OperateError
from edge.runner import open_runner
from edge.runner.onnxruntime import CPU, CUDA

GPU = OnnxRuntimeGpuConfig(backend="onnxruntime_gpu", device=1)


class StandIn:
    """Stands for the module onnxruntime. `listed` is what the build claims, `got` what a session then uses."""

    __version__ = "1.23.2"

    def __init__(self, listed, got, fails=None, fails_running=None):
        self._listed, self._got, self._fails, self._fails_running = listed, got, fails, fails_running
        self.asked = None

    def get_available_providers(self):
        return self._listed

    def disable_telemetry_events(self):
        pass

    def SessionOptions(self):
        return SimpleNamespace(add_session_config_entry=lambda _key, _value: None)

    def InferenceSession(self, content, options, providers):
        if self._fails:
            raise self._fails
        self.asked = SimpleNamespace(content=content, options=options, providers=providers, fallback=True)
        return SimpleNamespace(
            get_providers=lambda: self._got,
            disable_fallback=lambda: setattr(self.asked, "fallback", False),
            run=self._run,
        )

    def _run(self, _outputs, _inputs):
        if self._fails_running:
            raise self._fails_running
        return np.array([0.5], np.float32), np.zeros((1, 2, 3), np.float32)


@pytest.fixture
def stand_in(monkeypatch):
    def make(*arguments, **changes):
        module = StandIn(*arguments, **changes)
        monkeypatch.setitem(sys.modules, "onnxruntime", module)
        return module

    return make


def test_a_gpu_that_is_got_is_used(stand_in, tiny_bundle):
    module = stand_in([CUDA, CPU], [CUDA, CPU])
    runner = open_runner(tiny_bundle, GPU)
    assert module.asked.content == b"no FP32 model"
    assert module.asked.providers == [(CUDA, {"device_id": "1", "use_tf32": "0"})]
    assert not module.asked.fallback
    assert runner.description == "onnxruntime 1.23.2 CUDA device 1, FP32"
    assert runner.infer(np.zeros((1, 3, 4, 6), np.float32)).score == 0.5


def test_a_session_that_fell_back_to_the_cpu_is_refused(stand_in, tiny_bundle):
    stand_in([CUDA, CPU], [CPU])
    with pytest.raises(OpenError, match="gave way to CPUExecutionProvider") as caught:
        open_runner(tiny_bundle, GPU)
    assert "Nothing runs on the CPU by itself" in caught.value.do


def test_a_build_without_the_provider_is_refused(stand_in, tiny_bundle):
    module = stand_in([CPU], [CPU])
    with pytest.raises(OpenError, match="is not in this build"):
        open_runner(tiny_bundle, GPU)
    assert module.asked is None


def test_a_session_that_cannot_be_made_is_told(stand_in, tiny_bundle):
    stand_in([CUDA, CPU], [CUDA], fails=RuntimeError("CUDA failure 35: driver\nversion is insufficient"))
    with pytest.raises(OpenError, match="driver version is insufficient"):
        open_runner(tiny_bundle, GPU)


def test_a_precision_that_the_bundle_lacks_is_refused_before_anything_is_opened(stand_in, tiny_bundle):
    module = stand_in([CUDA, CPU], [CUDA, CPU])
    for config in (OnnxRuntimeConfig(precision="fp16"), GPU.model_copy(update={"precision": "fp16"})):
        with pytest.raises(BundleError, match="has no FP16 graph"):
            open_runner(tiny_bundle, config)
    assert module.asked is None


def test_the_fp16_graph_is_read_when_asked_for(stand_in, tiny, tmp_path):
    module = stand_in([CPU], [CPU])
    bundle = tiny.write_tiny_bundle(tmp_path / "halves", fp16=True)
    runner = open_runner(bundle, OnnxRuntimeConfig(precision="fp16", threads=1))
    assert module.asked.content == b"no FP16 model"
    assert runner.precision == "fp16"
    assert "FP16" in runner.description


def test_without_the_library_the_next_step_is_told(monkeypatch, tiny_bundle):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OpenError, match="cannot be loaded"):
        open_runner(tiny_bundle, OnnxRuntimeConfig())


def test_the_real_library_here_refuses_a_gpu_that_is_not_there(tiny_bundle):
    onnxruntime = pytest.importorskip("onnxruntime")
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("for builds of ONNX Runtime without CUDA, and this one lists it")
    with pytest.raises(OpenError, match="is not in this build"):
        open_runner(tiny_bundle, GPU)


def test_a_failure_on_a_frame_is_told(stand_in, tiny_bundle):
    stand_in([CPU], [CPU], fails_running=RuntimeError("BFCArena:\n failed to allocate."))
    runner = open_runner(tiny_bundle, OnnxRuntimeConfig())
    with pytest.raises(OperateError, match=r"frame: BFCArena: failed to allocate\. Check"):
        runner.infer(np.zeros((1, 3, 4, 6), np.float32))
