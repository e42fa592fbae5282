"""CLIP's entries under OpenAI's names, whichever program saved them.

Three layouts are known, told apart by their names: OpenAI's own, which open_clip's CLIP shares; open_clip's
CustomTextCLIP, which puts `text.` before the names of the text tower; and CLIPModel of Hugging Face
transformers, which has other names, keeps q, k and v apart and stores both projections transposed. Entries
are mapped by name, and no value is changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import torch
from torch import Tensor

from edge.errors import ModelFileError
from export.weights_file import check_stored

Entries = dict[str, Tensor]


class Layout(Enum):
    """Who named the entries."""

    OPENAI = "OpenAI"
    CUSTOM_TEXT = "open_clip CustomTextCLIP"
    HUGGING_FACE = "Hugging Face CLIPModel"


UNUSED = re.compile(
    r"(input_resolution|context_length|vocab_size|logit_scale"  # scalars; the first three repeat the shapes
    r"|(text\.)?attn_mask|(text_model|vision_model)\.embeddings\.position_ids)"  # computed, not learned
)
"""Entries that no result depends on."""

ACCEPTED = (
    "Give a CLIP ViT with OpenAI's weights: OpenAI's .pt file or its state dict, or the same model as "
    "open_clip or Hugging Face transformers (CLIPModel) saves it."
)


@dataclass(frozen=True, slots=True)
class _Foreign:
    """A model that is not OpenAI's CLIP ViT, known by an entry whose name matches `sign`."""

    sign: str
    name: str

    def shows_in(self, entries: Mapping[str, Tensor]) -> bool:
        return any(re.search(self.sign, name) for name in entries)


FOREIGN = (
    _Foreign(r"^visual\.layer\d+\.\d+\.conv1\.", "a CLIP with a ResNet image tower"),
    _Foreign(r"^visual\.trunk\.attn_pool\.", "a SigLIP model of open_clip"),
    _Foreign(r"^visual\.trunk\.stages\.", "a CLIP with a ConvNeXt image tower"),
    _Foreign(r"^visual\.trunk\.blocks\.\d+\.attn\.(q_proj|q_bias)", "an EVA-CLIP model of open_clip"),
    _Foreign(r"^visual\.trunk\.", "a CLIP with an image tower of timm"),
    _Foreign(r"^visual\.blocks\.\d+\.attn\.(q_proj|q_bias|inner_attn_ln)", "an EVA-CLIP model"),
    _Foreign(r"^text_decoder\.resblocks\.|^visual\.attn_pool\.", "a CoCa model"),
    _Foreign(r"^text\.transformer\.(embeddings|encoder)\.", "a CLIP with a text tower of Hugging Face"),
    _Foreign(r"^vision_model\.head\.|^logit_bias$", "a SigLIP model"),
    _Foreign(r"^text_model\.encoder\.layer\.", "a CLIP with a BERT text tower"),
)
"""In the order of asking: what is told more exactly comes first."""


def in_openai_names(stored: Mapping[str, Tensor], path: Path) -> tuple[Entries, Layout]:
    """Entries as any of the layouts names them → the same under OpenAI's names, the unused ones left out.

    Raises `ModelFileError` when the layout is not known, an entry is no plain array of floating-point numbers,
    or q, k and v do not belong together.
    """
    used = {name: tensor for name, tensor in stored.items() if not UNUSED.fullmatch(name)}
    layout = layout_of(used, path)
    check_stored(used, path)
    return _READERS[layout](used, path), layout


def layout_of(entries: Mapping[str, Tensor], path: Path) -> Layout:
    """Tell the layout from the names. Raises `ModelFileError` naming what the file is instead, if known."""
    foreign = next((model for model in FOREIGN if model.shows_in(entries)), None)
    if foreign is not None:
        raise ModelFileError(f"{path} is {foreign.name}, which is not supported.", do=ACCEPTED)
    towers = {name.partition(".")[0] for name in entries}
    if towers >= {"vision_model", "text_model"}:
        return Layout.HUGGING_FACE
    if "visual" in towers and towers & {"transformer", "token_embedding", "ln_final"}:
        return Layout.OPENAI
    if towers >= {"visual", "text"}:
        return Layout.CUSTOM_TEXT
    raise _unknown(entries, towers, path)


