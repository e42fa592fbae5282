"""A CLIP file → float32 tensors under OpenAI's names and the architecture they spell.

Nothing but the tensors says what the model is, so the layout is told from their names, the architecture is
inferred from their shapes, and then every entry is checked against it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from edge.errors import ModelFileError
from export.clip_layouts import ACCEPTED, Layout, in_openai_names
from export.stored_weights import files_of, read_tensors
from export.transformer import HEAD_DIM
from export.weights_file import check_finite, sha256_of

Shape = tuple[int, ...]

VISUAL = "visual."

KNOWN_BACKBONES = {
    (768, 12, 32, 7): "ViT-B/32",
    (768, 12, 16, 14): "ViT-B/16",
    (1024, 24, 14, 16): "ViT-L/14",
    (1024, 24, 14, 24): "ViT-L/14@336px",
}
"""OpenAI's names by (vision width, layers, patch, native grid)."""

BACKBONES_OF_TEXT_WIDTH = {512: ("ViT-B/32", "ViT-B/16"), 768: ("ViT-L/14", "ViT-L/14@336px")}
"""The same names by the width of the text tower, which is all that prompts tell of a backbone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipArchitecture:
    """The sizes of a CLIP ViT. Widths and layers count channels and blocks, `patch` counts pixels.

    `native_grid` is the side of the patch grid that the positional embedding was trained for, `embed_dim` the
    width of the space in which image and text are compared.
    """

    vision_width: int
    vision_layers: int
    patch: int
    native_grid: int
    embed_dim: int
    context_length: int
    vocab_size: int
    text_width: int
    text_layers: int

    @property
    def name(self) -> str:
        """OpenAI's name of the backbone, or a description when it has none."""
        key = (self.vision_width, self.vision_layers, self.patch, self.native_grid)
        width, layers, patch, grid = key
        return KNOWN_BACKBONES.get(key, f"ViT {width}x{layers}, patch {patch}, native grid {grid}")

    def shapes(self) -> dict[str, Shape]:
        """Every entry that a CLIP file of this architecture has, with its shape."""
        width, grid, patch = self.vision_width, self.native_grid, self.patch
        return {
            "visual.class_embedding": (width,),
            "visual.positional_embedding": (grid * grid + 1, width),
            "visual.proj": (width, self.embed_dim),
            "visual.conv1.weight": (width, 3, patch, patch),
            **_norm_shapes("visual.ln_pre", width),
            **_tower_shapes("visual.transformer", width, self.vision_layers),
            **_norm_shapes("visual.ln_post", width),
            "positional_embedding": (self.context_length, self.text_width),
            "text_projection": (self.text_width, self.embed_dim),
            "token_embedding.weight": (self.vocab_size, self.text_width),
            **_tower_shapes("transformer", self.text_width, self.text_layers),
            **_norm_shapes("ln_final", self.text_width),
        }


@dataclass(frozen=True, slots=True, eq=False)
class ClipWeights:
    """The checked content of a CLIP file: OpenAI's entry names → float32 tensors on the CPU.

    `sha256` is that of the file, or of an index and the files it names in a row. `layout` is who named the
    entries in it.
    """

    path: Path
    sha256: str
    architecture: ClipArchitecture
    entries: Mapping[str, Tensor]
    layout: Layout = Layout.OPENAI

    def vision_entries(self) -> dict[str, Tensor]:
        """Entries of the vision tower, without their `visual.` prefix."""
        return {n.removeprefix(VISUAL): t for n, t in self.entries.items() if n.startswith(VISUAL)}

    def text_entries(self) -> dict[str, Tensor]:
        """Entries of the text tower."""
        return {n: t for n, t in self.entries.items() if not n.startswith(VISUAL)}


def read_clip_file(path: Path) -> ClipWeights:
    """Read a CLIP ViT that OpenAI, open_clip or Hugging Face transformers saved, in any of their containers.

    Values stored in 16 bits are widened, in 64 bits rounded, to float32. Raises `ModelFileError` when the file
    is unreadable, damaged, not a CLIP ViT, asks for code to be run, or lacks an entry, has one too many, or
    one of the wrong shape.
    """
    sha256 = sha256_of(*files_of(path))
    stored, layout = in_openai_names(read_tensors(path), path)
    architecture = infer_architecture(stored, path)
    _check_entries(stored, architecture.shapes(), path)
    entries = {name: tensor.float() for name, tensor in stored.items()}
    check_finite(entries, path)
    return ClipWeights(path, sha256, architecture, entries, layout)


