"""anomalib 1.x keeps its limits beside the network, in metadata.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from edge.errors import ModelFileError
from edge.manifest import ReferenceLimits, ReferenceScale

SOURCE = "anomalib 1.x, metadata.json"


def limits_from_metadata(path: Path) -> ReferenceLimits:
    """The limits in a metadata.json, in raw values: bad at the threshold or above.

    anomalib leaves a key out that it has not computed; what needs it is None then. Raises `ModelFileError` when
    the file is not a metadata.json.
    """
    content = _content(path)
    if not any(key.startswith(("image_threshold", "pred_scores", "anomaly_maps")) for key in content):
        raise _unusable(path, "it holds none of anomalib's limits")
    return ReferenceLimits(
        source=SOURCE,
        score=_scale(path, content, "image_threshold", "pred_scores"),
        map=_scale(path, content, "pixel_threshold", "anomaly_maps"),
        bad_at_limit=True,
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ModelFileError(f"{path} cannot be read: {fault.strerror}.", do="Check --metadata.") from fault
    except (ValueError, RecursionError) as fault:
        raise _unusable(path, f"it is not JSON ({fault})") from fault
    if not isinstance(content, dict):
        raise _unusable(path, "it is not a JSON object")
    return content


def _scale(path: Path, content: dict[str, Any], threshold: str, values: str) -> ReferenceScale | None:
    keys = (threshold, f"{values}.min", f"{values}.max")
    if any(key not in content for key in keys):
        return None
    limit, low, high = (_number(path, key, content[key]) for key in keys)
    if not high > low:
        raise _unusable(path, f"{values}.max is not above {values}.min")
    return ReferenceScale(threshold=limit, span=high - low)


def _number(path: Path, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _unusable(path, f"{key} is {value!r} and not a number")
    return float(value)


def _unusable(path: Path, how: str) -> ModelFileError:
    return ModelFileError(
        f"{path} cannot be used: {how}.",
        do="Give the metadata.json that anomalib 1.x wrote beside this model, or leave --metadata out.",
    )