def _unknown(entries: Mapping[str, Tensor], towers: set[str], path: Path) -> ModelFileError:
    for tower, half in (("vision_model", "image"), ("visual", "image"), ("text_model", "text")):
        if tower in towers:
            return ModelFileError(f"{path} holds only the {half} tower of a CLIP model.", do=ACCEPTED)
    seen = ", ".join(sorted(entries)[:3]) or "none"
    return ModelFileError(
        f"{path} is not a CLIP model in any layout that is known here; its entries are {seen} "
        f"({len(entries)} in all).",
        do=ACCEPTED,
    )


def _from_openai(stored: Entries, _path: Path) -> Entries:
    return stored


def _from_custom_text(stored: Entries, path: Path) -> Entries:
    entries = {name.removeprefix("text."): tensor for name, tensor in stored.items()}
    if len(entries) < len(stored):
        raise ModelFileError(f"{path} holds text entries with and without the prefix 'text.'.", do=ACCEPTED)
    return entries


_HF_TOWERS = {"vision_model": "visual.transformer", "text_model": "transformer"}

_HF_NAMES = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",  # transformers' own spelling
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}

_HF_TRANSPOSED = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}

_HF_PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}

_HF_BLOCK = re.compile(r"(vision_model|text_model)\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_HF_QKV = re.compile(r"(.+\.self_attn)\.[qkv]_proj\.(weight|bias)")


def _from_hugging_face(stored: Entries, path: Path) -> Entries:
    sources: dict[str, list[str]] = {}
    for name in stored:
        sources.setdefault(_renamed(name), []).append(name)
    return {target: _joined(stored, names, path) for target, names in sources.items()}


def _renamed(name: str) -> str:
    """OpenAI's name; q, k and v have one together. A name that is not known stays and is complained of later."""
    block = _HF_BLOCK.fullmatch(name)
    if block is None:
        return _HF_NAMES.get(name) or _HF_TRANSPOSED.get(name) or name
    prefix = f"{_HF_TOWERS[block[1]]}.resblocks.{block[2]}"
    if _HF_QKV.fullmatch(name):
        return f"{prefix}.attn.in_proj_{block[4]}"
    return f"{prefix}.{_HF_PARTS[block[3]]}.{block[4]}" if block[3] in _HF_PARTS else name


def _joined(stored: Entries, names: list[str], path: Path) -> Tensor:
    """One entry of OpenAI's from the entries that it has here."""
    qkv = _HF_QKV.fullmatch(names[0])
    if len(names) > (1 if qkv is None else 3):
        raise ModelFileError(f"{path} holds the same entry as {names[0]} and as {names[-1]}.", do=ACCEPTED)
    if qkv is not None:
        return _stacked(stored, qkv[1], qkv[2], path)
    tensor = stored[names[0]]
    return tensor.mT.contiguous() if names[0] in _HF_TRANSPOSED and tensor.ndim == 2 else tensor


def _stacked(stored: Entries, attention: str, kind: str, path: Path) -> Tensor:
    """q, k and v in a row, as OpenAI's in_proj holds them."""
    names = [f"{attention}.{part}_proj.{kind}" for part in "qkv"]
    missing = [name for name in names if name not in stored]
    if missing:
        raise ModelFileError(f"{path} lacks {missing[0]}.", do=ACCEPTED)
    parts = [stored[name] for name in names]
    if len({part.shape for part in parts}) > 1 or parts[0].ndim == 0:
        sizes = ", ".join(str(list(part.shape)) for part in parts)
        raise ModelFileError(f"In {path}, q, k and v of {attention} differ: {sizes}.", do=ACCEPTED)
    return torch.cat(parts)


_READERS: Mapping[Layout, Callable[[Entries, Path], Entries]] = {
    Layout.OPENAI: _from_openai,
    Layout.CUSTOM_TEXT: _from_custom_text,
    Layout.HUGGING_FACE: _from_hugging_face,
}
