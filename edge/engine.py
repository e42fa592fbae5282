"""What an engine is: the target that it fits, the key of its build, and the record of its proof.

Nothing here imports TensorRT or touches a GPU.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field

from edge.bundle import Bundle
from edge.manifest import Precision, Sha256, model_file
from edge.strict_model import Strict


class EngineTarget(Strict):
    """What an engine must fit to be used: TensorRT promises nothing across any of these.

    `gpu` and `compute_capability` ("8.7") are CUDA's, `platform` is the L4T release or the driver's version.
    """

    bundle_id: Sha256
    precision: Precision
    graph_sha256: Sha256
    tensorrt: str
    gpu: str
    compute_capability: str
    platform: str


class BuildOptions(Strict):
    """What a person may choose: limits in MiB, and how long TensorRT searches (0 to 5)."""

    workspace_mb: Annotated[int, Field(ge=16)] = 1024
    tactic_dram_mb: Annotated[int, Field(ge=64)] = 3072
    optimization_level: Annotated[int, Field(ge=0, le=5)] = 3


class EngineKey(Strict):
    """All that decides what TensorRT builds. Equal keys are the same engine."""

    target: EngineTarget
    options: BuildOptions

    def identity(self) -> str:
        """SHA-256 of the canonical form; its beginning names the files."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


class BuildFigures(Strict):
    """How a build went.

    `attentions` are those of the graph. `layers` are the engine's, `fused_attentions` those among them that
    are an attention in one kernel; None when the engine does not tell. `available_mb` is the memory that was
    free before the build, `least_available_mb` the least that was left during it.
    """

    seconds: float
    engine_bytes: int
    attentions: int
    layers: int | None
    fused_attentions: int | None
    available_mb: int
    least_available_mb: int


class GoldenProof(Strict):
    """What the golden frames gave on the engine; a difference that is no finite number is None."""

    frames: int
    score_difference: float | None
    map_difference: float | None
    score_allowed: float
    map_allowed: float
    passed: bool


class EngineRecord(Strict):
    """The content of the file beside an engine. `golden` is None until the frames have run on it."""

    schema_version: Literal[1] = 1
    key: EngineKey
    engine_sha256: Sha256
    built_utc: str
    figures: BuildFigures
    golden: GoldenProof | None = None

    @property
    def proven(self) -> bool:
        """Whether the golden frames came out right on this engine."""
        return self.golden is not None and self.golden.passed


def engine_target(
    bundle: Bundle, *, tensorrt: str, gpu: str, compute_capability: str, platform: str
) -> EngineTarget:
    """The target of a bundle on a device: its FP16 graph if it has one, else the FP32 graph."""
    precision: Precision = "fp16" if "fp16" in bundle.manifest.precisions else "fp32"
    return EngineTarget(
        bundle_id=bundle.bundle_id,
        precision=precision,
        graph_sha256=bundle.manifest.files[model_file(precision)],
        tensorrt=tensorrt,
        gpu=gpu,
        compute_capability=compute_capability,
        platform=platform,
    )
