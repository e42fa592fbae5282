"""What wrote an ONNX file. Nothing in it names anomalib; the names of its outputs do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

Family = Literal["anomalib 2.x", "anomalib 1.x", "other"]

DYNAMO_OPSET = 18
"""torch's newer exporter writes at least this opset, the TorchScript one what it is asked for (anomalib: 14)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """`family` decides how the outputs are read; `text` is for people."""

    family: Family
    text: str


def origin_of(model: ir.Model) -> Origin:
    """Tell by the names: `pred_score` is 2.x, `input` with a first output `output` is 1.x."""
    outputs = [value.name for value in model.graph.outputs]
    family: Family = "other"
    if "pred_score" in outputs:
        family = "anomalib 2.x"
    elif outputs and outputs[0] == "output" and [value.name for value in model.graph.inputs] == ["input"]:
        family = "anomalib 1.x"
    return Origin(family, f"{_described(family, model)}, opset {opset(model)}")


def opset(model: ir.Model) -> int:
    """Version of the standard operators, 0 when the file names none."""
    return model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))


def _described(family: Family, model: ir.Model) -> str:
    producer = " ".join(part for part in (model.producer_name, model.producer_version) if part)
    if family == "other":
        return f"ONNX of {producer}" if producer else "ONNX of unknown origin"
    dynamo = model.producer_name == "pytorch" and opset(model) >= DYNAMO_OPSET
    version = (
        {True: "anomalib 2.7", False: "anomalib 2.0 to 2.6"}[dynamo] if family == "anomalib 2.x" else family
    )
    exporter = "torch.export" if dynamo else "TorchScript"
    return f"{version} form by {exporter} exporter ({producer or 'unnamed'})"
