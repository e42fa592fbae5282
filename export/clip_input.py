"""A CLIP image tower's square input: its patch grid and CLIP's preprocessing, the same for every head."""

from __future__ import annotations

from typing import Literal

from edge.errors import ConfigError
from edge.manifest import Preprocessing
from export.clip_file import ClipArchitecture

Resample = Literal["pillow", "fast"]
"""The resampler of the line; `pillow` is that of the training."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Of RGB values in [0, 1], from CLIP's training; open_clip's OPENAI_DATASET_MEAN and _STD."""

LARGEST_GRID = 128
"""Beyond it one attention takes tens of gigabytes; far beyond what any of the backbones was made for."""


def patch_grid(image_size: int, architecture: ClipArchitecture) -> int:
    """Side of the patch grid. Raises `ConfigError` when no patch fits, or far too many do."""
    grid = image_size // architecture.patch
    if not 1 <= grid <= LARGEST_GRID:
        raise ConfigError(
            f"An image size of {image_size} px does not suit {architecture.name}: with patches of "
            f"{architecture.patch} px it can be {architecture.patch} to "
            f"{(LARGEST_GRID + 1) * architecture.patch - 1}.",
            do="Give the --image-size of the training, usually 518.",
        )
    return grid


def clip_preprocessing(image_size: int, resample: Resample) -> Preprocessing:
    """CLIP's preprocessing at this size, as the bundle carries it."""
    return Preprocessing(
        height_px=image_size,
        width_px=image_size,
        interpolation="fast_bicubic_antialias" if resample == "fast" else "pil_bicubic_antialias",
        mean=CLIP_MEAN,
        std=CLIP_STD,
    )
