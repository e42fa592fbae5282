"""CLIP's image tower with AnomalyCLIP's second path (DPAM), for export and for training alike.

    images ─▶ patches + class token ─▶ blocks ──────┬─▶ original path ─▶ class feature (never ln_post)
                                      first dual ─▶ └─▶ new path ──────▶ patch features (ln_post)

In every dual block the original path advances as in plain CLIP, and the new path gains the attention of the
values to themselves. The new path never feeds back, so the class feature does not depend on it.

Tokens of both paths keep the dtype of the embeddings, and so does what is summed into them; products have the
dtype of their weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.clip_file import ClipArchitecture, ClipWeights
from export.transformer import LayerNorm, ResidualBlock, SelfAttention


@dataclass(frozen=True, slots=True)
class FeaturePlan:
    """Which blocks run two paths and whose patch tokens are wanted. Blocks count from 1.

    `first_dual` is the first block with a second path; all later ones have it too, the last block always.
    `layers_used` are the selected blocks, ascending. `taps` names for each of them the block whose tokens
    stand for it: the block itself, except with legacy features.
    """

    first_dual: int
    layers_used: tuple[int, ...]
    taps: tuple[int, ...]

    def needs_new_path(self, block: int) -> bool:
        """Whether the second path runs in this block: it does up to the last block that is tapped."""
        return self.first_dual <= block <= max(self.taps)


@dataclass(frozen=True, slots=True, eq=False)
class VisionFeatures:
    """What the text is compared with; none of it is normalised to unit length.

    `class_feature` is (b, D). `patch_features` maps each tapped block to (b, g·g, D), patches row by row.
    """

    class_feature: Tensor
    patch_features: Mapping[int, Tensor]


class TwoPathAttention(SelfAttention):
    """Self-attention that also lets the values attend to themselves."""

    def forward(self, tokens: Tensor, *, with_values: bool, first_row: bool) -> tuple[Tensor, Tensor | None]:
        """(b, n, w) → what the original path gains, and what the new path gains, each (b, n, w).

        The new path's is None without `with_values`. With `first_row` the original path's is that of the first
        token alone, (b, 1, w).
        """
        if first_row:
            query = self.project_query(tokens[:, :1])
            key, value = self.project_key_value(tokens)
        else:
            query, key, value = self.project(tokens)
        of_values = self.merge(self.attend(value, value, value)) if with_values else None
        return self.merge(self.attend(query, key, value)), of_values


class TwoPathBlock(ResidualBlock):
    """CLIP's block, which can carry the new path along."""

    attn: TwoPathAttention

    def __init__(self, width: int) -> None:
        super().__init__(TwoPathAttention(width))

    def forward(
        self, original: Tensor, new: Tensor | None, *, class_token_only: bool
    ) -> tuple[Tensor, Tensor | None]:
        """One block on both paths, each (b, n, w); without a new path it is plain CLIP's.

        With `class_token_only` the original path returns (b, 1, w). The new path has no MLP and no LayerNorm of
        its own, and shares the output projection.
        """
        gained, gained_by_new = self.attn(
            self.ln_1(original), with_values=new is not None, first_row=class_token_only
        )
        if class_token_only:
            original = original[:, :1]
        if new is not None:
            new = new + gained_by_new
        return self.feed_forward(original + gained), new


class TwoPathTransformer(nn.Module):
    """The blocks of the image tower, under OpenAI's name `resblocks`."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(TwoPathBlock(width) for _ in range(layers))

    def blocks(self) -> list[TwoPathBlock]:
        """The blocks in order, as their own type."""
        return [block for block in self.resblocks if isinstance(block, TwoPathBlock)]


class VisionTower(nn.Module):
    """Parameters are uninitialised until loaded or initialised by the caller."""

    FP16_PARAMETERS: ClassVar = ("proj",)

    def __init__(self, architecture: ClipArchitecture) -> None:
        super().__init__()
        width, patch = architecture.vision_width, architecture.patch
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(architecture.native_grid**2 + 1, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = TwoPathTransformer(width, architecture.vision_layers)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, architecture.embed_dim))

    def forward(self, images: Tensor, plan: FeaturePlan) -> VisionFeatures:
        """(b, 3, S, S), normalised RGB → features.

        Work that feeds nothing is left out: the new path after its last tap, and in the last block all rows
        of the original path but the class token's.
        """
        original = self.embed(images)
        new: Tensor | None = None
        tapped: dict[int, Tensor] = {}
        blocks = self.transformer.blocks()
        for number, block in enumerate(blocks, start=1):
            if number == plan.first_dual:
                new = original
            if not plan.needs_new_path(number):
                new = None
            original, new = block(original, new, class_token_only=number == len(blocks))
            if number in plan.taps:
                tapped[number] = original if new is None else new
        return VisionFeatures(
            class_feature=self.project(original[:, 0]),
            patch_features={
                number: self.project(self.ln_post(tokens[:, 1:])) for number, tokens in tapped.items()
            },
        )

    def embed(self, images: Tensor) -> Tensor:
        """(b, 3, S, S) → (b, 1 + g·g, w): class token first, then patches row by row.

        g = S // patch; the convolution drops the pixels that are left over at the right and bottom.
        """
        patches = self.conv1(images.to(self.conv1.weight.dtype))
        positions = resize_positions(self.positional_embedding, patches.shape[-1])
        class_token = self.class_embedding.expand(patches.shape[0], 1, -1)
        patch_tokens = patches.flatten(2).transpose(1, 2).to(class_token.dtype)
        tokens = torch.cat([class_token, patch_tokens], dim=1) + positions
        normed: Tensor = self.ln_pre(tokens)
        return normed

    def project(self, tokens: Tensor) -> Tensor:
        """(..., w) → (..., D), the space of the text, in the dtype of the projection."""
        projected: Tensor = tokens.to(self.proj.dtype) @ self.proj
        return projected


def resize_positions(embedding: Tensor, grid: int) -> Tensor:
    """(1 + n·n, w) → (1 + grid·grid, w): the class row kept, the rest resized as AnomalyCLIP does.

    Bilinear with half-pixel centres and without antialiasing, not CLIP's usual bicubic.
    """
    native = round((embedding.shape[0] - 1) ** 0.5)
    if grid == native:
        return embedding
    plane = embedding[1:].unflatten(0, (native, native)).permute(2, 0, 1)[None]
    resized = functional.interpolate(plane, size=(grid, grid), mode="bilinear", align_corners=False)
    return torch.cat([embedding[:1], resized[0].flatten(1).transpose(0, 1)])


def load_vision_tower(clip: ClipWeights, grid: int) -> VisionTower:
    """The file's image tower with the positional embedding folded to `grid`, without gradients.

    The tower shares its memory with `clip`.
    """
    entries = clip.vision_entries()
    entries["positional_embedding"] = resize_positions(entries["positional_embedding"], grid)
    with torch.device("meta"):
        tower = VisionTower(replace(clip.architecture, native_grid=grid))
    tower.load_state_dict(entries, assign=True)
    return tower.eval().requires_grad_(False)
