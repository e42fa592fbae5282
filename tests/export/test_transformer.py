"""The hand-written transformer block against torch's own modules."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")

import torch
from torch import nn
from torch.nn import functional

from export.transformer import Attention, Block, ExactGelu, LayerNorm, Linear, QuickGelu, Transformer


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


def test_the_two_activations() -> None:
    one = torch.tensor(1.0)
    assert QuickGelu()(one).item() == pytest.approx(0.845796, abs=1e-6)
    assert ExactGelu()(one).item() == pytest.approx(0.841345, abs=1e-6)


@pytest.mark.parametrize("activation", [QuickGelu, ExactGelu])
def test_activations_do_not_overflow_in_half_precision(activation: type[nn.Module]) -> None:
    extremes = torch.tensor([-65504.0, -40000, -1, 0, 1, 40000, 65504], dtype=torch.float16)
    found = activation()(extremes)
    assert found.dtype == torch.float16
    assert found.isfinite().all()
    torch.testing.assert_close(found[5:], extremes[5:])
    assert (found[:2] == 0).all()


@pytest.mark.parametrize("activation", [QuickGelu, ExactGelu])
def test_blocks_of_a_transformer_have_the_activation_asked_for(
    activation: type[QuickGelu] | type[ExactGelu],
) -> None:
    blocks = Transformer(64, layers=2, activation=activation).blocks()
    assert [type(block.mlp.gelu) for block in blocks] == [activation, activation]
    assert "mlp.c_fc.weight" in blocks[0].state_dict()


def test_products_follow_their_weights_and_sums_their_tokens(block: Block) -> None:
    tokens = torch.randn(2, 5, 128)
    expected = block(tokens)
    for module in (block.attn, block.mlp.c_fc, block.mlp.c_proj):
        module.half()
    assert Linear(4, 4).half()(torch.randn(1, 4)).dtype == torch.float16
    assert block.attn(tokens).dtype == torch.float16
    found = block(tokens)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-2)


def test_softmax_in_single_precision_is_a_switch(block: Block) -> None:
    attention: Attention = block.attn.half()
    query, key, value = attention.project(torch.randn(1, 6, 128))
    attention.fp32_softmax = True
    scores = (query * 0.125) @ key.transpose(-2, -1)
    expected = scores.float().softmax(-1).half() @ value
    assert torch.equal(attention.attend(query, key, value), expected)
    attention.fp32_softmax = False
    assert torch.equal(attention.attend(query, key, value), scores.softmax(-1) @ value)
