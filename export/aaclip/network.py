"""AA-CLIP: image → image score and grid map, the text of one product being a constant in the graph.

    patches + class token ─▶ blocks with adapters ─▶ a level ─▶ ln_post ─▶ projection ─▶ · text ─▶ grid map
                                                    last level ─▶ ln_post ─▶ projection ─▶ mean ─▶ · text ─▶ score

Blocks after the last level are left out. The class token is scored nowhere; it takes part in the attentions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.aaclip.adapter_checkpoint import ImageAdapter, TextAdapter
from export.aaclip.settings import AaClipSettings, check_text_side
from export.aaclip.text import fold_text
from export.aaclip.tokenizer import Vocabulary
from export.aaclip.transformer import AdaptedTransformer, Projection, unit, with_adapters
from export.clip_file import ClipArchitecture, ClipWeights
from export.network import Network
from export.transformer import LayerNorm

SIMILARITY_SCALE = 100.0
"""AA-CLIP's fixed factor on cosines in the map; CLIP's own `logit_scale` is not used."""


class AaClipFeatures(NamedTuple):
    """What the text is compared with, float32: the mean of unit vectors (b, d), and unit vectors of the patches,
    row by row, (b, g·g, d) for each level."""

    detection: Tensor
    levels: list[Tensor]


class AdaptedVisionTower(nn.Module):
    """Parameters are uninitialised until loaded. `architecture` gives the grid of the input, not the native."""

    def __init__(
        self, architecture: ClipArchitecture, adapter: ImageAdapter, settings: AaClipSettings
    ) -> None:
        super().__init__()
        width, patch, activated = architecture.vision_width, architecture.patch, adapter.activated
        self.level_numbers = settings.levels
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(architecture.native_grid**2 + 1, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = AdaptedTransformer(
            width, settings.levels[-1], len(adapter.adapters), settings.image_adapt_weight
        )
        self.ln_post = LayerNorm(width)
        self.seg_proj = nn.ModuleList(
            Projection(width, adapter.embed_dim, activated=activated) for _ in settings.levels
        )
        self.det_proj = Projection(width, adapter.embed_dim, activated=activated)

    def forward(self, images: Tensor) -> AaClipFeatures:
        """(b, 3, S, S), normalised RGB → features."""
        levels = self.level_tokens(self.embed(images))
        patches = [unit(project(tokens)) for project, tokens in zip(self.seg_proj, levels, strict=True)]
        return AaClipFeatures(unit(self.det_proj(levels[-1])).mean(dim=1), patches)

    def embed(self, images: Tensor) -> Tensor:
        """(b, 3, S, S) → (b, 1 + g·g, w): class token first, then patches row by row.

        g = S // patch; the convolution drops the pixels that are left over at the right and bottom.
        """
        patches = self.conv1(images.to(self.conv1.weight.dtype))
        class_token = self.class_embedding.expand(len(patches), 1, -1)
        patch_tokens = patches.flatten(2).transpose(1, 2).to(class_token.dtype)
        normed: Tensor = self.ln_pre(
            torch.cat([class_token, patch_tokens], dim=1) + self.positional_embedding
        )
        return normed

    def level_tokens(self, tokens: Tensor) -> list[Tensor]:
        """(b, 1 + g·g, w) → patch tokens (b, g·g, w) after each level's block and adapter, through ln_post."""
        levels: list[Tensor] = []
        for number, block in enumerate(self.transformer.blocks(), start=1):
            tokens = block(tokens)
            if number in self.level_numbers:
                levels.append(self.ln_post(tokens[:, 1:]))
        return levels


class AaClipGraph(Network):
    """The deployable network for one product."""

    text: Tensor

    def __init__(self, vision: AdaptedVisionTower, text: Tensor, size_px: tuple[int, int]) -> None:
        super().__init__()
        self.size_px = size_px
        self.vision = vision
        self.register_buffer("text", text)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 3, S, S) float32 → image score (b,) in [0, 1], anomaly map (b, g, g).

        The score is (cosine to the abnormal text + 1) / 2 of the detection vector. The map is the SUM over the
        levels of (s_abnormal + 1 - s_normal) / 2, each s 100 times a cosine: unbounded, and no probability.
        """
        features: AaClipFeatures = self.vision(image)
        score = (features.detection @ self.text[1] + 1) / 2
        total = torch.stack([patches @ self.map_direction() for patches in features.levels]).sum(dim=0)
        grid = round(total.shape[-1] ** 0.5)
        return score, (total + 0.5 * len(features.levels)).unflatten(-1, (grid, grid))

    def map_direction(self) -> Tensor:
        """(d,): what a level's map grows along; its length is how far a unit vector can move it.

        One product with the difference of the texts stands for the difference of two products.
        """
        return SIMILARITY_SCALE / 2 * (self.text[1] - self.text[0])

    def attentions(self) -> int:
        """One per block up to the last level."""
        return len(self.blocks())

    def blocks(self) -> Sequence[nn.Module]:
        """The blocks of the image tower, each with its adapter."""
        return self.vision.transformer.blocks()


def build_graph(
    clip: ClipWeights,
    image: ImageAdapter,
    text: TextAdapter | None,
    vocabulary: Vocabulary,
    settings: AaClipSettings,
) -> AaClipGraph:
    """The network for the files of one training and one product.

    Raises `ModelFileError` when the files do not belong together, `ConfigError` when the settings do not fit
    them or the words for the product cannot be encoded.
    """
    grid = settings.grid(clip.architecture)
    settings.check_image_side(clip.architecture, image)
    check_text_side(clip.architecture, image, text)
    tokenizer = vocabulary.sized(clip.architecture.vocab_size)
    features = fold_text(clip, text, settings.text_adapt_weight, tokenizer, settings.product)
    vision = _load_vision(clip, image, settings, grid)
    return AaClipGraph(vision, features, (settings.image_size, settings.image_size)).eval()


def resize_positions(embedding: Tensor, grid: int) -> Tensor:
    """(1 + n·n, w) → (1 + grid·grid, w): the class row kept, the rest resized as AA-CLIP does.

    Bicubic with half-pixel centres and with antialiasing, so not as AnomalyCLIP does.
    """
    native = round((embedding.shape[0] - 1) ** 0.5)
    if grid == native:
        return embedding
    plane = embedding[1:].unflatten(0, (native, native)).permute(2, 0, 1)[None]
    resized = functional.interpolate(
        plane, size=(grid, grid), mode="bicubic", align_corners=False, antialias=True
    )
    return torch.cat([embedding[:1], resized[0].flatten(1).transpose(0, 1)])


def _load_vision(
    clip: ClipWeights, adapter: ImageAdapter, settings: AaClipSettings, grid: int
) -> AdaptedVisionTower:
    """The image side without gradients; it shares its memory with `clip` and `adapter`."""
    entries = with_adapters(clip.vision_entries(), settings.levels[-1], adapter.adapters)
    del entries["proj"]  # CLIP's projection of the class token, which is not used
    entries["positional_embedding"] = resize_positions(entries["positional_embedding"], grid)
    entries["det_proj.fc.weight"] = adapter.detection_projection
    entries |= {f"seg_proj.{i}.fc.weight": matrix for i, matrix in enumerate(adapter.level_projections)}
    with torch.device("meta"):
        tower = AdaptedVisionTower(replace(clip.architecture, native_grid=grid), adapter, settings)
    tower.load_state_dict(entries, assign=True)
    return tower.eval().requires_grad_(False)
