"""How near the tensors of a graph come to the largest number that FP16 can hold.

Every tensor's largest magnitude is computed inside the graph, so that one run for each picture tells all of
them and none has to be fetched. Run on the FP32 graph it foretells which tensors would overflow, untouched by
the overflow of others; run on the FP16 graph it tells what was stored. ONNX Runtime's CPU computes FP16 nodes
with casts around them, so this finds values that do not fit, not the faults of a GPU's kernels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge.errors import BundleError

LARGEST_FP16 = 65504.0
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
PEAK = "__peak"


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest magnitude that a node's output took over all pictures; infinite or NaN after an
    overflow."""

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


def probe(path: Path, tensors: Iterable[NDArray[np.float32]], *, fp16_only: bool = False) -> tuple[Peak, ...]:
    """The peaks of every floating-point node output of an ONNX file, in the order of the graph.

    `tensors` are inputs (1, 3, h, w). `fp16_only` leaves out what is stored as FP32. Raises `BundleError` when
    ONNX Runtime does not take the graph.
    """
    model = onnx.load(path)
    nodes = _float_outputs(model, (TensorProto.FLOAT16,) if fp16_only else FLOATS)
    _add_peaks(model, list(nodes))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as fault:  # ONNX Runtime's errors share no base class
        raise BundleError(
            f"{path.name} cannot be probed for overflow: {fault}.", do="Report this: it is a bug."
        ) from fault
    source, names = model.graph.input[0].name, [f"{value}{PEAK}" for value in nodes]
    largest: NDArray[np.float64] = np.zeros(len(names))
    for tensor in tensors:
        # numpy's maximum hands a NaN on, where the built-in one may swallow it.
        largest = np.maximum(largest, np.asarray(session.run(names, {source: tensor}), np.float64))
    return tuple(Peak(node, float(value)) for node, value in zip(nodes.values(), largest, strict=True))


def within(peaks: Sequence[Peak], prefix: str) -> tuple[Peak, ...]:
    """The peaks of the nodes whose names begin with `prefix`."""
    return tuple(peak for peak in peaks if peak.node.startswith(prefix))


def highest(peaks: Iterable[Peak]) -> Peak:
    """The one with the least headroom; one that does not fit before all others."""
    return min(peaks, key=lambda peak: peak.headroom)


def _float_outputs(model: onnx.ModelProto, wanted: tuple[int, ...]) -> dict[str, str]:
    """Value → node, for every value of the wanted types that a node computes."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {
        value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)
    }
    return {
        value: node.name or value
        for node in model.graph.node
        for value in node.output
        if kinds.get(value) in wanted
    }


def _add_peaks(model: onnx.ModelProto, values: Sequence[str]) -> None:
    """For every value a chain Abs, Cast to float32, ReduceMax to one number, as an output."""
    graph = model.graph
    del graph.output[:]
    for value in values:
        magnitude, single, peak = f"{value}__abs", f"{value}__single", f"{value}{PEAK}"
        graph.node.append(helper.make_node("Abs", [value], [magnitude]))
        graph.node.append(helper.make_node("Cast", [magnitude], [single], to=TensorProto.FLOAT))
        graph.node.append(helper.make_node("ReduceMax", [single], [peak], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(peak, TensorProto.FLOAT, []))
