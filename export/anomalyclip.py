"""AnomalyCLIP: image and prompts → image score and grid map.

The functions on features are used by the exported graph and by training alike, so that the two cannot drift
apart. Row 0 of every text tensor is the normal prompt, row 1 the abnormal one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.errors import ConfigError
from edge.manifest import Preprocessing
from export.clip_file import ClipArchitecture, ClipWeights
from export.clip_input import Resample, clip_preprocessing, patch_grid
from export.network import Network
from export.prompt_checkpoint import PromptCheckpoint
from export.text_tower import TextTower, load_text_tower
from export.vision_tower import FeaturePlan, VisionFeatures, VisionTower, load_vision_tower

TEMPERATURE = 0.07
"""AnomalyCLIP's fixed temperature; CLIP's own `logit_scale` is not used."""

LARGEST_SIGMA_PX = 64.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyClipSettings:
    """What the checkpoint does not hold and the user must know from the training.

    `image_size` is the side of the square input in pixels. `dpam` N gives the last N - 1 blocks a second
    path. `features` are block numbers from 1. `legacy_features` reproduces code from before 2025-04-13.
    `sigma` is the Gaussian's, in pixels of the input. `resample` chooses the resampler of the line: `pillow` is
    that of the training.
    """

    image_size: int
    dpam: int
    features: tuple[int, ...]
    legacy_features: bool = False
    sigma: float = 4.0
    resample: Resample = "pillow"

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= LARGEST_SIGMA_PX:  # neither is NaN
            raise ConfigError(
                f"A Gaussian sigma of {self.sigma} px is not possible.",
                do=f"Give 0 to {LARGEST_SIGMA_PX:g}; AnomalyCLIP uses 4.",
            )

    def grid(self, architecture: ClipArchitecture) -> int:
        """Side of the patch grid. Raises `ConfigError` when no patch fits, or far too many do."""
        return patch_grid(self.image_size, architecture)

    def preprocessing(self) -> Preprocessing:
        """CLIP's preprocessing at this size, as the bundle carries it."""
        return clip_preprocessing(self.image_size, self.resample)

    def plan(self, architecture: ClipArchitecture) -> FeaturePlan:
        """The blocks that these settings mean on a backbone.

        Numbers above the number of blocks are ignored, as upstream does. Legacy code returned the finished
        new path for every selected block from the one before the first dual block on. Raises `ConfigError`
        when `dpam` or `features` does not fit.
        """
        layers = architecture.vision_layers
        first_dual = layers + 2 - self._checked_dpam(architecture)
        used = self._existing_blocks(architecture)
        taps = tuple(layers if self.legacy_features and k >= first_dual - 1 else k for k in used)
        return FeaturePlan(first_dual, used, taps)

    def _existing_blocks(self, architecture: ClipArchitecture) -> tuple[int, ...]:
        layers = architecture.vision_layers
        used = tuple(sorted({block for block in self.features if block <= layers}))
        if not used or used[0] < 1:
            raise ConfigError(
                f"Features {_listed(self.features)} do not fit {architecture.name}: its blocks are 1 to "
                f"{layers}, and at least one of them must be named.",
                do="Give the --features of the training; upstream's are 6,12,18,24, or 24 alone.",
            )
        return used

    def _checked_dpam(self, architecture: ClipArchitecture) -> int:
        highest = architecture.vision_layers + 1
        if not 2 <= self.dpam <= highest:
            raise ConfigError(
                f"A dpam of {self.dpam} does not fit {architecture.name}: with {architecture.vision_layers} "
                f"blocks it can be 2 to {highest}, and N means the last N - 1 blocks.",
                do="Give the --dpam of the training; upstream's fixed 20 is for the 24 blocks of ViT-L.",
            )
        return self.dpam


def similarity_logits(features: Tensor, text: Tensor) -> Tensor:
    """Cosine similarity / 0.07: features (..., D) and unit text (2, D) → (..., 2), normal first.

    In float32, whatever the dtype of the features: their squares overflow in float16.
    """
    features = features.float()
    unit = features / features.norm(dim=-1, keepdim=True)
    logits: Tensor = unit @ (text / TEMPERATURE).transpose(0, 1)
    return logits