def infer_architecture(entries: Mapping[str, Tensor], path: Path) -> ClipArchitecture:
    """The architecture that the shapes spell. Raises `ModelFileError` when they spell no CLIP ViT."""
    conv1 = _entry(entries, "visual.conv1.weight", 4, path)
    projection = _entry(entries, "text_projection", 2, path)
    vocabulary = _entry(entries, "token_embedding.weight", 2, path)
    positions = _entry(entries, "visual.positional_embedding", 2, path)
    architecture = ClipArchitecture(
        vision_width=conv1.shape[0],
        vision_layers=_layers(entries, "visual.transformer."),
        patch=conv1.shape[2],
        native_grid=math.isqrt(positions.shape[0] - 1),
        embed_dim=projection.shape[1],
        context_length=_entry(entries, "positional_embedding", 2, path).shape[0],
        vocab_size=vocabulary.shape[0],
        text_width=_entry(entries, "ln_final.weight", 1, path).shape[0],
        text_layers=_layers(entries, "transformer."),
    )
    _check_counts(architecture, path)
    _check_heads(architecture, path)
    return architecture


def _check_counts(architecture: ClipArchitecture, path: Path) -> None:
    counts = {
        "block in its vision tower": architecture.vision_layers,
        "block in its text tower": architecture.text_layers,
        "patch in its positional embedding": architecture.native_grid,
    }
    absent = [what for what, count in counts.items() if count == 0]
    if absent:
        raise ModelFileError(f"{path} is not a complete CLIP file: it has no {absent[0]}.", do=ACCEPTED)


def _check_heads(architecture: ClipArchitecture, path: Path) -> None:
    for tower, width in (("vision", architecture.vision_width), ("text", architecture.text_width)):
        if width % HEAD_DIM:
            raise ModelFileError(
                f"The {tower} tower in {path} is {width} wide, which is no multiple of {HEAD_DIM}.",
                do=f"Give a CLIP ViT whose attention heads are {HEAD_DIM} wide, as OpenAI's are.",
            )


def _check_entries(entries: Mapping[str, Tensor], shapes: Mapping[str, Shape], path: Path) -> None:
    missing = [name for name in shapes if name not in entries]
    if missing:
        raise ModelFileError(f"{path} lacks, in OpenAI's names, {_listed(missing)}.", do=ACCEPTED)
    unknown = [name for name in entries if name not in shapes]
    if unknown:
        raise ModelFileError(f"{path} has entries that no CLIP ViT has: {_listed(unknown)}.", do=ACCEPTED)
    for name, shape in shapes.items():
        if tuple(entries[name].shape) != shape:
            raise ModelFileError(
                f"In {path}, {name} is {list(entries[name].shape)} where the other entries need "
                f"{list(shape)}.",
                do=ACCEPTED,
            )


def _entry(entries: Mapping[str, Tensor], name: str, dimensions: int, path: Path) -> Tensor:
    found = entries.get(name)
    if found is None or found.ndim != dimensions or 0 in found.shape:
        state = "is missing" if found is None else f"has the shape {list(found.shape)}"
        raise ModelFileError(f"{path} is not a complete CLIP file: {name} {state}.", do=ACCEPTED)
    return found


def _layers(entries: Mapping[str, Tensor], tower: str) -> int:
    blocks = f"{tower}resblocks."
    return len({name.removeprefix(blocks).partition(".")[0] for name in entries if name.startswith(blocks)})


def _tower_shapes(tower: str, width: int, layers: int) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for k in range(layers):
        block = f"{tower}.resblocks.{k}"
        shapes |= _norm_shapes(f"{block}.ln_1", width) | _norm_shapes(f"{block}.ln_2", width)
        shapes |= {
            f"{block}.attn.in_proj_weight": (3 * width, width),
            f"{block}.attn.in_proj_bias": (3 * width,),
        }
        shapes |= _linear_shapes(f"{block}.attn.out_proj", width, width)
        shapes |= _linear_shapes(f"{block}.mlp.c_fc", width, 4 * width)
        shapes |= _linear_shapes(f"{block}.mlp.c_proj", 4 * width, width)
    return shapes


def _norm_shapes(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear_shapes(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _listed(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
