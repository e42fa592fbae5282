"""CLIP files and checkpoints with random numbers in real shapes: the numbers do not change what a run costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from export.anomalyclip import AnomalyClipSettings
from export.clip_file import ClipArchitecture

CONTEXT = 12
VOCABULARY = 8
"""Eight words are enough for the prompts; the real vocabulary is never part of a bundle."""


@dataclass(frozen=True, slots=True)
class Model:
    """One backbone with the settings that upstream's 24 blocks scale down to."""

    name: str
    architecture: ClipArchitecture
    settings: AnomalyClipSettings


def _vit(width: int, layers: int, patch: int, native_grid: int, embed: int) -> ClipArchitecture:
    return ClipArchitecture(
        vision_width=width,
        vision_layers=layers,
        patch=patch,
        native_grid=native_grid,
        embed_dim=embed,
        context_length=77,
        vocab_size=VOCABULARY,
        text_width=embed,
        text_layers=12,
    )


VIT_B_32 = Model(
    "ViT-B/32",
    _vit(768, 12, 32, 7, 512),
    AnomalyClipSettings(image_size=518, dpam=13, features=(6, 12)),
)
VIT_B_16 = Model(
    "ViT-B/16",
    _vit(768, 12, 16, 14, 512),
    AnomalyClipSettings(image_size=518, dpam=13, features=(6, 12)),
)
VIT_L_14 = Model(
    "ViT-L/14",
    _vit(1024, 24, 14, 16, 768),
    AnomalyClipSettings(image_size=518, dpam=20, features=(6, 12, 18, 24)),
)
MODELS = {model.name: model for model in (VIT_B_32, VIT_B_16, VIT_L_14)}


def write_files(model: Model, folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write a CLIP file and a checkpoint that belong together; returns their paths."""
    clip = random_clip(model.architecture, seed)
    paths = folder / "clip.pt", folder / "epoch_1.pth"
    torch.save(clip, paths[0])
    torch.save({"prompt_learner": random_prompts(model.architecture, clip)}, paths[1])
    return paths


def random_clip(architecture: ClipArchitecture, seed: int = 0) -> dict[str, Tensor]:
    """Entries of a CLIP file, scaled so that no activation grows without bound."""
    generator = torch.Generator().manual_seed(seed)
    entries = {}
    for name, shape in architecture.shapes().items():
        scale = shape[-1] ** -0.5 if len(shape) > 1 else 0.02
        entries[name] = torch.randn(shape, generator=generator) * scale
        if ".ln_" in name and name.endswith("weight"):
            entries[name] = torch.ones(shape)
    return entries


def random_prompts(architecture: ClipArchitecture, clip: dict[str, Tensor]) -> dict[str, Tensor]:
    """Prompts of the usual layout over the small vocabulary; 5 starts a text and 6 ends it."""
    learner = {}
    for state, words in (("pos", [4]), ("neg", [3, 4])):
        ids = [5, *[2] * CONTEXT, *words, 1, 6]
        ids += [0] * (architecture.context_length - len(ids))
        embedded = clip["token_embedding.weight"][torch.tensor(ids)][None, None]
        learner[f"ctx_{state}"] = embedded[:, :, 1 : 1 + CONTEXT].clone()
        learner[f"token_prefix_{state}"] = embedded[:, :, :1].clone()
        learner[f"token_suffix_{state}"] = embedded[:, :, 1 + CONTEXT :].clone()
        learner[f"tokenized_prompts_{state}"] = torch.tensor(ids, dtype=torch.int32)[None, None]
    generator = torch.Generator().manual_seed(1)
    for index in range(8):
        learner[f"compound_prompts_text.{index}"] = 0.02 * torch.randn(
            4, architecture.text_width, generator=generator
        )
    return learner