def abnormal_probability(features: Tensor, text: Tensor) -> Tensor:
    """Features (..., D) and unit text (2, D) → (...), in [0, 1]."""
    return similarity_logits(features, text).softmax(dim=-1)[..., 1]


def encode_prompts(tower: TextTower, embeddings: Tensor, end: Tensor, deep_prompts: Tensor) -> Tensor:
    """Prompts → unit text features (2, D); shapes as in `TextTower.forward`.

    Deep prompts are rounded to float16 first, as upstream does in training and in use; all else keeps its
    dtype.
    """
    rounded = deep_prompts.half().to(embeddings.dtype)
    return functional.normalize(tower(embeddings, end, rounded), dim=-1)


def fold_text(clip: ClipWeights, checkpoint: PromptCheckpoint) -> Tensor:
    """The text side as a constant: unit features (2, D) float32, normal and abnormal."""
    tower = load_text_tower(clip)
    with torch.no_grad():
        return encode_prompts(
            tower, checkpoint.embeddings(), checkpoint.end_of_text(), checkpoint.deep_prompts
        )


class AnomalyClipGraph(Network):
    """The deployable network: the text side is a constant in it."""

    text: Tensor

    def __init__(
        self, vision: VisionTower, text: Tensor, plan: FeaturePlan, size_px: tuple[int, int]
    ) -> None:
        super().__init__()
        self.size_px = size_px
        self.vision = vision
        self.plan = plan
        self.register_buffer("text", text)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 3, S, S) float32 → image score (b,) in [0, 1], anomaly map (b, g, g) in [0, number of layers].

        The map is the SUM over the used layers of the abnormal probability of each patch.
        """
        features = self.features(image)
        score = abnormal_probability(features.class_feature, self.text)
        maps = {block: self._patch_map(features, block) for block in features.patch_features}
        first, *rest = self.plan.taps
        total = maps[first]
        for block in rest:
            total = total + maps[block]
        return score, total

    def attentions(self) -> int:
        """One per block, and a second one per block that runs the new path."""
        layers = len(self.vision.transformer.blocks())
        return layers + sum(self.plan.needs_new_path(block) for block in range(1, layers + 1))

    def blocks(self) -> Sequence[nn.Module]:
        """The blocks of the image tower."""
        return self.vision.transformer.blocks()

    def features(self, image: Tensor) -> VisionFeatures:
        """What the image is before it meets the text; see `VisionTower.forward`."""
        features: VisionFeatures = self.vision(image, self.plan)
        return features

    def layer_maps(self, image: Tensor) -> Tensor:
        """(b, 3, S, S) → (b, L, g, g): the abnormal probability per used layer, in the order of depth."""
        features = self.features(image)
        return torch.stack([self._patch_map(features, block) for block in self.plan.taps], dim=1)

    def _patch_map(self, features: VisionFeatures, block: int) -> Tensor:
        patches = abnormal_probability(features.patch_features[block], self.text)
        grid = round(patches.shape[-1] ** 0.5)
        square: Tensor = patches.unflatten(-1, (grid, grid))
        return square


def build_graph(
    clip: ClipWeights, checkpoint: PromptCheckpoint, settings: AnomalyClipSettings
) -> AnomalyClipGraph:
    """The network for one CLIP file, one checkpoint and the settings of its training.

    Raises `ModelFileError` when the two files do not belong together, `ConfigError` when the settings do not
    fit the backbone.
    """
    plan = settings.plan(clip.architecture)
    grid = settings.grid(clip.architecture)
    checkpoint.check_against(clip)
    size_px = (settings.image_size, settings.image_size)
    return AnomalyClipGraph(load_vision_tower(clip, grid), fold_text(clip, checkpoint), plan, size_px).eval()


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(str(number) for number in numbers)
