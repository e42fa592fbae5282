"""AA-CLIP's `image_adapter.pth` and `text_adapter.pth` → matrices, checked.

A file holds the epoch, the adapter and the state of the optimiser, which is three times as large and is dropped.
Nothing of CLIP is in it, nor the levels, the weights of the mix and the class: the user must know those. No
matrix has a bias. Whether a projection has an activation is told by its name alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from edge.errors import ModelFileError
from export.weights_file import (
    Container,
    check_finite,
    check_stored,
    container_of,
    read_saved,
    sha256_of,
    tensor_entries,
)

IMAGE, TEXT = "image_adapter", "text_adapter"
GIVE = {
    IMAGE: "Give the image_adapter_N.pth that the AA-CLIP training wrote as --image-adapter.",
    TEXT: "Give the text_adapter.pth that the AA-CLIP training wrote as --text-adapter.",
}

WITH_ACTIVATION, PLAIN = "fc.0.weight", "fc.weight"
"""How a projection is named with and without a LeakyReLU after it."""

_IMAGE_NAME = re.compile(r"layer_adapters\.\d+\.fc\.0\.weight|(?:seg_proj\.\d+|det_proj)\.fc(?:\.0)?\.weight")
_TEXT_NAME = re.compile(r"\d+\.fc\.0\.weight")


@dataclass(frozen=True, slots=True, eq=False)
class ImageAdapter:
    """Matrices of the image side, float32; v is the vision width, d the width of the comparison.

    `adapters` are (v, v), one per adapted block; `level_projections` (d, v), one per level;
    `detection_projection` is (d, v). `activated` says whether a LeakyReLU follows the projections.
    """

    path: Path
    sha256: str
    adapters: tuple[Tensor, ...]
    level_projections: tuple[Tensor, ...]
    detection_projection: Tensor
    activated: bool

    @property
    def vision_width(self) -> int:
        """Channels of the vision tower that it was trained on."""
        return self.detection_projection.shape[1]

    @property
    def embed_dim(self) -> int:
        """Width of the space in which image and text are compared."""
        return self.detection_projection.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class TextAdapter:
    """Matrices of the text side, float32; t is the text width, d the width of the comparison.

    `adapters` are (t, t), one per adapted block; `projection` is (d, t), with a LeakyReLU after it, and stands
    in for CLIP's `text_projection`.
    """

    path: Path
    sha256: str
    adapters: tuple[Tensor, ...]
    projection: Tensor

    @property
    def text_width(self) -> int:
        """Channels of the text tower that it was trained on."""
        return self.projection.shape[1]

    @property
    def embed_dim(self) -> int:
        """Width of the space in which image and text are compared."""
        return self.projection.shape[0]


def read_image_adapter(path: Path) -> ImageAdapter:
    """Read `image_adapter_N.pth`.

    Raises `ModelFileError` when the file is unreadable, damaged, no such adapter, asks for code to be run,
    lacks a matrix, or holds one of a shape that does not fit the others.
    """
    sha256 = sha256_of(path)
    entries = _adapter_entries(path, IMAGE, _IMAGE_NAME)
    activated = f"det_proj.{WITH_ACTIVATION}" in entries
    leaf = WITH_ACTIVATION if activated else PLAIN
    detection = _matrix(entries, f"det_proj.{leaf}", path, IMAGE)
    embed_dim, width = detection.shape
    adapters = _numbered(entries, "layer_adapters.", WITH_ACTIVATION)
    projections = _numbered(entries, "seg_proj.", leaf)
    _check_all_used(entries, {f"det_proj.{leaf}", *adapters, *projections}, path, IMAGE)
    return ImageAdapter(
        path,
        sha256,
        adapters=_shaped(entries, adapters, (width, width), path, IMAGE),
        level_projections=_shaped(entries, projections, (embed_dim, width), path, IMAGE),
        detection_projection=detection,
        activated=activated,
    )


def read_text_adapter(path: Path) -> TextAdapter:
    """Read `text_adapter.pth`. Raises `ModelFileError` as `read_image_adapter` does."""
    sha256 = sha256_of(path)
    entries = _adapter_entries(path, TEXT, _TEXT_NAME)
    names = _numbered(entries, "", WITH_ACTIVATION)
    _check_all_used(entries, set(names), path, TEXT)
    projection = _matrix(entries, names[-1], path, TEXT)
    width = projection.shape[1]
    return TextAdapter(
        path,
        sha256,
        adapters=_shaped(entries, names[:-1], (width, width), path, TEXT),
        projection=projection,
    )


def _adapter_entries(path: Path, kind: str, name: re.Pattern[str]) -> dict[str, Tensor]:
    """The named matrices under the file's entry `kind`, float32 and finite, with no other names."""
    if container_of(path) is not Container.STATE_DICT:
        raise ModelFileError(f"{path} is a {container_of(path).value}, not an adapter.", do=GIVE[kind])
    saved = read_saved(path)
    if not isinstance(saved, Mapping) or kind not in saved:
        other = next((k for k in (IMAGE, TEXT) if isinstance(saved, Mapping) and k in saved), None)
        what = f"holds the {other}, not the {kind}" if other else f"is not AA-CLIP's: it has no entry {kind}"
        raise ModelFileError(f"{path} {what}.", do=GIVE[kind])
    entries = tensor_entries(saved[kind], path)
    unknown = [key for key in entries if not name.fullmatch(key)]
    if unknown:
        raise ModelFileError(
            f"{path} has an entry that AA-CLIP's {kind} does not have: {unknown[0]}.", do=GIVE[kind]
        )
    check_stored(entries, path)
    check_finite(entries, path)
    return {key: tensor.float() for key, tensor in entries.items()}


def _numbered(entries: Mapping[str, Tensor], stem: str, leaf: str) -> list[str]:
    """The names from number 0 on, as far as they follow each other."""
    names: list[str] = []
    while f"{stem}{len(names)}.{leaf}" in entries:
        names.append(f"{stem}{len(names)}.{leaf}")
    return names


def _check_all_used(entries: Mapping[str, Tensor], used: set[str], path: Path, kind: str) -> None:
    """An entry that is left over shows that a number is missing before it, or both forms of projection."""
    left = sorted(entries.keys() - used)
    if left:
        raise ModelFileError(
            f"{path} is incomplete or mixed: {left[0]} does not follow from the other entries.", do=GIVE[kind]
        )


def _matrix(entries: Mapping[str, Tensor], name: str, path: Path, kind: str) -> Tensor:
    found = entries.get(name)
    if found is None:
        raise ModelFileError(f"{path} lacks {name}.", do=GIVE[kind])
    if found.ndim != 2 or 0 in found.shape:
        raise ModelFileError(f"In {path}, {name} is {list(found.shape)} and no matrix.", do=GIVE[kind])
    return found


def _shaped(
    entries: Mapping[str, Tensor], names: list[str], shape: tuple[int, int], path: Path, kind: str
) -> tuple[Tensor, ...]:
    for name in names:
        if tuple(entries[name].shape) != shape:
            raise ModelFileError(
                f"In {path}, {name} is {list(entries[name].shape)} where the other entries need {list(shape)}.",
                do=GIVE[kind],
            )
    return tuple(entries[name] for name in names)
