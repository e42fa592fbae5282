"""CLIP's transformer, with attention written out by hand. Both towers are built from it.

Parameter names are OpenAI's, so a slice of a CLIP file's entries loads directly. Every function is
differentiable, takes any batch size, and follows the device and dtype of its input.

Attention is written out because TensorRT fuses `(q * s) @ kᵀ → softmax → @ v` with one multiply on q, and
because exporters turn torch's own attention into a scale on both q and k, or into an operator that TensorRT
10.3 does not have.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD_DIM = 64
"""Width of one attention head in every CLIP ViT and in its text tower."""

LAYER_NORM_EPS = 1e-5


class LayerNorm(nn.LayerNorm):
    """LayerNorm that computes in float32 and returns the dtype of its input."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=LAYER_NORM_EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., w) → (..., w)."""
        scaled = functional.layer_norm(
            tokens.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps
        )
        return scaled.to(tokens.dtype)


class QuickGelu(nn.Module):
    """x · sigmoid(1.702 x), the activation of OpenAI's CLIP."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Elementwise."""
        return tokens * torch.sigmoid(1.702 * tokens)


class Attention(nn.Module):
    """Multi-head self-attention with q, k and v stacked in one projection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(b, n, w) → (b, n, w); `mask` (n, n) is added to the scores."""
        return self.merge(attend(*self.project(tokens), mask))

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(b, n, w) → q, k, v, each (b, heads, n, 64); q is not scaled yet."""
        stacked = functional.linear(tokens, self.in_proj_weight, self.in_proj_bias)
        query, key, value = (_heads(part) for part in stacked.chunk(3, dim=-1))
        return query, key, value

    def project_query(self, tokens: Tensor) -> Tensor:
        """(b, n, w) → q (b, heads, n, 64), not scaled yet."""
        return _heads(
            functional.linear(tokens, self.in_proj_weight[: self.width], self.in_proj_bias[: self.width])
        )

    def project_key_value(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(b, n, w) → k, v, each (b, heads, n, 64)."""
        stacked = functional.linear(
            tokens, self.in_proj_weight[self.width :], self.in_proj_bias[self.width :]
        )
        key, value = (_heads(part) for part in stacked.chunk(2, dim=-1))
        return key, value

    def merge(self, heads: Tensor) -> Tensor:
        """(b, heads, n, 64) → (b, n, w): heads side by side, then the output projection."""
        merged: Tensor = self.out_proj(heads.transpose(1, 2).flatten(2))
        return merged


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / √64 + mask) v, over (b, heads, n, 64)."""
    scores = (query * HEAD_DIM**-0.5) @ key.transpose(-2, -1)
    if mask is not None:
        scores = scores + mask
    attended: Tensor = scores.softmax(dim=-1) @ value
    return attended


class Block(nn.Module):
    """x += attention(ln_1 x); x += mlp(ln_2 x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = Attention(width)
        self.ln_1 = LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, 4 * width), gelu=QuickGelu(), c_proj=nn.Linear(4 * width, width)
            )
        )
        self.ln_2 = LayerNorm(width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(b, n, w) → (b, n, w)."""
        return self.feed_forward(tokens + self.attn(self.ln_1(tokens), mask))

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """The second half: x + mlp(ln_2 x)."""
        advanced: Tensor = tokens + self.mlp(self.ln_2(tokens))
        return advanced


class Transformer(nn.Module):
    """The blocks, under OpenAI's name `resblocks`. The towers decide how they are run."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width) for _ in range(layers))

    def blocks(self) -> list[Block]:
        """The blocks in order, as their own type."""
        return [block for block in self.resblocks if isinstance(block, Block)]


def _heads(tokens: Tensor) -> Tensor:
    """(b, n, w) → (b, heads, n, 64)."""
    heads: Tensor = tokens.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2)
    return heads
