"""What TensorRT's engine inspector tells about a built engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EngineLayers:
    """Layers of the engine, and how many of them are an attention in one kernel."""

    layers: int
    fused_attentions: int


def read_inspector(text: str) -> EngineLayers | None:
    """Count the layers in the inspector's JSON, and those named `mha`: multi-head attention in one kernel.

    None when the text is not such JSON: the inspector's output is for people, and some versions break it.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        return None
    layers = document.get("Layers") if isinstance(document, dict) else None
    if not isinstance(layers, list):
        return None
    return EngineLayers(len(layers), sum(1 for entry in layers if "mha" in _names(entry).lower()))


def _names(entry: Any) -> str:
    """An engine with less detail lists plain names in place of objects."""
    if isinstance(entry, dict):
        return f"{entry.get('Name', '')} {entry.get('TacticName', '')}"
    return str(entry)
