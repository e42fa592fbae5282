"""The parity proof at export: a finished bundle, run the way the line runs it, against its golden outputs."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.config import OnnxRuntimeConfig
from edge.errors import BundleError
from edge.golden import check_golden
from edge.inspection import Inspector
from edge.manifest import MapSpec, Precision
from edge.messages import Frame, PixelFormat
from edge.preprocess import input_tensor
from edge.runner import Runner, open_runner
from export.memory import give_back_memory
from export.verify.reference import reference_map

if TYPE_CHECKING:
    from export.network import Network


@dataclass(frozen=True, slots=True)
class GraphParity:
    """One graph: largest absolute differences to the golden outputs, and what is allowed.

    `score_error` and `grid_map_error` are of the graph's own outputs, `anomaly_map_error` is of the finished
    map at input size, whose tolerance follows from `map_tolerance` and the bundle's scale.
    """

    precision: Precision
    runner: str
    frames: int
    score_error: float
    grid_map_error: float
    anomaly_map_error: float
    score_tolerance: float
    map_tolerance: float
    anomaly_map_tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every difference is within its tolerance; one that is not a number is not."""
        return (
            self.score_error <= self.score_tolerance
            and self.grid_map_error <= self.map_tolerance
            and self.anomaly_map_error <= self.anomaly_map_tolerance
        )


@dataclass(frozen=True, slots=True)
class Parity:
    """Every graph of a bundle, in the order of `BundleManifest.precisions`."""

    graphs: tuple[GraphParity, ...]

    @property
    def passed(self) -> bool:
        """Whether every graph passed."""
        return all(graph.passed for graph in self.graphs)

    def of(self, precision: Precision) -> GraphParity:
        """The graph of a precision that the bundle has."""
        return next(graph for graph in self.graphs if graph.precision == precision)

    def figures(self) -> dict[str, object]:
        """The content of `parity.json` in a bundle."""
        graphs = {
            graph.precision: {name: value for name, value in asdict(graph).items() if name != "precision"}
            | {"passed": graph.passed}
            for graph in self.graphs
        }
        return {"reference": "torch float32", "graphs": graphs, "passed": self.passed}


def prove_parity(bundle: Bundle, network: Network | None = None) -> Parity:
    """`measure_parity` of every graph on ONNX Runtime.

    Raises `BundleError` at the first graph that is out of tolerance, naming the layer where the first large
    error appears. For the FP32 graph that takes `network`, the torch module that the bundle was made from.
    """
    graphs = []
    for precision in bundle.manifest.precisions:
        runner = open_runner(bundle, OnnxRuntimeConfig(precision=precision))
        try:
            graphs.append(measure_parity(bundle, runner))
        finally:
            runner.close()
            del runner
            give_back_memory()
        if not graphs[-1].passed:
            raise _refused(bundle, graphs[-1], network)
    return Parity(tuple(graphs))


def measure_parity(bundle: Bundle, runner: Runner) -> GraphParity:
    """Compare with the bundle's golden outputs: the network alone, then the whole path of the line."""
    found = check_golden(bundle, runner)
    return GraphParity(
        runner.precision,
        runner.description,
        found.frames,
        score_error=found.score_difference,
        grid_map_error=found.map_difference,
        anomaly_map_error=_anomaly_map_error(bundle, runner),
        score_tolerance=found.tolerance.score,
        map_tolerance=found.tolerance.map,
        anomaly_map_tolerance=found.tolerance.map / map_span(bundle.manifest.map),
    )


def map_span(spec: MapSpec) -> float:
    """How much of the grid map's unit one unit of the anomaly map is; all steps but the scale average."""
    return 1.0 if spec.scale is None else spec.scale[1] - spec.scale[0]


def golden_frame(image: NDArray[np.uint8], number: int = 1) -> Frame:
    """A golden picture as the camera would hand it over."""
    return Frame(number, number, 0, 0, image, PixelFormat.RGB8, source=f"golden frame {number}")


def _anomaly_map_error(bundle: Bundle, runner: Runner) -> float:
    manifest, golden = bundle.manifest, bundle.golden()
    inspector = Inspector(bundle, runner, manifest.preprocessing, time.perf_counter_ns)
    errors = [
        np.abs(
            inspector.inspect(golden_frame(image)).anomaly_map
            - reference_map(grid_map, manifest.map, manifest.preprocessing.size_px)
        ).max()
        for image, grid_map in zip(golden.images, golden.grid_map, strict=True)
    ]
    return float(np.max(errors))  # numpy's hands a NaN on, where the built-in one may swallow it


def _refused(bundle: Bundle, graph: GraphParity, network: Network | None) -> BundleError:
    from export.verify.layers import where_it_starts

    tensor = input_tensor(bundle.golden().images[0], PixelFormat.RGB8, bundle.manifest.preprocessing)
    return BundleError(
        f"The {graph.precision.upper()} network does not decide as the checkpoint does: largest difference "
        f"{graph.score_error:.1e} of the score (allowed {graph.score_tolerance:.1e}), "
        f"{graph.grid_map_error:.1e} of the graph's map (allowed {graph.map_tolerance:.1e}), "
        f"{graph.anomaly_map_error:.1e} of the finished map (allowed {graph.anomaly_map_tolerance:.1e}). "
        f"{where_it_starts(bundle, graph.precision, tensor, network)} No bundle was written.",
        do=_advice(graph.precision),
    )


def _advice(precision: Precision) -> str:
    if precision == "fp16":
        return "Keep that block in FP32, or export without an FP16 graph."
    return "Export with the versions that requirements/export.txt pins; if it stays, report it."
