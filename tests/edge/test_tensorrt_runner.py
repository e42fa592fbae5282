"""The TensorRT runner on a double: order of calls and failures. What runs on a GPU is not shown here."""

import hashlib
import importlib.util
import threading
import time

import numpy as np
import pytest

from edge.config import TensorRtConfig
from edge.engine import BuildFigures, BuildOptions, EngineKey, EngineRecord, GoldenProof, engine_target
from edge.engine_directory import StoredEngine, use_of_engines, write_record, write_whole
from edge.errors import OpenError, OperateError
from edge.runner import open_runner
from edge.runner.gpu import read_gpu
from edge.runner.tensorrt import TensorRtRunner

PROOF = GoldenProof(
    frames=2, score_difference=0.0, map_difference=0.0, score_allowed=1e-3, map_allowed=1e-3, passed=True
)


@pytest.fixture
def open_runner_on(tensorrt_double, tiny, tiny_bundle, tmp_path):
    """Opens a runner on a double with an engine in its directory; every runner is closed in the end."""
    opened = []

    def make(
        cuda_graph="off", golden=PROOF, tensors=tiny.SHAPES, now_ns=time.monotonic_ns, faults=(), **changes
    ):
        gpu = tensorrt_double.Gpu(tiny.network, tensors, **changes)
        store(tmp_path, tiny_bundle, gpu, tensorrt_double.ENGINE, golden)
        gpu.faults |= set(faults)
        config = TensorRtConfig(backend="tensorrt", engine_directory=tmp_path, cuda_graph=cuda_graph)
        make.gpu, make.bundle = gpu, tiny_bundle
        opened.append(TensorRtRunner(tiny_bundle, config, libraries=gpu.libraries, now_ns=now_ns))
        return opened[-1], gpu

    yield make
    for runner in opened:
        runner.close()


def store(directory, bundle, gpu, content, golden):
    with use_of_engines(directory, building=True):
        pass
    target = engine_target(
        bundle,
        tensorrt=gpu.version,
        gpu="Orin",
        compute_capability="8.7",
        platform=read_gpu(gpu.libraries.cuda, 0).platform,
    )
    record = EngineRecord(
        key=EngineKey(target=target, options=BuildOptions()),
        engine_sha256=hashlib.sha256(content).hexdigest(),
        built_utc="2024-05-06T07:08:09+00:00",
        figures=BuildFigures(
            seconds=1,
            engine_bytes=len(content),
            attentions=1,
            layers=2,
            fused_attentions=1,
            available_mb=6000,
            least_available_mb=500,
        ),
        golden=golden,
    )
    engine = StoredEngine(directory, record)
    write_whole(engine.path, content)
    write_record(engine)


def picture(seed=1):
    return np.random.default_rng(seed).standard_normal((1, 3, 4, 6)).astype(np.float32)


@pytest.mark.parametrize("integrated", [True, False])
def test_what_goes_in_reaches_the_engine_and_what_comes_out_the_caller(open_runner_on, tiny, integrated):
    runner, _ = open_runner_on(integrated=integrated)
    for seed in (1, 2):
        found, wanted = runner.infer(picture(seed)), tiny.network(picture(seed))
        assert found.score == pytest.approx(wanted["image_score"])
        np.testing.assert_allclose(found.grid_map, wanted["anomaly_map"], rtol=1e-6)


def test_on_an_integrated_gpu_nothing_is_copied_and_on_a_card_everything_once(open_runner_on):
    runner, gpu = open_runner_on(integrated=True)
    runner.infer(picture())
    assert not {"upload", "download"} & set(gpu.calls)
    runner.close()
    runner, gpu = open_runner_on(integrated=False)
    gpu.calls.clear()
    runner.infer(picture())
    steps = ["push", "upload", "execute", "download", "download", "synchronize", "pop"]
    assert gpu.calls == steps


def test_the_map_outlives_the_next_frame_and_the_runner(open_runner_on):
    runner, _ = open_runner_on()
    first = runner.infer(picture(1)).grid_map
    kept = first.copy()
    runner.infer(picture(2))
    runner.close()
    np.testing.assert_array_equal(first, kept)


def test_not_a_number_is_handed_on(open_runner_on):
    runner, _ = open_runner_on()
    spoilt = picture()
    spoilt[0, 0, 0, 0] = np.nan
    found = runner.infer(spoilt)
    assert np.isnan(found.score)
    assert np.isnan(found.grid_map[0, 0])


