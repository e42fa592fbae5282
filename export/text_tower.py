"""CLIP's text tower with AnomalyCLIP's deep prompts, for folding the text and for training prompts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.clip_file import ClipArchitecture, ClipWeights
from export.transformer import LayerNorm, Transformer


class TextTower(nn.Module):
    """Parameters are uninitialised until loaded or initialised by the caller."""

    def __init__(self, architecture: ClipArchitecture) -> None:
        super().__init__()
        width = architecture.text_width
        self.token_embedding = nn.Embedding(architecture.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(architecture.context_length, width))
        self.transformer = Transformer(width, architecture.text_layers)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, architecture.embed_dim))

    def forward(self, embeddings: Tensor, end: Tensor, deep_prompts: Tensor) -> Tensor:
        """Token embeddings → text features (b, D), not normalised.

        `embeddings` is (b, n, t) without positions, `end` (b,) the row of the end-of-text token, and
        `deep_prompts` (d - 1, m, t): before block i = 1 … d - 1, counted from 0, rows 1 … m of the sequence
        are overwritten by entry i - 1. It may be empty (0, m, t).
        """
        tokens = embeddings + self.positional_embedding
        mask = causal_mask(tokens)
        for number, block in enumerate(self.transformer.blocks()):
            if 1 <= number <= len(deep_prompts):
                tokens = overwrite_rows(tokens, deep_prompts[number - 1])
            tokens = block(tokens, mask)
        rows = torch.arange(len(tokens), device=tokens.device)
        features: Tensor = self.ln_final(tokens)[rows, end] @ self.text_projection
        return features


def overwrite_rows(tokens: Tensor, prompt: Tensor) -> Tensor:
    """(b, n, t) with rows 1 … m replaced by `prompt` (m, t), row 0 kept."""
    deep = prompt.to(tokens.dtype).expand(len(tokens), -1, -1)
    return torch.cat([tokens[:, :1], deep, tokens[:, 1 + len(prompt) :]], dim=1)


def causal_mask(tokens: Tensor) -> Tensor:
    """(n, n) that is -inf above the diagonal and 0 elsewhere, for tokens (b, n, t)."""
    length = tokens.shape[1]
    return torch.full((length, length), -torch.inf, dtype=tokens.dtype, device=tokens.device).triu(1)


def load_text_tower(clip: ClipWeights) -> TextTower:
    """The file's text tower, without gradients. It shares its memory with `clip`."""
    with torch.device("meta"):
        tower = TextTower(clip.architecture)
    tower.load_state_dict(clip.text_entries(), assign=True)
    return tower.eval().requires_grad_(False)
