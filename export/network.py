"""What the exporter asks of every torch network that it turns into a bundle, whatever its head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Network(nn.Module):
    """A deployable network, the text side folded into constants.

    `size_px` is (height, width) of its input.

    `export.half_precision.half` makes its FP16 counterpart out of it without knowing the head. For that to
    work, whatever multiplies by a matrix casts its input to the dtype of its weights (as `export.transformer`'s
    `Linear` and `Attention` do), so that everything else stays float32 by torch's own promotion: the residual
    stream, LayerNorm, the final normalise, similarity and softmax. A parameter that no `Linear` or
    `Attention` owns turns float16 only where its module names it in a class attribute `FP16_PARAMETERS`.
    Text constants are buffers, and buffers are left alone.
    """

    size_px: tuple[int, int]

    @abstractmethod
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 3, height, width) float32, normalised RGB → score (b,), grid map (b, rows, columns), float32."""

    @abstractmethod
    def attentions(self) -> int:
        """How many attentions it computes for one picture; the graph must show as many."""

    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """What can be kept in FP32 apart, first to last; people count them from 1.

        Submodules of this network, each entered by calling it, for the names of the graph's nodes to tell it.
        """
