"""What is kept about a part, about its picture, and about the run it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from edge.messages import ActionKind, FrameStatus, Outcome, PixelFormat, Reason, Region


@dataclass(frozen=True, slots=True)
class PartRecord:
    """One part, complete: written once, never changed.

    Times in ns are monotonic and comparable within one run alone; `triggered_utc` is the trigger by the wall
    clock (ISO 8601, milliseconds, ends in Z). A float that was not measured is NaN. `threshold` is the score
    threshold that was met or not. `image_path` counts from the records directory and is None when no picture
    was kept. `decided_ns` is None when no verdict came in time, `captured_ns`, `frame_id` and `pixel_format`
    are None when no frame came.
    """

    part_id: int
    frame_id: int | None
    triggered_ns: int
    triggered_utc: str
    captured_ns: int | None
    decided_ns: int | None
    due_ns: int
    frame_status: FrameStatus
    pixel_format: PixelFormat | None
    exposure_us: float
    gain_db: float
    source: str
    score: float
    threshold: float
    outcome: Outcome
    reasons: tuple[Reason, ...]
    regions: tuple[Region, ...]
    action: ActionKind
    margin_ms: float
    preprocess_ms: float
    runner_ms: float
    anomaly_map_ms: float
    decide_ms: float
    bundle_id: str
    config_id: str
    image_path: str | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """One raw frame as a file; `path` counts from the records directory, `sha256` is that of the file."""

    run: int
    part_id: int
    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What was in force during a run.

    `config_yaml` is the effective station file, `config_id` its identity; `thresholds` and `preprocessing`
    hold only what JSON can hold. `started_ns` is the monotonic time of `started_utc`.
    """

    station: str
    bundle_id: str
    bundle: str
    config_id: str
    config_yaml: str
    runner: str
    camera: str
    thresholds: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    software: str
    started_utc: str
    started_ns: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run as recorded. Without `ended_utc` it is still going on, or it broke off.

    `interrupted` is set when a later run begins and this one never ended. `counters` are the final ones.
    """

    number: int
    info: RunInfo
    ended_utc: str | None
    interrupted: bool
    counters: Mapping[str, Any] | None


def utc_text(moment: datetime) -> str:
    """An aware moment as the records write it: `2024-05-06T07:08:09.123Z`."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_now() -> str:
    """The wall clock as `utc_text`."""
    return utc_text(datetime.now(timezone.utc))
