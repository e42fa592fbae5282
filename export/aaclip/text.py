"""AA-CLIP's text side, folded into a constant: what its sentences say about one product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from export.aaclip.adapter_checkpoint import TextAdapter
from export.aaclip.sentences import abnormal_sentences, normal_sentences
from export.aaclip.tokenizer import Tokenizer
from export.aaclip.transformer import AdaptedTransformer, Projection, unit, with_adapters
from export.clip_file import ClipArchitecture, ClipWeights
from export.text_tower import causal_mask
from export.transformer import LayerNorm


class AdaptedTextTower(nn.Module):
    """CLIP's text tower up to the row of the end-of-text token, with adapters in its first blocks."""

    def __init__(self, architecture: ClipArchitecture, adapters: int, mix: float) -> None:
        super().__init__()
        width = architecture.text_width
        self.token_embedding = nn.Embedding(architecture.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(architecture.context_length, width))
        self.transformer = AdaptedTransformer(width, architecture.text_layers, adapters, mix)
        self.ln_final = LayerNorm(width)

    def forward(self, token_ids: Tensor) -> Tensor:
        """(b, n) int64 → (b, t): the row of the token with the largest id."""
        tokens = self.token_embedding(token_ids) + self.positional_embedding
        mask = causal_mask(tokens)
        for block in self.transformer.blocks():
            tokens = block(tokens, mask)
        rows: Tensor = self.ln_final(tokens)[torch.arange(len(tokens)), token_ids.argmax(dim=1)]
        return rows


def fold_text(
    clip: ClipWeights, adapter: TextAdapter | None, mix: float, tokenizer: Tokenizer, product: str
) -> Tensor:
    """The text side as unit features (2, D) float32, row 0 normal, row 1 abnormal.

    Each sentence counts as a unit vector; a state is the direction of their mean. Without an adapter this is
    plain CLIP with exact GELU. Raises `ConfigError` when a sentence is too long for the text tower.
    """
    tower, projection = _load(clip, adapter, mix)
    length = clip.architecture.context_length
    with torch.no_grad():
        states = [
            unit(projection(tower(_token_ids(sentences, tokenizer, length)))).mean(dim=0)
            for sentences in (normal_sentences(product), abnormal_sentences(product))
        ]
    return unit(torch.stack(states))


def _token_ids(sentences: Sequence[str], tokenizer: Tokenizer, length: int) -> Tensor:
    return torch.tensor([tokenizer.sequence(sentence, length) for sentence in sentences])


def _load(clip: ClipWeights, adapter: TextAdapter | None, mix: float) -> tuple[AdaptedTextTower, Projection]:
    """The tower and what follows it, without gradients; they share their memory with `clip`."""
    architecture, entries = clip.architecture, clip.text_entries()
    plain = entries.pop("text_projection").transpose(0, 1)
    matrices = () if adapter is None else adapter.adapters
    weight = plain if adapter is None else adapter.projection
    with torch.device("meta"):
        tower = AdaptedTextTower(architecture, len(matrices), mix)
        projection = Projection(architecture.text_width, len(weight), activated=adapter is not None)
    tower.load_state_dict(with_adapters(entries, architecture.text_layers, matrices), assign=True)
    projection.load_state_dict({"fc.weight": weight}, assign=True)
    return tower.eval().requires_grad_(False), projection.eval().requires_grad_(False)
