"""CLIP's transformer, with attention written out by hand. Both towers of every head are built from it.

Parameter names are OpenAI's, so a slice of a CLIP file's entries loads directly. Every function is
differentiable, takes any batch size, and follows the device of its input.

    tokens ─┬─▶ ln_1 ─▶ [q k v, attention, projection] ─▶ + ─┬─▶ ln_2 ─▶ [c_fc, activation, c_proj] ─▶ + ─▶
            └────────────────────────────────────────────▶ ┘ └──────────────────────────────────────▶ ┘

Tokens, sums and LayerNorm have the dtype of the tokens that come in; what stands in brackets has the dtype of
its weights. With float16 weights (see `export.half_precision`) the two branches are float16 between one cast at
each end, and the residual stream stays float32.

Attention is written out because TensorRT fuses `(q * s) @ kᵀ → softmax → @ v` with one multiply on q, and
because exporters turn torch's own attention into a scale on both q and k, or into an operator that TensorRT
10.3 does not have.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

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


class Linear(nn.Linear):
    """A linear layer that takes any dtype and returns that of its weights."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., in) → (..., out)."""
        return super().forward(tokens.to(self.weight.dtype))


class QuickGelu(nn.Module):
    """x · sigmoid(1.702 x), the activation of OpenAI's CLIP.

    In float16 the inner product overflows beyond |x| = 38 486, which the sigmoid answers with exactly 1 or 0:
    the result is still right.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Elementwise."""
        return tokens * torch.sigmoid(1.702 * tokens)


class ExactGelu(nn.GELU):
    """x · (1 + erf(x / √2)) / 2. No step of it is larger than x, in the exported graph either."""


Activation = type[QuickGelu] | type[ExactGelu]


class SelfAttention(nn.Module):
    """The parameters and the steps of multi-head self-attention, q, k and v stacked in one projection.

    `fp32_softmax` computes the softmax in float32 whatever the dtype of the weights. TensorRT then does not
    fuse the attention.
    """

    FP16_PARAMETERS: ClassVar = ("in_proj_weight", "in_proj_bias")
    fp32_softmax: bool = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = Linear(width, width)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(b, n, w) → q, k, v, each (b, heads, n, 64); q is not scaled yet."""
        query, key, value = self._projected(tokens, 0, 3)
        return query, key, value

    def project_query(self, tokens: Tensor) -> Tensor:
        """(b, n, w) → q (b, heads, n, 64), not scaled yet."""
        (query,) = self._projected(tokens, 0, 1)
        return query

    def project_key_value(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(b, n, w) → k, v, each (b, heads, n, 64)."""
        key, value = self._projected(tokens, 1, 3)
        return key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """softmax(q kᵀ / √64 + mask) v, over (b, heads, n, 64)."""
        scores = (query * HEAD_DIM**-0.5) @ key.transpose(-2, -1)
        if mask is not None:
            scores = scores + mask
        if self.fp32_softmax:
            scores = scores.float()
        attended: Tensor = scores.softmax(dim=-1).to(value.dtype) @ value
        return attended

    def merge(self, heads: Tensor) -> Tensor:
        """(b, heads, n, 64) → (b, n, w): heads side by side, then the output projection."""
        merged: Tensor = self.out_proj(heads.transpose(1, 2).flatten(2))
        return merged

    def _projected(self, tokens: Tensor, first: int, last: int) -> tuple[Tensor, ...]:
        """Parts `first` to `last`, exclusive, of q, k, v, each split into heads (b, heads, n, 64)."""
        rows = slice(first * self.width, last * self.width)
        weight, bias = self.in_proj_weight[rows], self.in_proj_bias[rows]
        stacked = functional.linear(tokens.to(weight.dtype), weight, bias)
        return tuple(_heads(part) for part in stacked.chunk(last - first, dim=-1))


class Attention(SelfAttention):
    """Plain multi-head self-attention."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(b, n, w) → (b, n, w); `mask` (n, n) is added to the scores."""
        return self.merge(self.attend(*self.project(tokens), mask))


class ResidualBlock(nn.Module):
    """The parameters of a block and its second half; how its attention is run is said by the subclass."""

    def __init__(self, attention: SelfAttention, activation: Activation = QuickGelu) -> None:
        super().__init__()
        width = attention.width
        self.attn = attention
        self.ln_1 = LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(c_fc=Linear(width, 4 * width), gelu=activation(), c_proj=Linear(4 * width, width))
        )
        self.ln_2 = LayerNorm(width)

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """The second half: x + mlp(ln_2 x)."""
        advanced: Tensor = tokens + self.mlp(self.ln_2(tokens))
        return advanced


class Block(ResidualBlock):
    """x += attention(ln_1 x); x += mlp(ln_2 x)."""

    def __init__(self, width: int, activation: Activation = QuickGelu) -> None:
        super().__init__(Attention(width), activation)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(b, n, w) → (b, n, w)."""
        return self.feed_forward(tokens + self.attn(self.ln_1(tokens), mask))


class Transformer(nn.Module):
    """The blocks, under OpenAI's name `resblocks`. The towers decide how they are run."""

    def __init__(self, width: int, layers: int, activation: Activation = QuickGelu) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, activation) for _ in range(layers))

    def blocks(self) -> list[Block]:
        """The blocks in order, as their own type."""
        return [block for block in self.resblocks if isinstance(block, Block)]


def _heads(tokens: Tensor) -> Tensor:
    """(b, n, w) → (b, heads, n, 64)."""
    heads: Tensor = tokens.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2)
    return heads
