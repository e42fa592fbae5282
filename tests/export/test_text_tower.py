"""The text tower, its deep prompts, and the constant that they are folded into."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")

import torch

from export.anomalyclip import encode_prompts, fold_text
from export.clip_file import ClipWeights
from export.prompt_checkpoint import PromptCheckpoint
from export.text_tower import TextTower, load_text_tower, overwrite_rows


@pytest.fixture(scope="module")
def tower(clip: ClipWeights) -> TextTower:
    return load_text_tower(clip)


def test_words_after_the_end_do_not_matter(tower: TextTower, checkpoint: PromptCheckpoint) -> None:
    end = checkpoint.end_of_text()
    embeddings = checkpoint.embeddings()
    altered = embeddings.clone()
    after = int(end.max()) + 1
    altered[:, after:] = torch.randn(2, 12 - after, 64)
    features = tower(embeddings, end, checkpoint.deep_prompts)
    assert torch.equal(tower(altered, end, checkpoint.deep_prompts), features)
    altered[:, 3] = torch.randn(2, 64)
    assert not torch.allclose(tower(altered, end, checkpoint.deep_prompts), features)


def test_deep_prompts_equal_the_tower_cut_open(tower: TextTower, checkpoint: PromptCheckpoint) -> None:
    embeddings, end, deep = checkpoint.embeddings(), checkpoint.end_of_text(), checkpoint.deep_prompts
    mask = torch.full((12, 12), -torch.inf).triu(1)
    tokens = embeddings + tower.positional_embedding
    first, second, third = tower.transformer.blocks()
    tokens = first(tokens, mask)
    tokens[:, 1:3] = deep[0]
    tokens = second(tokens, mask)
    tokens[:, 1:3] = deep[1]
    tokens = tower.ln_final(third(tokens, mask))
    expected = torch.stack([tokens[0, end[0]], tokens[1, end[1]]]) @ tower.text_projection
    torch.testing.assert_close(tower(embeddings, end, deep), expected, rtol=0, atol=1e-5)


def test_prompts_for_more_blocks_than_there_are_change_nothing(
    tower: TextTower, checkpoint: PromptCheckpoint
) -> None:
    embeddings, end, deep = checkpoint.embeddings(), checkpoint.end_of_text(), checkpoint.deep_prompts
    surplus = torch.cat([deep, torch.randn(4, *deep.shape[1:])])
    assert torch.equal(tower(embeddings, end, surplus), tower(embeddings, end, deep))


def test_overwritten_rows() -> None:
    tokens = torch.arange(12.0).reshape(2, 6, 1)
    result = overwrite_rows(tokens, torch.tensor([[-1.0], [-2.0]]))
    assert result[..., 0].tolist() == [[0, -1, -2, 3, 4, 5], [6, -1, -2, 9, 10, 11]]


def test_deep_prompts_are_rounded_to_half_precision(tower: TextTower, checkpoint: PromptCheckpoint) -> None:
    embeddings, end, deep = checkpoint.embeddings(), checkpoint.end_of_text(), checkpoint.deep_prompts
    rounded = deep.half().float()
    assert not torch.equal(rounded, deep)
    features = encode_prompts(tower, embeddings, end, deep)
    assert torch.equal(features, encode_prompts(tower, embeddings, end, rounded))
    raw = torch.nn.functional.normalize(tower(embeddings, end, deep), dim=-1)
    assert not torch.equal(features, raw)


def test_folded_text_is_two_unit_vectors(clip: ClipWeights, checkpoint: PromptCheckpoint) -> None:
    text = fold_text(clip, checkpoint)
    assert text.shape == (2, clip.architecture.embed_dim)
    assert text.dtype == torch.float32
    assert not text.requires_grad
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(2))


def test_gradients_reach_context_and_deep_prompts(tower: TextTower, checkpoint: PromptCheckpoint) -> None:
    context = checkpoint.context.clone().requires_grad_()
    deep = checkpoint.deep_prompts.clone().requires_grad_()
    embeddings = torch.cat([checkpoint.prefix, context, checkpoint.suffix], dim=1)
    encode_prompts(tower, embeddings, checkpoint.end_of_text(), deep)[:, 0].sum().backward()
    assert context.grad is not None
    assert deep.grad is not None
    assert context.grad.abs().sum() > 0
    assert (deep.grad.abs().sum(dim=(1, 2)) > 0).all()
