"""A model as a bundle: a folder whose manifest holds the SHA-256 of every file in it.

A changed byte is refused: `Bundle.read` hands out only bytes whose hash it has just checked, so nothing can
change between the check and the use.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.manifest import GOLDEN, MANIFEST, BundleManifest
from edge.yaml_file import parse_model


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Fixed raw frames and what the FP32 reference said about them.

    `images` are RGB8 (h, w, 3) uint8; `image_score` is (n,) float32; `grid_map` is (n, rows, columns) float32,
    both as the graph returns them.
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
