"""CLIP's blocks as AA-CLIP runs them: exact GELU, and after the first of them an adapter mixed in.

x ─▶ block ─▶ x ─▶ a = LeakyReLU(W x) ─▶ a · |x| / |a| ─▶ w a + (1 - w) x ─▶
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional

from export.transformer import Block, ExactGelu, Linear

LEAKY_SLOPE = 0.01


class Adapter(nn.Module):
    """A linear map with LeakyReLU, scaled to the length of what went in, mixed in with weight `mix`.

    Lengths are those of each token over its channels.
    """

    def __init__(self, width: int, mix: float) -> None:
        super().__init__()
        self.fc = Linear(width, width, bias=False)
        self.mix = mix

    def forward(self, tokens: Tensor) -> Tensor:
        """(b, n, w) → (b, n, w), in the dtype of the tokens; squares of lengths overflow in float16."""
        adapted = functional.leaky_relu(self.fc(tokens), LEAKY_SLOPE).to(tokens.dtype)
        matched = adapted * (_length(tokens) / _length(adapted))
        return self.mix * matched + (1 - self.mix) * tokens


class Projection(nn.Module):
    """Into the space of the text, without bias, with a LeakyReLU after it or not."""

    def __init__(self, width: int, embed_dim: int, *, activated: bool) -> None:
        super().__init__()
        self.fc = Linear(width, embed_dim, bias=False)
        self.activated = activated

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., w) → (..., d), in the dtype of the weights."""
        projected: Tensor = self.fc(tokens)
        return functional.leaky_relu(projected, LEAKY_SLOPE) if self.activated else projected


class AdaptedBlock(Block):
    """CLIP's block and, for `mix` other than None, an adapter after it."""

    def __init__(self, width: int, mix: float | None) -> None:
        super().__init__(width, ExactGelu)
        self.adapter = None if mix is None else Adapter(width, mix)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(b, n, w) → (b, n, w)."""
        advanced = super().forward(tokens, mask)
        return advanced if self.adapter is None else self.adapter(advanced)


class AdaptedTransformer(nn.Module):
    """The blocks, under OpenAI's name `resblocks`; the first `adapters` of them have one."""

    def __init__(self, width: int, layers: int, adapters: int, mix: float) -> None:
        super().__init__()
        mixes = [mix if number < adapters else None for number in range(layers)]
        self.resblocks = nn.ModuleList(AdaptedBlock(width, own) for own in mixes)

    def blocks(self) -> list[AdaptedBlock]:
        """The blocks in order, as their own type."""
        return [block for block in self.resblocks if isinstance(block, AdaptedBlock)]


def unit(features: Tensor) -> Tensor:
    """(..., d) → float32 of length 1; squares overflow in float16."""
    features = features.float()
    return features / _length(features)


def with_adapters(
    entries: Mapping[str, Tensor], layers: int, adapters: Sequence[Tensor]
) -> dict[str, Tensor]:
    """A tower's entries of the first `layers` blocks, and the matrices of the adapters after them."""
    kept = {name: tensor for name, tensor in entries.items() if _block_of(name) < layers}
    named = {
        f"transformer.resblocks.{k}.adapter.fc.weight": matrix for k, matrix in enumerate(adapters[:layers])
    }
    return kept | named


def _block_of(name: str) -> int:
    """The number of an entry's block, from 0; -1 for one outside the blocks."""
    parts = name.split(".")
    return int(parts[2]) if parts[:2] == ["transformer", "resblocks"] else -1


def _length(tokens: Tensor) -> Tensor:
    """(..., w) → (..., 1)."""
    length: Tensor = tokens.norm(dim=-1, keepdim=True)
    return length