def test_it_works_in_a_thread_that_did_not_open_it(open_runner_on):
    runner, gpu = open_runner_on()
    scores = []
    thread = threading.Thread(target=lambda: scores.append(runner.infer(picture()).score))
    thread.start()
    thread.join()
    assert scores == [pytest.approx(float(picture().mean()))]
    assert gpu.stack == []


def test_a_second_thread_at_the_same_time_is_refused(open_runner_on, tiny):
    runner, gpu = open_runner_on()
    refused = []

    def while_running(image):
        with pytest.raises(OperateError, match="Two threads") as caught:
            runner.infer(picture())
        refused.append(caught.value)
        return tiny.network(image)

    gpu.network = while_running
    runner.infer(picture())
    assert len(refused) == 1


@pytest.mark.parametrize("fault", ["execute", "synchronise"])
def test_a_failure_on_a_frame_is_told_and_leaves_no_context_behind(open_runner_on, fault):
    runner, gpu = open_runner_on()
    gpu.calls.clear()
    gpu.faults.add(fault)
    with pytest.raises(OperateError) as caught:
        runner.infer(picture())
    assert "Restart the daemon" in caught.value.do
    assert "\n" not in str(caught.value)
    assert gpu.calls.count("push") == gpu.calls.count("pop") == 1
    assert gpu.stack == []
    gpu.faults.clear()
    assert runner.infer(picture()).score == pytest.approx(float(picture().mean()))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("driver", "CUDA does not start"),
        ("context", "context cannot be had"),
        ("push", "cannot be opened"),
        ("deserialise", "plan file is not compatible"),
        ("memory", "out of memory while allocating"),
        ("half", "its bundle"),
        ("host memory", "out of memory"),
        ("address", "does not take the memory for image"),
        ("synchronise", "illegal memory access"),
    ],
)
@pytest.mark.parametrize("integrated", [True, False])
def test_a_failure_in_opening_is_told_and_frees_everything(open_runner_on, fault, words, integrated):
    with pytest.raises(OpenError, match=words):
        open_runner_on(faults=[fault], integrated=integrated)
    assert open_runner_on.gpu.live == []
    assert open_runner_on.gpu.stack == []
    if fault != "push":  # then the context cannot be let go either
        assert open_runner_on.gpu.retained == 0


def test_a_card_without_memory_frees_the_hosts_part(open_runner_on):
    with pytest.raises(OpenError, match="cuMemAlloc"):
        open_runner_on(faults=["device memory"], integrated=False)
    assert open_runner_on.gpu.live == []


@pytest.mark.parametrize(
    "changes",
    [
        {"image": ("input", (1, 3, 8, 8))},
        {"anomaly_map": ("output", (1, 4, 4))},
        {"extra": ("output", (1,))},
        {"image_score": None},
        {"image": ("output", (1, 3, 4, 6))},
    ],
    ids=["size", "grid", "one more", "one less", "direction"],
)
def test_an_engine_with_other_tensors_is_refused(open_runner_on, tiny, changes):
    wrong = {name: tensor for name, tensor in (tiny.SHAPES | changes).items() if tensor is not None}
    with pytest.raises(OpenError, match="The engine has the tensors"):
        open_runner_on(tensors=wrong)


@pytest.mark.parametrize(
    "golden", [None, PROOF.model_copy(update={"passed": False, "score_difference": None})]
)
def test_an_engine_without_proof_is_refused(open_runner_on, golden):
    with pytest.raises(OpenError, match="golden frames"):
        open_runner_on(golden=golden)
    assert open_runner_on.gpu.calls == []


