"""The image tower and its second path against the definition, written out naively."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")

import torch
from torch import Tensor, nn

from export.clip_file import ClipArchitecture, ClipWeights
from export.vision_tower import FeaturePlan, VisionTower, load_vision_tower, resize_positions

GRID = 4
PLAN = FeaturePlan(first_dual=2, layers_used=(1, 3, 4), taps=(1, 3, 4))


@pytest.fixture(scope="module")
def tower(clip: ClipWeights) -> VisionTower:
    return load_vision_tower(clip, GRID)


@pytest.fixture(scope="module")
def images() -> Tensor:
    # 36 px hold 4 patches of 8 and 4 px that are left over
    return torch.randn(2, 3, 36, 36, generator=torch.Generator().manual_seed(8))


def naive(tower: VisionTower, images: Tensor, first_dual: int) -> tuple[Tensor, list[Tensor]]:
    """All rows of both paths through all blocks: class feature, and the tapped tokens of every block."""
    original, new, tapped = tower.embed(images), None, []
    for number, block in enumerate(tower.transformer.blocks(), start=1):
        if number >= first_dual:
            new = original if new is None else new
            width = original.shape[-1]
            stacked = block.ln_1(original) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
            values = stacked[..., 2 * width :].unflatten(-1, (-1, 64)).transpose(1, 2)
            attended = (values @ values.mT / 8).softmax(-1) @ values
            new = new + block.attn.out_proj(attended.transpose(1, 2).flatten(2))
        original, _ = block(original, None, class_token_only=False)
        tapped.append(original if new is None else new)
    return original[:, 0] @ tower.proj, tapped


def test_features_equal_the_naive_computation(tower: VisionTower, images: Tensor) -> None:
    features = tower(images, PLAN)
    class_feature, tapped = naive(tower, images, first_dual=2)
    torch.testing.assert_close(features.class_feature, class_feature, rtol=0, atol=1e-5)
    assert sorted(features.patch_features) == [1, 3, 4]
    for block, patches in features.patch_features.items():
        expected = (tower.ln_post(tapped[block - 1]) @ tower.proj)[:, 1:]
        torch.testing.assert_close(patches, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("first_dual", [1, 2, 3, 4])
def test_class_feature_does_not_depend_on_the_plan(
    tower: VisionTower, images: Tensor, first_dual: int
) -> None:
    reference = tower(images, FeaturePlan(4, (1,), (1,)))
    features = tower(images, FeaturePlan(first_dual, (2, 4), (2, 4)))
    assert torch.equal(features.class_feature, reference.class_feature)


def test_every_image_of_a_batch_is_treated_as_if_alone(tower: VisionTower, images: Tensor) -> None:
    together = tower(images, PLAN)
    for i in range(len(images)):
        alone = tower(images[i : i + 1], PLAN)
        torch.testing.assert_close(together.class_feature[i], alone.class_feature[0], rtol=0, atol=1e-5)
        for block, patches in alone.patch_features.items():
            torch.testing.assert_close(together.patch_features[block][i], patches[0], rtol=0, atol=1e-5)


def test_pixels_beyond_the_last_whole_patch_are_dropped(tower: VisionTower, images: Tensor) -> None:
    cropped = tower(images[:, :, :32, :32], PLAN)
    assert torch.equal(tower(images, PLAN).class_feature, cropped.class_feature)


def test_work_that_feeds_nothing_is_left_out(tower: VisionTower, images: Tensor) -> None:
    rows: list[tuple[int, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "export.transformer.SelfAttention.attend",
            lambda _self, query, key, value: (rows.append((query.shape[2], key.shape[2])), query)[1],
        )
        tower(images, FeaturePlan(first_dual=2, layers_used=(3,), taps=(3,)))
    # block 1 plain; blocks 2 and 3 the new path and the original one; block 4 one row of the original path
    assert rows == [(17, 17), (17, 17), (17, 17), (17, 17), (17, 17), (1, 17)]


def test_gradients_reach_every_parameter(architecture: ClipArchitecture, images: Tensor) -> None:
    tower = VisionTower(architecture)
    for parameter in tower.parameters():
        nn.init.normal_(parameter, std=0.1)
    features = tower(images, PLAN)
    loss = features.class_feature.square().sum() + sum(
        patches.square().sum() for patches in features.patch_features.values()
    )
    loss.backward()
    for name, parameter in tower.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_bfloat16_autocast_stays_close(tower: VisionTower, images: Tensor) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = tower(images, PLAN)
    plain = tower(images, PLAN)
    similarity = torch.cosine_similarity(mixed.patch_features[4].float(), plain.patch_features[4], dim=-1)
    assert similarity.min() > 0.99


def test_positions_are_resized_bilinearly_with_half_pixel_centres() -> None:
    ramp = torch.tensor([[9.0], [0.0], [1.0], [0.0], [1.0]])
    resized = resize_positions(ramp, 4)
    assert resized[0].item() == 9.0
    torch.testing.assert_close(resized[1:, 0].unflatten(0, (4, 4)), torch.tensor([[0, 0.25, 0.75, 1.0]] * 4))
    assert resize_positions(ramp, 2) is ramp


def test_folded_positions_equal_resizing_on_the_fly(
    clip: ClipWeights, tower: VisionTower, images: Tensor
) -> None:
    native = load_vision_tower(clip, clip.architecture.native_grid)
    assert tower.positional_embedding.shape == (GRID**2 + 1, 128)
    torch.testing.assert_close(native(images, PLAN).class_feature, tower(images, PLAN).class_feature)
