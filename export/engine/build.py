"""From a bundle to an active engine: check, build, store, prove. One function, in the order of the steps."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge.bundle import Bundle
from edge.config import TensorRtConfig
from edge.engine import BuildFigures, BuildOptions, EngineKey, EngineRecord, GoldenProof, engine_target
from edge.engine_directory import (
    NAME_DIGITS,
    StoredEngine,
    list_engines,
    use_of_engines,
    write_record,
    write_whole,
)
from edge.errors import OpenError
from edge.golden import GoldenResult, check_golden
from edge.manifest import model_file
from edge.runner.cuda_libraries import CudaLibraries
from edge.runner.gpu import Gpu, read_gpu
from edge.runner.tensorrt import TensorRtRunner
from export.engine.engine_from_onnx import MIB, BuiltEngine, engine_from_onnx, inspect_engine
from export.engine.preconditions import (
    FreeMemory,
    MemoryNeed,
    check_line_is_stopped,
    check_memory,
    daemon_is_running,
    free_memory,
)
from export.engine.progress import ProgressDisplay


def _utc_now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What a build asks of the machine it runs on; tests give their own."""

    libraries: CudaLibraries
    inspecting: Callable[[], bool] = daemon_is_running
    memory: Callable[[], FreeMemory] = free_memory
    now_ns: Callable[[], int] = time.monotonic_ns
    utc: Callable[[], str] = _utc_now


@dataclass(frozen=True, slots=True)
class BuildOutcome:
    """The engine, whether it was built just now or stood there already, and the GPU it is for."""

    engine: StoredEngine
    built: bool
    gpu: Gpu


def build_engine(
    bundle: Bundle,
    config: TensorRtConfig,
    options: BuildOptions,
    surroundings: Surroundings,
    *,
    force: bool,
    display: ProgressDisplay,
    stopped: Callable[[], bool],
) -> BuildOutcome:
    """Build the engine of `bundle` for this device into `config.engine_directory`, and run its golden frames.

    An engine of the same key that is proven already is kept, unless `force`. The outcome's record tells
    whether the golden frames came out right; only then a runner takes the engine. Raises `OpenError` when
    the daemon runs or memory is short, `BundleError` or `OperateError` when TensorRT fails; the engine, if
    there is one by then, stays unproven.
    """
    check_line_is_stopped(surroundings.inspecting)
    libraries = surroundings.libraries
    gpu = read_gpu(libraries.cuda, config.device)
    key = EngineKey(
        target=engine_target(
            bundle,
            tensorrt=libraries.trt.__version__,
            gpu=gpu.name,
            compute_capability=gpu.compute_capability,
            platform=gpu.platform,
        ),
        options=options,
    )
    _make_directory(config.engine_directory)
    with use_of_engines(config.engine_directory, building=True):
        kept = None if force else _proven(config.engine_directory, key)
        if kept is not None:
            return BuildOutcome(kept, False, gpu)
        engine = _build_and_store(bundle, config, key, gpu, surroundings, display, stopped)
        return BuildOutcome(_prove(engine, bundle, config, surroundings), True, gpu)


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OpenError(
            f"{directory} cannot be made: {fault.strerror}.",
            do="Give --engine-directory a folder that you may write, or build as the user that owns it.",
        ) from fault


def _proven(directory: Path, key: EngineKey) -> StoredEngine | None:
    return next((e for e in list_engines(directory) if e.record.key == key and e.record.proven), None)


