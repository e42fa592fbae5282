"""The station file: one YAML document, read once, validated whole, frozen.

Every key carries its unit. Relative paths count from the folder of the station file. `deploy/stations/` holds
commented examples.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edge.camera_config import CameraConfig
from edge.errors import ConfigError
from edge.light_config import LightConfig
from edge.manifest import Finite, Precision, Tiles
from edge.messages import Box
from edge.strict_model import Name, PositiveFloat, PositiveInt, Strict
from edge.yaml_file import load_model


class OnnxRuntimeConfig(Strict):
    """ONNX Runtime on the CPU with `threads` threads, running the bundle's graph of `precision`."""

    backend: Literal["onnxruntime"] = "onnxruntime"
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    precision: Precision = "fp32"


class OnnxRuntimeGpuConfig(Strict):
    """ONNX Runtime on an NVIDIA GPU, for a PC; `device` is CUDA's number of the GPU."""

    backend: Literal["onnxruntime_gpu"]
    device: Annotated[int, Field(ge=0)] = 0
    precision: Precision = "fp32"


class TensorRtConfig(Strict):
    """A TensorRT engine that 'adclip engine build' made on this device, from the bundle's FP16 graph if it has
    one. `cuda_graph: auto` captures the launches when that is faster on this device. `preprocess: gpu` resamples
    there as well, for bundles with a fast interpolation; it must agree with the CPU when it is opened."""

    backend: Literal["tensorrt"]
    engine_directory: Path = Path("/var/lib/adclip/engines")
    device: Annotated[int, Field(ge=0)] = 0
    cuda_graph: Literal["auto", "on", "off"] = "auto"
    preprocess: Literal["cpu", "gpu"] = "cpu"


RunnerConfig = Annotated[
    OnnxRuntimeConfig | OnnxRuntimeGpuConfig | TensorRtConfig, Field(discriminator="backend")
]


class PreprocessConfig(Strict):
    """What the station adds to the bundle's preprocessing: the region of the frame where the part lies, the tiles
    it is seen through, and the folder of the camera calibration that corrects the raw frame first.

    `mm_per_px` is taken from the camera calibration where it is not given.
    """

    roi_px: Box | None = None
    tiles: Tiles | None = None
    camera_calibration: Path | None = None
    mm_per_px: PositiveFloat | None = None


class DecisionConfig(Strict):
    """Where the thresholds come from: a calibration file, or values set by hand for bringing a line up.

    `score` is in the unit of the bundle's image score. `map` thresholds are values of the anomaly map;
    `min_area_px` counts pixels of the raw frame.
    """

    calibration: Path | None = None
    score: Finite | None = None
    recheck_score: Finite | None = None
    map: Finite | None = None
    min_area_px: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _one_source(self) -> DecisionConfig:
        by_hand = self.score is not None or self.map is not None or self.recheck_score is not None
        if (self.calibration is not None) == by_hand:
            raise ValueError("give either 'calibration' or thresholds by hand ('score' and/or 'map')")
        if self.recheck_score is not None and (self.score is None or self.recheck_score >= self.score):
            raise ValueError("recheck_score must lie below score")
        return self


class GateConfig(Strict):
    """One gate, `travel_ms` after the photo-eye at constant belt speed.

    A verdict must be there `decision_lead_ms` before the part; else the part is treated as not good.
    `pulse_to_reject` pulses for every part that is not PASS; `pulse_to_accept` pulses for PASS alone, and is
    safe on loss of power as well.
    """

    line: Name = "reject"
    mode: Literal["pulse_to_reject", "pulse_to_accept"] = "pulse_to_reject"
    travel_ms: PositiveFloat
    pulse_ms: PositiveFloat
    decision_lead_ms: PositiveFloat = 5.0

    @model_validator(mode="after")
    def _lead_fits(self) -> GateConfig:
        if self.decision_lead_ms >= self.travel_ms:
            raise ValueError("decision_lead_ms must be shorter than travel_ms")
        return self

    @property
    def fires_on_pass(self) -> bool:
        """Whether a pulse means a good part."""
        return self.mode == "pulse_to_accept"


