"""The end of an anomalib 2.x graph: its own normalisation, cut off at the raw value.

    2.0 to 2.6   raw ─▶ Sub threshold ─▶ Div range ─▶ Add 0.5 ─▶ Clip 0..1 ─▶ output ─▶ Greater 1 - sensitivity
    2.7          the same inside Where(has a range, Where(range is 0, ..., Clip), raw)

The clip makes everything above, and everything below, alike; only the raw value can be given another limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from edge.manifest import ReferenceScale
from export.onnx_import.folding import constant, scalar

CLAMPS = frozenset({"Clip", "Min", "Max"})
SAME_VALUES = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})
COMPARISONS = frozenset({"Greater"})


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """`raw` is what feeds the normalisation, or the output itself when there is none; then `scale` is None.

    `chosen` tells that constants decided about a normalisation (2.7), whichever way.
    """

    raw: ir.Value
    scale: ReferenceScale | None
    chosen: bool


def cut_tail(output: ir.Value) -> Tail:
    """Follow an output back to its raw value."""
    decided, chosen = _decided(output)
    clamped = decided
    while (node := clamped.producer()) is not None and node.op_type in CLAMPS and node.inputs[0] is not None:
        clamped = node.inputs[0]
    if clamped is decided:
        return Tail(decided, None, chosen)
    scaled = _scaled(clamped)
    return Tail(decided, None, chosen) if scaled is None else Tail(*scaled, chosen)


def label_limit(label: ir.Value) -> float | None:
    """The normalised score above which anomalib calls a picture bad; None when the graph does not tell."""
    node = _decided(label)[0].producer()
    if node is None or node.op_type not in COMPARISONS:
        return None
    limit = scalar(node.inputs[1])
    return limit if limit is not None and 0 <= limit <= 1 else None


def _decided(value: ir.Value) -> tuple[ir.Value, bool]:
    """Through every Where whose condition is a constant and whatever leaves the numbers alone."""
    chosen = False
    while (node := value.producer()) is not None:
        if node.op_type == "Where":
            condition = constant(node.inputs[0])
            if condition is None or condition.size != 1:
                break
            branch = node.inputs[1 if bool(condition.reshape(-1)[0]) else 2]
            chosen = True
        elif node.op_type in SAME_VALUES:
            branch = node.inputs[0]
        else:
            break
        if branch is None:
            break
        value = branch
    return value, chosen


def _scaled(value: ir.Value) -> tuple[ir.Value, ReferenceScale] | None:
    """(raw - threshold) / range + 0.5, read backwards."""
    half, value_or_none = _operand(value, "Add")
    if half != 0.5 or value_or_none is None:
        return None
    span, value_or_none = _operand(value_or_none, "Div")
    if span is None or value_or_none is None or not (math.isfinite(span) and span > 0):
        return None
    threshold, raw = _operand(value_or_none, "Sub")
    if threshold is None or raw is None or not math.isfinite(threshold):
        return None
    return raw, ReferenceScale(threshold=threshold, span=span)


def _operand(value: ir.Value, operator: str) -> tuple[float | None, ir.Value | None]:
    """The constant and the other side of an operator with one number."""
    node = value.producer()
    if node is None or node.op_type != operator:
        return None, None
    return scalar(node.inputs[1]), node.inputs[0]
