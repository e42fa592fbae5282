"""Which outputs of a graph are the score and the map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import onnx_ir as ir

from edge.errors import ConfigError, ModelFileError
from export.onnx_import.folding import dimensions
from export.onnx_import.origin import Family

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16})


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """Outputs of the file; at least one of `score` and `map` is there."""

    score: ir.Value | None
    map: ir.Value | None
    label: ir.Value | None


def choose_outputs(model: ir.Model, family: Family, score: str | None, map_name: str | None) -> Outputs:
    """The outputs by the names that the user gave, else by anomalib's, else by shape.

    `model` is folded, so that shapes are known. Raises `ConfigError` for a name that does not fit, and
    `ModelFileError` when the shapes leave a choice, or nothing.
    """
    found = {str(value.name): value for value in model.graph.outputs}
    if family == "anomalib 2.x":
        score = score or "pred_score"
        map_name = map_name or ("anomaly_map" if "anomaly_map" in found else None)
    outputs = Outputs(
        _choose(model, score, is_score, "score", first=False),
        # EfficientAd of 1.x returns the two maps that it adds after the one that it judges by.
        _choose(model, map_name, is_map, "map", first=family == "anomalib 1.x"),
        found.get("pred_label"),
    )
    if outputs.score is None and outputs.map is None:
        raise ModelFileError(
            f"None of the network's outputs is a score or a map: {_listed(model)}.",
            do="Export a network that returns one number, or one map (1, 1, rows, columns), in floating point.",
        )
    return outputs


def is_score(value: ir.Value) -> bool:
    """One number."""
    shape = dimensions(value)
    return value.dtype in FLOATS and shape is not None and prod(shape) == 1


def is_map(value: ir.Value) -> bool:
    """Rows and columns, and nothing else that counts."""
    shape = dimensions(value)
    if value.dtype not in FLOATS or shape is None or not 2 <= len(shape) <= 4:
        return False
    return prod(shape[:-2]) == 1 and min(shape[-2:]) > 1


def _choose(
    model: ir.Model, name: str | None, fits: Callable[[ir.Value], bool], role: str, *, first: bool
) -> ir.Value | None:
    if name is not None:
        return _named(model, name, fits, role)
    candidates = [value for value in model.graph.outputs if fits(value)]
    if len(candidates) > 1 and not first:
        raise ModelFileError(
            f"The network has {len(candidates)} outputs that could be the {role}: {_listed(model)}.",
            do=f"Name the one with --{role}.",
        )
    return candidates[0] if candidates else None


def _named(model: ir.Model, name: str, fits: Callable[[ir.Value], bool], role: str) -> ir.Value:
    value = next((value for value in model.graph.outputs if value.name == name), None)
    if value is None:
        raise ConfigError(
            f"The network has no output {name}; it has {_listed(model)}.", do=f"Correct --{role}."
        )
    if not fits(value):
        raise ConfigError(
            f"The output {name} is {_told(value)}, which is no {role}.",
            do=f"Name another output with --{role}.",
        )
    return value


def _listed(model: ir.Model) -> str:
    return ", ".join(f"{value.name} {_told(value)}" for value in model.graph.outputs)


def _told(value: ir.Value) -> str:
    kind = "of unknown type" if value.dtype is None else value.dtype.name.lower()
    return f"{kind} {value.shape}"
