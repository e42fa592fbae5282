"""The hand-written transformer block against torch's own modules."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")

import torch
from torch import nn
from torch.nn import functional

from export.transformer import Block, LayerNorm, QuickGelu


@pytest.fixture
def block() -> Block:
    torch.manual_seed(3)
    block = Block(128)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.1)
    return block


@pytest.mark.parametrize("masked", [False, True])
def test_block_equals_torchs_own_attention(block: Block, masked: bool) -> None:
    theirs = nn.MultiheadAttention(128, num_heads=2, batch_first=True)
    theirs.load_state_dict(block.attn.state_dict())
    tokens = torch.randn(3, 7, 128)
    mask = torch.full((7, 7), -torch.inf).triu(1) if masked else None
    normed = functional.layer_norm(tokens, (128,), block.ln_1.weight, block.ln_1.bias, 1e-5)
    expected = tokens + theirs(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
    hidden = block.mlp.c_fc(functional.layer_norm(expected, (128,), block.ln_2.weight, block.ln_2.bias, 1e-5))
    expected = expected + block.mlp.c_proj(hidden * torch.sigmoid(1.702 * hidden))
    torch.testing.assert_close(block(tokens, mask), expected, rtol=0, atol=1e-5)


def test_separate_projections_equal_the_stacked_one(block: Block) -> None:
    tokens = torch.randn(2, 5, 128)
    query, key, value = block.attn.project(tokens)
    torch.testing.assert_close(block.attn.project_query(tokens), query)
    for ours, theirs in zip(block.attn.project_key_value(tokens), (key, value), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_layer_norm_of_half_precision_is_computed_in_single() -> None:
    norm = LayerNorm(64).half()
    tokens = 300 * torch.randn(4, 64)  # squares beyond the largest float16
    normed = norm(tokens.half())
    assert normed.dtype == torch.float16
    expected = functional.layer_norm(tokens.half().float(), (64,))
    torch.testing.assert_close(normed.float(), expected, rtol=1e-3, atol=1e-3)


def test_quick_gelu_is_not_the_exact_one() -> None:
    assert QuickGelu()(torch.tensor(1.0)).item() == pytest.approx(0.845796, abs=1e-6)
