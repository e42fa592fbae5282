"""An ONNX graph becomes a TensorRT engine: parse, configure, build, inspect.

The graph's own types are the engine's (a strongly typed network), so precision is settled where the graph is
made and TensorRT does not choose. TF32 is off: FP32 means FP32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edge.engine import BuildOptions
from edge.errors import BundleError, OperateError
from edge.runner.cuda_context import PrimaryContext
from edge.runner.cuda_libraries import CudaLibraries, LastErrors, tensorrt_log
from edge.runner.vendor_faults import one_line, translated
from export.engine.inspector_report import EngineLayers, read_inspector
from export.engine.progress import ProgressDisplay, progress_monitor

MIB = 1024 * 1024
ERRORS_SHOWN = 3


@dataclass(frozen=True, slots=True, eq=False)
class BuiltEngine:
    """What a build gave. `content` has the buffer protocol; `attentions` counts those of the graph."""

    content: Any
    timing_cache: bytes
    attentions: int


def engine_from_onnx(
    libraries: CudaLibraries,
    device: int,
    graph: bytes,
    options: BuildOptions,
    *,
    timing_cache: bytes,
    display: ProgressDisplay,
    keep_on: Callable[[], bool],
) -> BuiltEngine:
    """Build an engine from a whole ONNX file in memory, on GPU `device`.

    `timing_cache` is what an earlier build returned, or empty; one that does not fit is left aside. `keep_on`
    is asked at every step. Raises `BundleError` when TensorRT does not take the graph, `OperateError` when
    the build fails or was ended.
    """
    with _on_gpu(libraries, device):
        return _Build(libraries.trt, options).run(graph, timing_cache, display, keep_on)


def inspect_engine(libraries: CudaLibraries, device: int, content: bytes) -> EngineLayers | None:
    """Ask an engine about its layers; None when it does not tell, or does not open at all.

    Apart from the build, because the two together would need more memory. Raises `OperateError`.
    """
    with _on_gpu(libraries, device):
        return _inspect(libraries.trt, content)


def _inspect(trt: Any, content: bytes) -> EngineLayers | None:
    runtime = trt.Runtime(tensorrt_log(trt, LastErrors()))
    cuda_engine = runtime.deserialize_cuda_engine(content)
    if cuda_engine is None:
        return None
    inspector = cuda_engine.create_engine_inspector()
    return read_inspector(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


@contextmanager
def _on_gpu(libraries: CudaLibraries, device: int) -> Iterator[None]:
    """What TensorRT makes inside the block must be gone when it ends, so it belongs into functions of its own."""
    with translated("TensorRT cannot build here", do=_NO_BUILDER, error=OperateError):
        context = PrimaryContext(libraries.cuda, device)
        try:
            with context.current():
                yield
        finally:
            context.close()


_NO_BUILDER = "Check with 'nvidia-smi' or tegrastats that the GPU works and its driver fits this TensorRT."


class _Build:
    """One build: the builder, its network and its configuration."""

    def __init__(self, trt: Any, options: BuildOptions) -> None:
        self._trt, self._options = trt, options
        self._errors = LastErrors()
        self._log = tensorrt_log(trt, self._errors)
        self._builder = trt.Builder(self._log)
        self._network = self._builder.create_network(_strongly_typed(trt))
        self._builder_config = self._builder.create_builder_config()

    def run(
        self, graph: bytes, earlier_timings: bytes, display: ProgressDisplay, keep_on: Callable[[], bool]
    ) -> BuiltEngine:
        self._parse(graph)
        attentions = _attentions(self._trt, self._network)
        self._configure()
        timing_cache = self._take_timings(earlier_timings)
        # TensorRT does not keep it alive, so it has a name here until the build has ended.
        monitor = progress_monitor(self._trt, display, keep_on)
        self._builder_config.progress_monitor = monitor
        content = self._builder.build_serialized_network(self._network, self._builder_config)
        if content is None:
            raise self._not_built(stopped=not keep_on())
        return BuiltEngine(content, bytes(memoryview(timing_cache.serialize())), attentions)

    def _parse(self, graph: bytes) -> None:
        parser = self._trt.OnnxParser(self._network, self._log)
        if parser.parse(graph):
            return
        parser_errors = [parser.get_error(index) for index in range(min(parser.num_errors, ERRORS_SHOWN))]
        told = "; ".join(
            f"node {parser_error.node_name() or '?'} ({parser_error.node_operator() or '?'}): "
            f"{one_line(parser_error.desc())}"
            for parser_error in parser_errors
        )
        raise BundleError(
            f"TensorRT {self._trt.__version__} does not take the graph: {told or self._errors.text()}.",
            do="Export the bundle again and read the report of its graph, or use a newer TensorRT.",
        )

    def _configure(self) -> None:
        trt, builder_config, options = self._trt, self._builder_config, self._options
        builder_config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb * MIB)
        builder_config.set_memory_pool_limit(trt.MemoryPoolType.TACTIC_DRAM, options.tactic_dram_mb * MIB)
        builder_config.builder_optimization_level = options.optimization_level
        builder_config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        builder_config.clear_flag(trt.BuilderFlag.TF32)
        strict_nans = getattr(trt.BuilderFlag, "STRICT_NANS", None)
        if strict_nans is not None:  # since 10.16: not-a-number must come out, so that the part is not passed
            builder_config.set_flag(strict_nans)

    def _take_timings(self, earlier_timings: bytes) -> Any:
        """Attach the cache of an earlier build, or an empty one when it does not fit this device."""
        builder_config = self._builder_config
        for content in (earlier_timings, b""):
            timing_cache = builder_config.create_timing_cache(content)
            if timing_cache is not None and builder_config.set_timing_cache(timing_cache, False):
                return timing_cache
        raise OperateError(f"TensorRT makes no timing cache: {self._errors.text()}.", do=_NO_BUILDER)

    def _not_built(self, *, stopped: bool) -> OperateError:
        if stopped:
            return OperateError("The build was stopped.", do="Start it again; nothing was changed.")
        return OperateError(
            f"TensorRT built no engine: {self._errors.text()}.",
            do="If memory was short, stop other programs or lower --tactic-dram-mb; if a node has no "
            f"implementation, raise --workspace-mb above {self._options.workspace_mb}; then build again.",
        )


def _strongly_typed(trt: Any) -> int:
    """The network's flags: TensorRT 11 types strongly always, and may drop the flag that says so."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _attentions(trt: Any, network: Any) -> int:
    """Attentions of the graph: softmaxes over a square, tokens by tokens."""
    found = 0
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.SOFTMAX:
            layer_output = layer.get_output(0)
            shape = tuple(layer_output.shape)
            found += len(shape) > 2 and shape[-1] == shape[-2] > 2
    return found
