"""Building on a double: order of the steps, refusals, and what activates an engine.

What TensorRT makes of a graph is not shown here; the double computes with a Python function.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from edge.config import TensorRtConfig
from edge.engine import BuildOptions
from edge.engine_directory import find_engine, list_engines, use_of_engines
from edge.errors import BundleError, OpenError, OperateError
from edge.runner.tensorrt import TensorRtRunner
from export.engine.build import Surroundings, build_engine
from export.engine.preconditions import FreeMemory

PLENTY = FreeMemory(available_mb=6500, swap_mb=0)


class Shown:
    """Keeps what a display is told."""

    def __init__(self):
        self.told = []

    def started(self, phase, parent, steps):
        self.told.append(("started", phase, parent, steps))

    def stepped(self, phase, step):
        self.told.append(("stepped", phase, step))

    def finished(self, phase):
        self.told.append(("finished", phase))


@pytest.fixture
def make_gpu(tensorrt_double, tiny):
    def make(network=tiny.network, **changes):
        return tensorrt_double.Gpu(network, tiny.SHAPES, **changes)

    return make


@pytest.fixture
def build(tiny_bundle, tmp_path):
    """Builds on a double; every call is one second after the one before."""
    config = TensorRtConfig(backend="tensorrt", engine_directory=tmp_path / "engines", cuda_graph="off")
    clock = iter(range(1, 10_000))

    def make(gpu, *, memory=lambda: PLENTY, inspecting=lambda: False, **changes):
        arguments = {
            "options": BuildOptions(),
            "force": False,
            "display": Shown(),
            "stopped": lambda: False,
        } | changes
        surroundings = Surroundings(
            libraries=gpu.libraries,
            inspecting=inspecting,
            memory=memory,
            now_ns=lambda: next(clock) * 1_000_000_000,
            utc=lambda: f"2024-05-06T07:{next(clock):02d}:00+00:00",
        )
        return build_engine(tiny_bundle, config, arguments.pop("options"), surroundings, **arguments)

    return SimpleNamespace(run=make, config=config, directory=config.engine_directory)


def test_a_built_and_proven_engine_is_what_the_runner_takes(build, make_gpu, tiny, tiny_bundle):
    gpu = make_gpu()
    outcome = build.run(gpu)
    record = outcome.engine.record
    assert outcome.built
    assert record.proven
    assert record.golden.frames == 2
    assert record.key.target.precision == "fp16"
    assert find_engine(build.directory, record.key.target) == outcome.engine
    runner = TensorRtRunner(tiny_bundle, build.config, libraries=gpu.libraries)
    picture = np.random.default_rng(1).standard_normal((1, 3, 4, 6)).astype(np.float32)
    assert runner.infer(picture).score == pytest.approx(tiny.network(picture)["image_score"])
    runner.close()
    assert gpu.live == []
    assert gpu.retained == 0


def test_the_fp16_graph_is_parsed_from_the_checked_bytes(build, make_gpu, tiny_bundle):
    gpu = make_gpu()
    build.run(gpu)
    assert gpu.built_with.parsed == b"no FP16 model"
    (tiny_bundle.folder / "model.fp16.onnx").write_bytes(b"something else")
    with pytest.raises(BundleError, match="not the file that was exported"):
        build.run(gpu, force=True)


@pytest.mark.parametrize(
    ("version", "network_flags", "flags"),
    [("10.3.0", 2, []), ("10.16.2", 2, ["strict nans"]), ("12.0", 0, ["strict nans"])],
)
def test_what_the_version_offers_is_used_and_nothing_else(build, make_gpu, version, network_flags, flags):
    gpu = make_gpu(version=version)
    build.run(gpu, options=BuildOptions(workspace_mb=512, tactic_dram_mb=2048, optimization_level=2))
    assert gpu.built_with.network_flags == network_flags
    assert gpu.built_with.flags == flags
    assert gpu.built_with.cleared == ["tf32"]
    assert gpu.built_with.limits == {"workspace": 512 << 20, "tactic dram": 2048 << 20}
    assert gpu.built_with.config.builder_optimization_level == 2
    assert gpu.built_with.config.profiling_verbosity == "detailed"


def test_the_record_tells_figures_and_attentions(build, make_gpu):
    memory = iter([PLENTY, FreeMemory(900, 0), FreeMemory(400, 0)])
    figures = build.run(make_gpu(), memory=lambda: next(memory)).engine.record.figures
    assert figures.seconds == 1
    assert (figures.attentions, figures.layers, figures.fused_attentions) == (1, 2, 1)
    assert (figures.available_mb, figures.least_available_mb) == (6500, 400)
    assert figures.engine_bytes == len(b"an engine of the double")


def test_progress_is_shown(build, make_gpu):
    shown = Shown()
    build.run(make_gpu(), display=shown)
    assert shown.told == [
        ("started", "Building engine", None, 2),
        ("started", "Tactic selection", "Building engine", 2),
        ("stepped", "Tactic selection", 0),
        ("stepped", "Tactic selection", 1),
        ("finished", "Tactic selection"),
        ("finished", "Building engine"),
    ]


@pytest.mark.parametrize("wrong", [0.5, np.nan, np.inf])
def test_an_engine_that_comes_out_wrong_is_never_active(build, make_gpu, tiny, tiny_bundle, wrong):
    def broken(image):
        found = tiny.network(image)
        return found | {"anomaly_map": found["anomaly_map"] + np.float32(wrong)}

    gpu = make_gpu(broken)
    outcome = build.run(gpu)
    golden = outcome.engine.record.golden
    assert not golden.passed
    assert golden.map_difference == (pytest.approx(0.5) if wrong == 0.5 else None)
    assert golden.score_difference < 1e-6
    with pytest.raises(OpenError, match="failed its golden frames"):
        TensorRtRunner(tiny_bundle, build.config, libraries=gpu.libraries)


@pytest.mark.parametrize("fault", ["memory", "execute", "synchronise"])
def test_an_engine_that_does_not_run_stays_without_proof(build, make_gpu, tiny_bundle, fault):
    gpu = make_gpu(faults=[fault])
    with pytest.raises((OpenError, OperateError)):
        build.run(gpu)
    (engine,) = list_engines(build.directory)
    assert engine.record.golden is None
    gpu.faults.clear()
    with pytest.raises(OpenError, match="have not been run"):
        TensorRtRunner(tiny_bundle, build.config, libraries=gpu.libraries)
    assert build.run(gpu).engine.record.proven
    assert gpu.retained == 0


def test_a_proven_engine_is_kept_unless_forced(build, make_gpu):
    gpu = make_gpu()
    first = build.run(gpu)
    again = build.run(gpu, memory=lambda: pytest.fail("nothing is built, so memory does not matter"))
    assert not again.built
    assert again.engine == first.engine
    assert build.run(gpu, force=True).built


def test_other_options_make_another_engine(build, make_gpu):
    gpu = make_gpu()
    build.run(gpu)
    assert build.run(gpu, options=BuildOptions(optimization_level=5)).built
    assert len(list_engines(build.directory)) == 2


def test_a_failed_engine_does_not_replace_a_proven_one_of_other_options(build, make_gpu, tiny):
    good = build.run(make_gpu()).engine
    outcome = build.run(
        make_gpu(lambda image: {name: value + 1 for name, value in tiny.network(image).items()}),
        options=BuildOptions(optimization_level=5),
    )
    assert not outcome.engine.record.proven
    assert find_engine(build.directory, good.record.key.target) == good


def test_the_timing_cache_is_kept_for_the_next_build(build, make_gpu):
    gpu = make_gpu()
    build.run(gpu)
    assert gpu.built_with.timings == b""
    build.run(gpu, force=True)
    assert gpu.built_with.timings == b"timings of the double"
    build.run(make_gpu(version="10.16.2"))
    assert len(list(build.directory.glob("timing-*.cache"))) == 2


@pytest.mark.parametrize("content", [b"damaged", b"of another device"])
def test_a_timing_cache_that_does_not_fit_is_left_aside(build, make_gpu, content):
    gpu = make_gpu()
    build.run(gpu)
    cache = next(build.directory.glob("timing-*.cache"))
    cache.write_bytes(content)
    build.run(gpu, force=True)
    assert gpu.built_with.timings == b""
    assert cache.read_bytes() == b"timings of the double"


def test_parse_errors_name_the_node(build, make_gpu):
    with pytest.raises(BundleError, match=r"/block\.3/softmax \(Attention\): No importer registered"):
        build.run(make_gpu(faults=["parse"]))
    assert list_engines(build.directory) == []


def test_a_failed_build_tells_tensorrts_reason(build, make_gpu):
    gpu = make_gpu(faults=["build"])
    with pytest.raises(OperateError, match="Could not find any implementation") as caught:
        build.run(gpu)
    assert "--workspace-mb above 1024" in caught.value.do
    assert list(build.directory.glob("*.engine")) == []
    assert gpu.retained == 0
    assert gpu.stack == []


def test_a_builder_that_does_not_start_is_told(build, make_gpu):
    with pytest.raises(OperateError, match="factory function returned nullptr"):
        build.run(make_gpu(faults=["builder"]))


def test_a_stop_ends_the_build_at_the_next_step(build, make_gpu):
    shown = Shown()
    with pytest.raises(OperateError, match="was stopped"):
        build.run(make_gpu(), display=shown, stopped=lambda: True)
    assert [told for told in shown.told if told[0] == "stepped"] == [("stepped", "Tactic selection", 0)]
    assert list(build.directory.glob("*.engine")) == []


def test_it_does_not_start_beside_the_daemon(build, make_gpu):
    gpu = make_gpu()
    with pytest.raises(OpenError, match=r"adclip-inspect\.service\) is running") as caught:
        build.run(gpu, inspecting=lambda: True)
    assert "systemctl stop adclip-inspect" in caught.value.do
    assert gpu.calls == []


def test_it_does_not_start_beside_a_runner_or_another_build(build, make_gpu):
    build.directory.mkdir()
    with use_of_engines(build.directory, building=True), pytest.raises(OpenError, match="in use"):
        build.run(make_gpu())


def test_it_does_not_start_when_memory_is_short(build, make_gpu):
    gpu = make_gpu()
    with pytest.raises(OpenError, match="needs 4099 MB"):
        build.run(gpu, memory=lambda: FreeMemory(4098, 0))
    assert "push" not in gpu.calls
    assert list_engines(build.directory) == []


def test_a_directory_that_cannot_be_made(build, make_gpu):
    build.directory.write_text("in the way")
    with pytest.raises(OpenError, match="cannot be made"):
        build.run(make_gpu())