def _build_and_store(
    bundle: Bundle,
    config: TensorRtConfig,
    key: EngineKey,
    gpu: Gpu,
    surroundings: Surroundings,
    display: ProgressDisplay,
    stopped: Callable[[], bool],
) -> StoredEngine:
    """The engine's file and a record without a proof. A crash from here on leaves it inactive."""
    graph = bundle.read(model_file(key.target.precision))
    free = surroundings.memory()
    check_memory(MemoryNeed(math.ceil(len(graph) / MIB), key.options.tactic_dram_mb, gpu.integrated), free)
    watched = _Watched(surroundings.memory, stopped, free.available_mb)
    timings = config.engine_directory / _timing_cache_name(key, gpu)
    started_ns = surroundings.now_ns()
    built = engine_from_onnx(
        surroundings.libraries,
        config.device,
        graph,
        key.options,
        timing_cache=_earlier_timings(timings),
        display=display,
        keep_on=watched.keep_on,
    )
    seconds = (surroundings.now_ns() - started_ns) / 1e9
    write_whole(timings, built.timing_cache)
    path = config.engine_directory / f"{key.identity()[:NAME_DIGITS]}.engine"
    write_whole(path, built.content)
    figures = _figures(built, seconds, free.available_mb, watched.least_mb)
    record = EngineRecord(
        key=key,
        engine_sha256=hashlib.sha256(built.content).hexdigest(),
        built_utc=surroundings.utc(),
        figures=figures,
    )
    del built
    return _inspected(StoredEngine(config.engine_directory, record), config, surroundings)


def _earlier_timings(path: Path) -> bytes:
    """What is lost without them is time only."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


class _Watched:
    """Keeps the least memory that a build left, looking at every step; and says whether to go on."""

    def __init__(
        self, memory: Callable[[], FreeMemory], stopped: Callable[[], bool], available_mb: int
    ) -> None:
        self._memory, self._stopped = memory, stopped
        self.least_mb = available_mb

    def keep_on(self) -> bool:
        """Ask at every step; any thread may."""
        self.least_mb = min(self.least_mb, self._memory().available_mb)
        return not self._stopped()


def _figures(built: BuiltEngine, seconds: float, available_mb: int, least_mb: int) -> BuildFigures:
    return BuildFigures(
        seconds=round(seconds, 1),
        engine_bytes=memoryview(built.content).nbytes,
        attentions=built.attentions,
        layers=None,
        fused_attentions=None,
        available_mb=available_mb,
        least_available_mb=least_mb,
    )


def _inspected(engine: StoredEngine, config: TensorRtConfig, surroundings: Surroundings) -> StoredEngine:
    """Write the record, then write it again with what the engine tells about its layers."""
    write_record(engine)
    layers = inspect_engine(surroundings.libraries, config.device, engine.read())
    if layers is None:
        return engine
    figures = engine.record.figures.model_copy(
        update={"layers": layers.layers, "fused_attentions": layers.fused_attentions}
    )
    return _rewritten(engine, figures=figures)


def _prove(
    engine: StoredEngine, bundle: Bundle, config: TensorRtConfig, surroundings: Surroundings
) -> StoredEngine:
    """Run the golden frames through the runner itself; the result in the record is what activates the engine."""
    runner = TensorRtRunner(
        bundle, config, engine=engine, libraries=surroundings.libraries, now_ns=surroundings.now_ns
    )
    try:
        result = check_golden(bundle, runner)
    finally:
        runner.close()
    return _rewritten(engine, golden=_proof(result))


def _rewritten(engine: StoredEngine, **changes: object) -> StoredEngine:
    found = StoredEngine(engine.directory, engine.record.model_copy(update=changes))
    write_record(found)
    return found


def _proof(result: GoldenResult) -> GoldenProof:
    return GoldenProof(
        frames=result.frames,
        score_difference=_finite(result.score_difference),
        map_difference=_finite(result.map_difference),
        score_allowed=result.tolerance.score,
        map_allowed=result.tolerance.map,
        passed=result.passed,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _timing_cache_name(key: EngineKey, gpu: Gpu) -> str:
    """Timings hold for one GPU, TensorRT and CUDA, whatever the bundle."""
    target = key.target
    parts = "\n".join((target.gpu, target.compute_capability, target.tensorrt, target.platform, gpu.cuda))
    return f"timing-{hashlib.sha256(parts.encode()).hexdigest()[:NAME_DIGITS]}.cache"