def test_an_engine_with_a_changed_byte_is_refused(open_runner_on, tmp_path):
    runner, _ = open_runner_on()
    runner.close()
    path = next(tmp_path.glob("*.engine"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    config = TensorRtConfig(backend="tensorrt", engine_directory=tmp_path)
    with pytest.raises(OpenError, match="not the file that was built"):
        TensorRtRunner(open_runner_on.bundle, config, libraries=open_runner_on.gpu.libraries)


def test_close_frees_everything_once_in_any_thread(open_runner_on):
    runner, gpu = open_runner_on(cuda_graph="on")
    assert gpu.live
    closing = threading.Thread(target=runner.close)
    closing.start()
    closing.join()
    runner.close()
    assert gpu.live == []
    assert gpu.graphs == {}
    assert gpu.retained == 0
    assert gpu.calls[-2:] == ["push", "detach"]
    with pytest.raises(OperateError, match="closed"):
        runner.infer(picture())


def test_a_fault_in_closing_is_logged_and_not_raised(open_runner_on, caplog):
    runner, gpu = open_runner_on()
    gpu.faults.add("push")
    runner.close()
    assert "could not be freed" in caplog.text


def test_a_build_keeps_the_runner_out_and_the_runner_a_build(open_runner_on, tmp_path):
    runner, _ = open_runner_on()
    with pytest.raises(OpenError, match="in use"), use_of_engines(tmp_path, building=True):
        pass
    runner.close()
    with use_of_engines(tmp_path, building=True), pytest.raises(OpenError, match="being built"):
        TensorRtRunner(
            open_runner_on.bundle,
            TensorRtConfig(backend="tensorrt", engine_directory=tmp_path),
            libraries=open_runner_on.gpu.libraries,
        )


def ticking(*steps_ns):
    """A clock whose readings are that far apart, again and again."""
    now, index = 0, -1

    def now_ns():
        nonlocal now, index
        index = (index + 1) % len(steps_ns)
        now += steps_ns[index]
        return now

    return now_ns


# The graph is timed first, five runs of two readings each, then the plain launches.
@pytest.mark.parametrize(
    ("graph_ns", "plain_ns", "graphed"), [(90, 100, True), (100, 100, False), (110, 100, False)]
)
def test_auto_keeps_the_graph_only_when_it_is_faster(open_runner_on, graph_ns, plain_ns, graphed):
    clock = ticking(*[0, graph_ns] * 5, *[0, plain_ns] * 5)
    runner, gpu = open_runner_on(cuda_graph="auto", now_ns=clock)
    gpu.calls.clear()
    found = runner.infer(picture())
    assert ("launch graph" in gpu.calls) == graphed
    assert ("execute" in gpu.calls) != graphed
    assert ("CUDA graph" in runner.description) == graphed
    assert found.score == pytest.approx(float(picture().mean()))


def test_the_graph_is_recorded_after_a_first_run(open_runner_on):
    _, gpu = open_runner_on(cuda_graph="on")
    assert gpu.calls[: gpu.calls.index("begin capture")].count("execute") == 1


def test_off_never_records(open_runner_on):
    _, gpu = open_runner_on(cuda_graph="off")
    assert "begin capture" not in gpu.calls


@pytest.mark.parametrize("fault", ["capture", "end capture", "instantiate"])
def test_a_graph_that_cannot_be_had(open_runner_on, fault):
    runner, gpu = open_runner_on(cuda_graph="auto", faults=[fault])
    assert "CUDA graph" not in runner.description
    assert runner.infer(picture()).score == pytest.approx(float(picture().mean()))
    runner.close()
    assert gpu.graphs == {}
    with pytest.raises(OpenError, match="CUDA graph cannot be had"):
        open_runner_on(cuda_graph="on", faults=[fault])
    assert open_runner_on.gpu.live == []


def test_the_description_names_library_gpu_precision_and_engine(open_runner_on):
    runner, _ = open_runner_on()
    assert runner.description.startswith("tensorrt 10.3.0 Orin, FP32, engine ")
    assert runner.precision == "fp32"


@pytest.mark.parametrize(("shape", "dtype"), [((1, 3, 6, 4), np.float32), ((1, 3, 4, 6), np.float64)])
def test_a_wrong_tensor_is_refused(open_runner_on, shape, dtype):
    runner, gpu = open_runner_on()
    gpu.calls.clear()
    with pytest.raises(OperateError, match="takes float32"):
        runner.infer(np.zeros(shape, dtype))
    assert gpu.calls == []


def test_a_device_that_is_not_there(open_runner_on, tmp_path):
    _, gpu = open_runner_on()
    config = TensorRtConfig(backend="tensorrt", engine_directory=tmp_path, device=1)
    with pytest.raises(OpenError, match="no GPU 1"):
        TensorRtRunner(open_runner_on.bundle, config, libraries=gpu.libraries)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt") is not None, reason="for machines without TensorRT, and it is here"
)
def test_without_tensorrt_nothing_else_runs_and_the_next_step_is_told(tiny_bundle, tmp_path):
    config = TensorRtConfig(backend="tensorrt", engine_directory=tmp_path)
    with pytest.raises(OpenError) as caught:
        open_runner(tiny_bundle, config)
    assert "--system-site-packages" in caught.value.do
