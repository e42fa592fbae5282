"""What `bundle.yaml` says: how a picture enters the network, what comes out, and how that is read.

Nothing here touches a file; `edge.bundle` does. Pixel sizes are of the network's input unless a name says else.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from edge.messages import Box

MANIFEST = "bundle.yaml"
MODEL_FP32 = "model.fp32.onnx"
MODEL_FP16 = "model.fp16.onnx"
GOLDEN = "golden.npz"
PARITY = "parity.json"

Precision = Literal["fp32", "fp16"]
Interpolation = Literal[
    "pil_bicubic_antialias",
    "pil_bilinear_antialias",
    "fast_bicubic_antialias",
    "fast_bilinear_antialias",
]
"""`pil_`: Pillow's own resampler, which the networks were trained with · `fast_`: `edge.fast_resample`."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Positive = Annotated[int, Field(gt=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Three = tuple[Finite, Finite, Finite]


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if not (limits[0] < limits[1] and math.isfinite(limits[1] - limits[0])):
        raise ValueError("give [low, high] with high above low")
    return limits


Range = Annotated[tuple[Finite, Finite], AfterValidator(_rising)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tiles(_Strict):
    """The region of interest through `rows` x `columns` tiles, each sharing `overlap` of its side with the
    next."""

    rows: Annotated[int, Field(ge=1, le=16)]
    columns: Annotated[int, Field(ge=1, le=16)]
    overlap: Annotated[float, Field(ge=0, le=0.5)] = 0.1


class Preprocessing(_Strict):
    """How a raw frame becomes the input tensor; see `edge.preprocess` for the steps.

    `roi_px` is the region of the raw frame that is inspected, None for the whole frame. A station may narrow
    it, cut it into `tiles`, and correct the raw frame (`correction_id`, see `edge.correction`); the identity of
    a threshold includes the result. `height_px` and `width_px` are the input's.
    """

    height_px: Positive
    width_px: Positive
    roi_px: Box | None = None
    interpolation: Interpolation = "pil_bicubic_antialias"
    colour_order: Literal["RGB"] = "RGB"
    mean: Three
    std: Three
    tiles: Tiles | None = None
    correction_id: Sha256 | None = None

    @model_validator(mode="after")
    def _usable(self) -> Preprocessing:
        if self.roi_px is not None and (min(self.roi_px[:2]) < 0 or min(self.roi_px[2:]) <= 0):
            raise ValueError("roi_px is [x, y, width, height] with width and height above 0")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self

    @property
    def size_px(self) -> tuple[int, int]:
        """(height, width) of the input."""
        return (self.height_px, self.width_px)

    def identity(self) -> str:
        """SHA-256 of the canonical form; part of what a threshold belongs to."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


class AnomalyClipHead(_Strict):
    """AnomalyCLIP: a folded pair of prompts, one map per layer.

    `features` are the layers as asked for and `layers_used` those that the backbone has.
    """

    kind: Literal["anomalyclip"] = "anomalyclip"
    patch: Positive
    dpam: Positive
    features: tuple[Positive, ...]
    layers_used: tuple[Positive, ...]
    legacy_features: bool


class AaClipHead(_Strict):
    """AA-CLIP: text folded for one product class, `product` being the words put into its sentences."""

    kind: Literal["aaclip"] = "aaclip"
    patch: Positive
    product: str
    levels: tuple[Positive, ...]
    domain: Literal["industrial", "medical"]


class OnnxHead(_Strict):
    """A network that was imported as ONNX; `origin` says what wrote it, as far as the file tells."""

    kind: Literal["onnx"] = "onnx"
    origin: str


Head = Annotated[AnomalyClipHead | AaClipHead | OnnxHead, Field(discriminator="kind")]


class GridBlur(_Strict):
    """A Gaussian on the grid, `kernel` cells wide, the edge mirrored without repeating the edge cell."""

    kernel: Annotated[int, Field(ge=1, le=31)]
    sigma: Above0

    @model_validator(mode="after")
    def _odd(self) -> GridBlur:
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")
        return self


class MapSpec(_Strict):
    """How the graph's grid map becomes the anomaly map at input size; steps in `edge.anomaly_map`.

    `grid` is (rows, columns) of what the graph returns, `layers` how many layer maps are summed in it.
    `sigma_px` is the Gaussian after upsampling. `covers_px` is the part of the input that the map covers
    (a network that crops inside), None for all of it. `scale` maps [low, high] to [0, 1], without clipping.
    A network without a map returns a grid of 1 x 1 that repeats the score: it does not localise.
    """

    grid: tuple[Positive, Positive]
    layers: Positive = 1
    grid_blur: GridBlur | None = None
    align_corners: bool = False
    sigma_px: Annotated[float, Field(ge=0, le=64)] = 0.0
    covers_px: Box | None = None
    scale: Range | None = None

    @property
    def localises(self) -> bool:
        """Whether the map says where."""
        return self.grid != (1, 1)


class ScoreSpec(_Strict):
    """How the image score is made; formulas in `edge.anomaly_map`.

    graph: the graph's own · mean_with_map_peak: half the graph's, scaled, half the largest value of the
    anomaly map · map_peak: that value alone. `scale` maps [low, high] of the graph's score to [0, 1].
    """

    rule: Literal["graph", "mean_with_map_peak", "map_peak"] = "graph"
    scale: Range | None = None


class ReferenceScale(_Strict):
    """Raw value → [0, 1] as the network's own library does: clip((raw - threshold) / span + 0.5, 0, 1)."""

    threshold: Finite
    span: Above0


class ReferenceLimits(_Strict):
    """Limits that came with an imported network. Told beside our verdict, never part of it.

    A picture is bad for that library when its normalised score is above `bad_above`, or equal to it if
    `bad_at_limit`. `score` is None when the file holds no usable limits.
    """

    source: str
    score: ReferenceScale | None = None
    map: ReferenceScale | None = None
    bad_above: Annotated[float, Field(ge=0, le=1)] = 0.5
    bad_at_limit: bool = False


class Tolerance(_Strict):
    """Largest allowed absolute differences of the graph's score and grid map to the golden outputs."""

    score: Above0
    map: Above0


class Tolerances(_Strict):
    """By precision; `fp16` is None for a bundle without an FP16 graph."""

    fp32: Tolerance
    fp16: Tolerance | None = None

    def of(self, precision: Precision) -> Tolerance:
        """The tolerance of a precision that the bundle has."""
        if precision == "fp32":
            return self.fp32
        if self.fp16 is None:
            raise ValueError("the bundle has no FP16 graph")
        return self.fp16


class HalfPrecision(_Strict):
    """How the FP16 graph was made: these blocks (counted from 1) stayed FP32, and perhaps every softmax."""

    fp32_blocks: tuple[Positive, ...] = ()
    fp32_softmax: bool = False


class Source(_Strict):
    """Where the weights came from: SHA-256 of each source file by its role (clip, checkpoint, onnx ...)."""

    files: dict[str, Sha256]
    exporter: str


class OutputNames(_Strict):
    """Names of the graph's outputs: score (1,) and map (1, rows, columns), float32."""

    score: str = "image_score"
    map: str = "anomaly_map"


class BundleManifest(_Strict):
    """The content of `bundle.yaml`. `backbone` names the network for people."""

    schema_version: Literal[2] = 2
    backbone: str
    head: Head
    preprocessing: Preprocessing
    input: str = "image"
    outputs: OutputNames = OutputNames()
    map: MapSpec
    score: ScoreSpec = ScoreSpec()
    reference: ReferenceLimits | None = None
    fp16: HalfPrecision | None = None
    tolerances: Tolerances
    source: Source
    files: dict[FileName, Sha256]

    @model_validator(mode="after")
    def _consistent(self) -> BundleManifest:
        if MODEL_FP32 not in self.files or GOLDEN not in self.files:
            raise ValueError(f"files must list {MODEL_FP32} and {GOLDEN}")
        if len({MODEL_FP16 in self.files, self.fp16 is not None, self.tolerances.fp16 is not None}) > 1:
            raise ValueError(f"fp16, tolerances.fp16 and {MODEL_FP16} go together: all or none")
        return self

    @property
    def score_range(self) -> Range | None:
        """Between which values every image score lies; None when the head does not bound it."""
        return (0.0, 1.0) if self.head.kind == "anomalyclip" else None

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that the bundle has a graph for."""
        return ("fp32",) if self.fp16 is None else ("fp32", "fp16")


def model_file(precision: Precision) -> str:
    """The graph's file in the bundle."""
    return MODEL_FP32 if precision == "fp32" else MODEL_FP16


def manifest_text(manifest: BundleManifest) -> str:
    """`bundle.yaml` for a manifest; equal manifests give equal text."""
    return yaml.safe_dump(manifest.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
