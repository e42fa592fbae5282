"""How near the tensors of a graph come to the largest number that FP16 can hold.

Every tensor's largest magnitude is computed inside the graph, right after the tensor itself, so that one run for
each picture tells all of them and none has to be kept. Run on the FP32 graph it foretells which tensors would
overflow, untouched by the overflow of others; run on the FP16 graph it tells what is stored, and what comes out.
This is ONNX Runtime's CPU: it finds values that do not fit, not the faults of a GPU's kernels.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from edge.errors import BundleError
from export.stored_fp16 import round_where_stored

LARGEST_FP16 = 65504.0
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest magnitude that a node's output took over all pictures; infinite after an overflow.

    A NaN beside numbers does not show in it, but a NaN comes of an infinity, which does.
    """

    node: str
    largest: float

    @property
    def fits(self) -> bool:
        """Whether FP16 can hold it; a NaN does not fit."""
        return self.largest <= LARGEST_FP16

    @property
    def headroom(self) -> float:
        """How many times larger it might become; 0 when it does not fit."""
        if not self.fits:
            return 0.0
        return math.inf if self.largest == 0 else LARGEST_FP16 / self.largest


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a graph did with n pictures: peaks in the order of its nodes, outputs (n, ...) float32 by name."""

    peaks: tuple[Peak, ...]
    outputs: dict[str, NDArray[np.float32]]


def probe(path: Path, tensors: Iterable[NDArray[np.float32]], *, fp16_only: bool = False) -> tuple[Peak, ...]:
    """The peaks of `run_probed`."""
    return run_probed(path, tensors, fp16_only=fp16_only).peaks


def run_probed(path: Path, tensors: Iterable[NDArray[np.float32]], *, fp16_only: bool = False) -> Run:
    """Run a graph of ours on inputs (1, 3, h, w) and take the peaks of all floating-point nodes.

    With `fp16_only` the peaks are those of FP16 tensors alone, and each of them is rounded where it is stored
    (see `export.stored_fp16`). Raises `BundleError` when ONNX Runtime does not take the graph.
    """
    model = ir.load(path)
    outputs = [str(value.name) for value in model.graph.outputs]
    source = str(model.graph.inputs[0].name)
    values = round_where_stored(model) if fp16_only else _computed(model)
    nodes = [_origin(value) for value in values]
    _add_peaks(model, values)
    with tempfile.TemporaryDirectory(prefix=".probe.", dir=path.parent) as folder:
        session = _session(model, Path(folder), path.name)
        del model  # it holds every weight a second time
        largest: NDArray[np.float64] = np.zeros(len(nodes))
        found: list[list[NDArray[np.float32]]] = []
        for tensor in tensors:
            results = session.run(None, {source: tensor})
            found.append(results[: len(outputs)])
            # numpy's maximum hands a NaN on, where the built-in one may swallow it.
            largest = np.maximum(largest, np.asarray(results[len(outputs) :], np.float64))
    return Run(
        tuple(Peak(node, float(value)) for node, value in zip(nodes, largest, strict=True)),
        {
            name: np.concatenate(arrays)
            for name, arrays in zip(outputs, zip(*found, strict=True), strict=False)
        },
    )


def within(peaks: Sequence[Peak], prefix: str) -> tuple[Peak, ...]:
    """The peaks of the nodes whose names begin with `prefix`."""
    return tuple(peak for peak in peaks if peak.node.startswith(prefix))


def highest(peaks: Iterable[Peak]) -> Peak:
    """The one with the least headroom; one that does not fit before all others."""
    return min(peaks, key=lambda peak: peak.headroom)


def _computed(model: ir.Model) -> tuple[ir.Value, ...]:
    return tuple(value for node in model.graph for value in node.outputs if value.dtype in FLOATS)


def _origin(value: ir.Value) -> str:
    """The name of the node that computed a value, seen through the casts that round it."""
    node = value.producer()
    while node is not None and node.op_type == "Cast" and "_as_float" in str(node.name):
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    return str(value.name if node is None else node.name or value.name)


def _add_peaks(model: ir.Model, values: Sequence[ir.Value]) -> None:
    """After every value a chain Abs, ReduceMax, Cast to one float32 number, which becomes an output."""
    for number, value in enumerate(values):
        node = value.producer()
        assert node is not None
        magnitude = ir.node("Abs", [value])
        largest = ir.node("ReduceMax", [magnitude.outputs[0]], {"keepdims": 0})
        peak = ir.node("Cast", [largest.outputs[0]], {"to": ir.DataType.FLOAT})
        peak.outputs[0].name = f"peak_{number}"
        peak.outputs[0].type, peak.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([])
        model.graph.insert_after(node, [magnitude, largest, peak])
        model.graph.outputs.append(peak.outputs[0])


def _session(model: ir.Model, folder: Path, name: str) -> Any:
    """A session that frees every tensor as soon as its users have run.

    By default ONNX Runtime goes back from the last output and would compute all peaks in the end, with every
    tensor of the graph alive until then; by priority it keeps the order of the nodes. Weights lie in a file of
    their own, which it maps, and are not packed a second time.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        ir.save(model, folder / "probed.onnx", external_data="probed.data")
        return onnxruntime.InferenceSession(
            str(folder / "probed.onnx"), options, providers=["CPUExecutionProvider"]
        )
    except Exception as fault:  # ONNX Runtime's errors share no base class
        raise BundleError(
            f"{name} cannot be probed for overflow: {fault}.", do="Report this: it is a bug."
        ) from fault
