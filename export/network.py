"""What the exporter asks of every torch network that it turns into a bundle, whatever its head."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn


class Network(nn.Module):
    """A deployable network, the text side folded into constants.

    `size_px` is (height, width) of its input.
    """

    size_px: tuple[int, int]

    @abstractmethod
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 3, height, width) float32, normalised RGB → score (b,), grid map (b, rows, columns), float32."""

    @abstractmethod
    def attentions(self) -> int:
        """How many attentions it computes for one picture; the graph must show as many."""
