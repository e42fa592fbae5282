"""The messages that travel with one part, from the trigger to the gate.

All are frozen. Times are `time.monotonic_ns()` of the host unless a name says `utc`. Pixel boxes are
`(x, y, width, height)` with the origin at the top left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

RawImage = NDArray[np.uint8] | NDArray[np.uint16]
"""A picture as it came, laid out as its `PixelFormat` says."""

Box = tuple[int, int, int, int]
"""`(x, y, width, height)` in pixels, origin top left."""


class PixelFormat(str, Enum):
    """How a raw image is laid out; the names are GenICam's."""

    BAYER_RG8 = "BayerRG8"  # (h, w) uint8, pixel (0, 0) red
    MONO8 = "Mono8"  # (h, w) uint8
    RGB8 = "RGB8"  # (h, w, 3) uint8, red first
    BAYER_RG12 = "BayerRG12"  # (h, w) uint16 of 0 to 4095, pixel (0, 0) red
    MONO12 = "Mono12"  # (h, w) uint16 of 0 to 4095


class FrameStatus(str, Enum):
    """Whether the camera delivered what the trigger asked for."""

    OK = "ok"
    INCOMPLETE = "incomplete"  # part of the image did not arrive
    MISSING = "missing"  # the trigger was seen, the image never arrived
    FROZEN = "frozen"  # the image is, byte for byte, the one before
    OVERFLOW = "overflow"  # the image arrived, but the line is faster than the decisions


class Outcome(str, Enum):
    """What was decided about a part. Only PASS lets it through."""

    PASS = "pass"
    REJECT = "reject"
    RECHECK = "recheck"  # physically rejected, to be looked at by a person
    FAULT = "fault"  # no judgement was possible; physically rejected


class Reason(str, Enum):
    """Why a part got its outcome. A PASS has none."""

    SCORE = "score"  # image score at or above its threshold
    REGION = "region"  # a region of the map above its threshold and its minimum area
    GREY_ZONE = "grey_zone"  # between the recheck and the reject threshold
    UNCALIBRATED = "uncalibrated"  # no threshold is in force
    NOT_A_NUMBER = "not_a_number"
    INCOMPLETE_FRAME = "incomplete_frame"
    MISSING_FRAME = "missing_frame"
    FROZEN_FRAME = "frozen_frame"
    BAD_FRAME = "bad_frame"  # size or pixel format is not what the station expects
    EXPOSURE = "exposure"  # exposure or gain used is out of its limits
    LIGHT = "light"  # level, evenness or sharpness of the picture is not as calibrated
    OVERFLOW = "overflow"
    RUNNER_ERROR = "runner_error"
    WRONG_BUNDLE = "wrong_bundle"
    NO_VERDICT_IN_TIME = "no_verdict_in_time"
    STOPPED = "stopped"  # the daemon stopped before this part was decided


@dataclass(frozen=True, slots=True)
class Trigger:
    """The photo-eye saw a part. `part_id` is monotonic, 64 bit, and issued here, once."""

    part_id: int
    triggered_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One raw picture of one part.

    `image` is read-only, as `pixel_format` says, or None when `status` is MISSING or OVERFLOW.
    `frame_id` is the camera's own counter, unwrapped to 64 bit. `exposure_us` and `gain_db` are the values in
    force for this picture, NaN when the source does not know them.
    """

    part_id: int
    frame_id: int
    triggered_ns: int
    captured_ns: int
    image: RawImage | None
    pixel_format: PixelFormat
    exposure_us: float = float("nan")
    gain_db: float = float("nan")
    status: FrameStatus = FrameStatus.OK
    source: str = ""  # file name of a replayed picture, else empty


@dataclass(frozen=True, slots=True)
class StageTimings:
    """Wall time spent in each stage for one part, in milliseconds."""

    preprocess_ms: float
    runner_ms: float
    anomaly_map_ms: float
    decide_ms: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """What the model says about one frame.

    `score` is the image score, higher for worse: in [0, 1] for AnomalyCLIP, in the network's own unit for an
    imported one. `anomaly_map` is (height, width) of the network's input, float32; it covers `roi_px` of the
    raw frame.
    """

    part_id: int
    score: float
    anomaly_map: NDArray[np.float32]
    roi_px: Box
    bundle_id: str
    timings: StageTimings


@dataclass(frozen=True, slots=True)
class Region:
    """One connected region of the anomaly map above the pixel threshold.

    `box_px` and `area_px` are in pixels of the raw frame; `area_mm2` is None without a scale.
    """

    box_px: Box
    area_px: float
    area_mm2: float | None
    peak: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about one part; `threshold` is the score threshold that was met or not (NaN if none)."""

    part_id: int
    outcome: Outcome
    reasons: tuple[Reason, ...]
    regions: tuple[Region, ...]
    score: float
    threshold: float
    bundle_id: str = ""
    timings: StageTimings | None = None


class ActionKind(str, Enum):
    """What the gate does for one part."""

    FIRE = "fire"  # pulse the line
    HOLD = "hold"  # leave the line at rest
    LATE = "late"  # the moment had passed when the gate was told; nothing could be done


@dataclass(frozen=True, slots=True)
class Action:
    """What the gate does for one part, timed from its trigger. `outcome` is the one acted on."""

    part_id: int
    kind: ActionKind
    line: str
    due_ns: int
    pulse_ms: float
    verdict: Verdict
    margin_ms: float = field(default=float("nan"))
    """Time left to the deadline when the verdict arrived; negative or NaN when none arrived in time."""