class LineConfig(Strict):
    """Declared levels of one output line (true: energised) and the longest time it may stay on."""

    start: bool
    stop: bool
    crash: bool
    stall: bool
    max_on_ms: PositiveFloat | None = None


class RecorderOutputConfig(Strict):
    """Keeps (time, level) of every line, in memory and, when `file` is given, as CSV on disk."""

    backend: Literal["recorder"]
    lines: dict[Name, LineConfig]
    file: Path | None = None


OutputConfig = RecorderOutputConfig


class Sample(Strict):
    """Keep every n-th frame, besides all that were not passed."""

    sample: PositiveInt


class RecordsConfig(Strict):
    """Where the records live and which raw frames are kept, within a budget that is enforced oldest first."""

    directory: Path
    keep_frames: Literal["all", "rejects", "none"] | Sample = "rejects"
    disk_budget_mb: PositiveFloat = 10_000.0


class LimitsConfig(Strict):
    """What a frame must keep to, and how long things may take."""

    exposure_us: tuple[PositiveFloat, PositiveFloat] | None = None
    gain_db: tuple[float, float] | None = None
    frame_timeout_ms: PositiveFloat = 500.0
    stall_ms: PositiveFloat = 5000.0
    queue_frames: Annotated[int, Field(ge=1, le=64)] = 4
    consecutive_rejects: PositiveInt = 10

    @model_validator(mode="after")
    def _ordered(self) -> LimitsConfig:
        for name in ("exposure_us", "gain_db"):
            limits = getattr(self, name)
            if limits is not None and limits[0] >= limits[1]:
                raise ValueError(f"{name} is [lowest, highest]")
        return self


class StationConfig(Strict):
    """The whole station file."""

    station: Name
    bundle: Path
    runner: RunnerConfig = OnnxRuntimeConfig()
    camera: CameraConfig
    preprocess: PreprocessConfig = PreprocessConfig()
    decision: DecisionConfig
    light: LightConfig = LightConfig()
    gate: GateConfig
    outputs: OutputConfig
    records: RecordsConfig
    limits: LimitsConfig = LimitsConfig()
    status_file: Path | None = None

    @model_validator(mode="after")
    def _gate_has_its_line(self) -> StationConfig:
        line = self.outputs.lines.get(self.gate.line)
        if line is None:
            raise ValueError(f"gate.line '{self.gate.line}' is not among outputs.lines")
        if line.max_on_ms is not None and self.gate.pulse_ms > line.max_on_ms:
            raise ValueError("gate.pulse_ms is longer than max_on_ms of its line")
        if self.gate.fires_on_pass and (line.crash or line.stall or line.stop):
            raise ValueError(
                "with pulse_to_accept stop, crash and stall must be false: an energised line lets parts by"
            )
        return self

    def identity(self) -> str:
        """SHA-256 of the effective configuration."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def load_station(path: Path) -> StationConfig:
    """Read and validate a station file; relative paths in it become absolute.

    Raises `ConfigError` naming file, line and fix.
    """
    return with_absolute_paths(load_model(path, StationConfig), path.resolve().parent)


def with_absolute_paths(config: StationConfig, base: Path) -> StationConfig:
    """The same configuration with every relative path counted from `base`."""
    try:
        return StationConfig.model_validate(_absolute(config.model_dump(), base))
    except ValueError as fault:  # pragma: no cover - the values were valid a moment ago
        raise ConfigError(f"The station file does not fit: {fault}.", do="Correct it.") from fault


def _absolute(value: Any, base: Path) -> Any:
    if isinstance(value, Path):
        return (base / value.expanduser()).resolve()
    if isinstance(value, dict):
        return {key: _absolute(item, base) for key, item in value.items()}
    return value
