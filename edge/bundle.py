"""A model as a bundle: a folder whose manifest holds the SHA-256 of every file in it.

A changed byte is refused: `Bundle.read` hands out only bytes whose hash it has just checked, so nothing can
change between the check and the use.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge.errors import BundleError
from edge.messages import Box
from edge.yaml_file import parse_model

MANIFEST = "bundle.yaml"
MODEL_FP32 = "model.fp32.onnx"
GOLDEN = "golden.npz"
PARITY = "parity.json"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Positive = Annotated[int, Field(gt=0)]
Three = tuple[float, float, float]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Preprocessing(_Strict):
    """How a raw frame becomes the input tensor; see `edge.preprocess` for the steps.

    `roi_px` is the region of the raw frame that is inspected, None for the whole frame. A station may narrow
    it; the identity of a threshold includes the result.
    """

    image_size: Positive
    roi_px: Box | None = None
    interpolation: Literal["pil_bicubic_antialias"] = "pil_bicubic_antialias"
    colour_order: Literal["RGB"] = "RGB"
    mean: Three
    std: Three

    @model_validator(mode="after")
    def _usable(self) -> Preprocessing:
        if self.roi_px is not None and (min(self.roi_px[:2]) < 0 or min(self.roi_px[2:]) <= 0):
            raise ValueError("roi_px is [x, y, width, height] with width and height above 0")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self

    def identity(self) -> str:
        """SHA-256 of the canonical form; part of what a threshold belongs to."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


class Source(_Strict):
    """Where the weights came from."""

    clip_sha256: Sha256
    checkpoint_sha256: Sha256
    exporter: str


class Outputs(_Strict):
    """Names of the graph's outputs."""

    score: str = "image_score"
    map: str = "anomaly_map"


class BundleManifest(_Strict):
    """The content of `bundle.yaml`.

    `grid` is the side of the map that the graph returns, `features` the layers as asked for and `layers_used`
    those that the backbone has, so the combined map lies in [0, len(layers_used)].
    """

    schema_version: Literal[1] = 1
    head: Literal["anomalyclip"]
    backbone: str
    patch: Positive
    grid: Positive
    image_size: Positive
    dpam: Positive
    features: tuple[Positive, ...]
    layers_used: tuple[Positive, ...]
    legacy_features: bool
    sigma: Annotated[float, Field(ge=0)]
    preprocessing: Preprocessing
    input: str = "image"
    outputs: Outputs = Outputs()
    source: Source
    files: dict[FileName, Sha256]

    @model_validator(mode="after")
    def _consistent(self) -> BundleManifest:
        if self.preprocessing.image_size != self.image_size:
            raise ValueError("image_size and preprocessing.image_size differ")
        if MODEL_FP32 not in self.files or GOLDEN not in self.files:
            raise ValueError(f"files must list {MODEL_FP32} and {GOLDEN}")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Fixed raw frames and what the FP32 reference said about them.

    `images` are RGB8 (h, w, 3) uint8; `image_score` is (n,) float32; `grid_map` is (n, g, g) float32.
    """

    images: tuple[NDArray[np.uint8], ...]
    image_score: NDArray[np.float32]
    grid_map: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle. `bundle_id` is the SHA-256 of `bundle.yaml`, which holds the hash of all the rest."""

    folder: Path
    manifest: BundleManifest
    bundle_id: str

    def read(self, name: str) -> bytes:
        """Bytes of a listed file, hash checked now. Raises `BundleError` when missing or altered."""
        expected = self.manifest.files.get(name)
        if expected is None:
            raise BundleError(
                f"The bundle {self.folder} does not list {name}.",
                do="Export it again with a version that writes this file.",
            )
        try:
            content = (self.folder / name).read_bytes()
        except OSError as fault:
            raise BundleError(
                f"{self.folder / name} cannot be read: {fault.strerror}.", do="Copy the whole bundle again."
            ) from fault
        if hashlib.sha256(content).hexdigest() != expected:
            raise BundleError(
                f"{self.folder / name} is not the file that was exported: its SHA-256 is another one.",
                do="Copy the bundle again from where it was exported, or export it again.",
            )
        return content

    def verify(self) -> None:
        """Check every listed file. Raises `BundleError` at the first that is missing or altered."""
        for name in self.manifest.files:
            self.read(name)

    def golden(self) -> Golden:
        """The golden frames and outputs. Raises `BundleError` when the file does not hold them."""
        content = self.read(GOLDEN)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                names = sorted(n for n in arrays.files if n.startswith("image_") and n[6:].isdigit())
                return Golden(
                    tuple(arrays[name] for name in sorted(names, key=lambda n: int(n[6:]))),
                    arrays["image_score"],
                    arrays["grid_map"],
                )
        except (ValueError, KeyError, OSError) as fault:
            raise BundleError(
                f"{self.folder / GOLDEN} does not hold golden frames: {fault}.", do="Export the bundle again."
            ) from fault


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle and check every byte of it.

    Raises `BundleError` when the folder is no bundle, its manifest does not fit, or a file was altered.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError:
        raise BundleError(
            f"{folder} is not a bundle: it has no readable {MANIFEST}.",
            do="Give the folder that 'adclip export' wrote.",
        ) from None
    manifest = parse_model(
        text.decode("utf-8", "replace"), BundleManifest, name=str(folder / MANIFEST), error=BundleError
    )
    bundle = Bundle(folder, manifest, hashlib.sha256(text).hexdigest())
    bundle.verify()
    return bundle


def manifest_text(manifest: BundleManifest) -> str:
    """`bundle.yaml` for a manifest; equal manifests give equal text."""
    return yaml.safe_dump(manifest.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
