"""Settings of the training and what the graph makes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")

import torch
from torch import Tensor

from edge.errors import ConfigError, ModelFileError
from export.anomalyclip import (
    AnomalyClipGraph,
    AnomalyClipSettings,
    abnormal_probability,
    build_graph,
    similarity_logits,
)
from export.clip_file import ClipArchitecture, ClipWeights
from export.prompt_checkpoint import PromptCheckpoint

SETTINGS = AnomalyClipSettings(image_size=36, dpam=3, features=(2, 4))


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.randn(2, 3, 36, 36, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def graph(clip: ClipWeights, checkpoint: PromptCheckpoint) -> AnomalyClipGraph:
    return build_graph(clip, checkpoint, SETTINGS)


def outputs(
    clip: ClipWeights, checkpoint: PromptCheckpoint, image: Tensor, **settings: object
) -> tuple[Tensor, Tensor]:
    score, anomaly_map = build_graph(clip, checkpoint, replace(SETTINGS, **settings))(image)  # type: ignore[arg-type]
    return score, anomaly_map


@pytest.mark.parametrize(
    ("layers", "dpam", "features", "legacy", "first_dual", "used", "taps"),
    [
        # N replaces the last N - 1 blocks
        (24, 20, (6, 12, 18, 24), False, 6, (6, 12, 18, 24), (6, 12, 18, 24)),
        (12, 13, (12,), False, 1, (12,), (12,)),
        (12, 10, (3, 6), False, 4, (3, 6), (3, 6)),
        (12, 2, (1,), False, 12, (1,), (1,)),
        # numbers above the layers are ignored, order and repetition do not matter
        (12, 10, (24, 18, 12, 6, 6), False, 4, (6, 12), (6, 12)),
        # legacy: blocks from first_dual - 1 on return the finished new path
        (24, 20, (6, 12, 18, 24), True, 6, (6, 12, 18, 24), (24, 24, 24, 24)),
        (24, 20, (4, 5, 6), True, 6, (4, 5, 6), (4, 24, 24)),
        (12, 13, (1, 6), True, 1, (1, 6), (12, 12)),
        (24, 20, (3, 4), True, 6, (3, 4), (3, 4)),
    ],
)
def test_plan(
    layers: int,
    dpam: int,
    features: tuple[int, ...],
    legacy: bool,
    first_dual: int,
    used: tuple[int, ...],
    taps: tuple[int, ...],
    architecture: ClipArchitecture,
) -> None:
    settings = AnomalyClipSettings(image_size=518, dpam=dpam, features=features, legacy_features=legacy)
    plan = settings.plan(replace(architecture, vision_layers=layers))
    assert (plan.first_dual, plan.layers_used, plan.taps) == (first_dual, used, taps)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dpam": 1}, r"dpam of 1 does not fit .* it can be 2 to 5, and N means the last N - 1 blocks"),
        ({"dpam": 0}, "dpam of 0"),
        ({"dpam": 6}, "dpam of 6"),
        ({"dpam": 20}, "dpam of 20"),
        ({"features": (6, 12)}, "Features 6,12 do not fit .* blocks are 1 to 4"),
        ({"features": (0, 4)}, "Features 0,4 do not fit"),
        ({"features": (-1,)}, "Features -1 do not fit"),
        ({"image_size": 7}, "image size of 7 px does not suit .* patches of 8 px it can be 8 to 1031"),
        ({"image_size": 1032}, "image size of 1032 px does not suit"),
        ({"image_size": 0}, "image size of 0 px does not suit"),
        ({"image_size": -518}, "image size of -518 px"),
    ],
)
def test_settings_that_do_not_fit(
    changed: dict[str, object], message: str, clip: ClipWeights, checkpoint: PromptCheckpoint
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_graph(clip, checkpoint, replace(SETTINGS, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("sigma", [-1.0, 65.0, float("nan"), float("inf")])
def test_impossible_sigma(sigma: float) -> None:
    with pytest.raises(ConfigError, match="is not possible"):
        replace(SETTINGS, sigma=sigma)


def test_files_that_do_not_belong_together(clip: ClipWeights, checkpoint: PromptCheckpoint) -> None:
    alien = replace(checkpoint, prefix=checkpoint.prefix + 0.001)
    with pytest.raises(ModelFileError, match="was trained with another CLIP file"):
        build_graph(clip, alien, SETTINGS)


def test_probability_is_the_softmax_over_cosines() -> None:
    text = torch.eye(2, 3)
    feature = torch.tensor([3.0, 4.0, 0.0])  # cosines 0.6 and 0.8
    torch.testing.assert_close(similarity_logits(feature, text), torch.tensor([0.6, 0.8]) / 0.07)
    probability = abnormal_probability(5 * feature, text)
    torch.testing.assert_close(probability, torch.sigmoid(torch.tensor(0.2 / 0.07)))


def test_outputs_have_their_shapes_and_ranges(graph: AnomalyClipGraph, image: Tensor) -> None:
    score, anomaly_map = graph(image)
    assert score.shape == (2,)
    assert anomaly_map.shape == (2, 4, 4)
    assert ((score > 0) & (score < 1)).all()
    assert ((anomaly_map > 0) & (anomaly_map < 2)).all()


def test_map_is_the_sum_of_the_layer_maps(graph: AnomalyClipGraph, image: Tensor) -> None:
    layers = graph.layer_maps(image)
    assert layers.shape == (2, 2, 4, 4)
    torch.testing.assert_close(graph(image)[1], layers.sum(dim=1))
    torch.testing.assert_close(
        layers[:, 1].flatten(1), abnormal_probability(graph.features(image).patch_features[4], graph.text)
    )


@pytest.mark.parametrize("dpam", [2, 3, 4, 5])
def test_score_depends_neither_on_dpam_nor_on_features(
    dpam: int, clip: ClipWeights, checkpoint: PromptCheckpoint, image: Tensor
) -> None:
    reference, reference_map = outputs(clip, checkpoint, image)
    score, anomaly_map = outputs(clip, checkpoint, image, dpam=dpam, features=(1, 3, 4))
    assert torch.equal(score, reference)
    assert not torch.allclose(anomaly_map, reference_map)


@pytest.mark.parametrize("features", [(4, 2), (2, 4, 6, 24), (4, 2, 4)])
def test_order_repetition_and_absent_blocks_do_not_matter(
    features: tuple[int, ...], clip: ClipWeights, checkpoint: PromptCheckpoint, image: Tensor
) -> None:
    for ours, theirs in zip(
        outputs(clip, checkpoint, image, features=features), outputs(clip, checkpoint, image), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_legacy_features_repeat_the_last_map(
    clip: ClipWeights, checkpoint: PromptCheckpoint, image: Tensor
) -> None:
    # dpam 3: blocks 3 and 4 are dual, so blocks 2, 3 and 4 all return the finished new path
    _, last = outputs(clip, checkpoint, image, features=(4,))
    _, first = outputs(clip, checkpoint, image, features=(1,))
    _, legacy = outputs(clip, checkpoint, image, features=(2, 3, 4), legacy_features=True)
    torch.testing.assert_close(legacy, 3 * last)
    _, legacy = outputs(clip, checkpoint, image, features=(1, 3), legacy_features=True)
    torch.testing.assert_close(legacy, first + last)
