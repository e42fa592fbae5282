"""The network: what fits together, what is left out of it, and what it must not depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ConfigError, EdgeError, ModelFileError

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")

from export.aaclip.adapter_checkpoint import read_image_adapter, read_text_adapter
from export.aaclip.network import AaClipGraph, build_graph, resize_positions
from export.aaclip.sentences import abnormal_sentences, normal_sentences
from export.aaclip.settings import AaClipSettings
from export.aaclip.tokenizer import read_vocabulary
from export.clip_file import read_clip_file

Make = Callable[..., dict[str, Any]]
Build = Callable[..., AaClipGraph]
SETTINGS = AaClipSettings(product="object", image_size=44, levels=(1, 3, 4))


@pytest.fixture
def build(
    aaclip_files: Any,
    image_adapter: Make,
    text_adapter: Make,
    save_adapter: Callable[..., Path],
    tmp_path: Path,
) -> Build:
    """The small network; keyword arguments replace the adapters' sizes or the settings."""
    clip = read_clip_file(aaclip_files.clip)
    vocabulary = read_vocabulary(aaclip_files.vocabulary)

    def make(
        settings: AaClipSettings = SETTINGS,
        *,
        image: dict[str, Any] | None = None,
        text: dict[str, Any] | None = None,
    ) -> AaClipGraph:
        image_file = save_adapter("image_adapter", image_adapter(**(image or {})), tmp_path / "image.pth")
        text_file = save_adapter("text_adapter", text_adapter(**(text or {})), tmp_path / "text.pth")
        return build_graph(
            clip, read_image_adapter(image_file), read_text_adapter(text_file), vocabulary, settings
        )

    return make


def test_sentences_are_upstreams() -> None:
    assert normal_sentences("ring") == (
        "ring.", "a photo of ring.", "a ring.", "a photo of a ring.", "the ring.", "a photo of the ring.",
    )  # fmt: skip
    assert len(abnormal_sentences("ring")) == 10
    assert abnormal_sentences("ring")[4:6] == ("a ring with flaw.", "a photo of a ring with flaw.")


def test_the_words_for_the_product_may_hold_braces() -> None:
    assert normal_sentences("{0} {}")[0] == "{0} {}."


def test_blocks_after_the_last_level_are_left_out(build: Build) -> None:
    network = build()
    assert network.attentions() == len(network.blocks()) == 4
    names = [name for name, _ in network.named_parameters()]
    assert not any("resblocks.4." in name for name in names)


def test_patches_of_a_batch_do_not_meet(torch: Any, build: Build) -> None:
    network = build()
    images = torch.randn(3, 3, 44, 44, generator=torch.Generator().manual_seed(0))
    scores, maps = network(images)
    assert scores.shape == (3,)
    assert maps.shape == (3, 5, 5)
    alone = [network(image[None]) for image in images]
    assert torch.allclose(scores, torch.cat([score for score, _ in alone]), atol=1e-6)
    assert torch.allclose(maps, torch.cat([grid for _, grid in alone]), atol=1e-4)


def test_a_text_feature_has_length_one_and_depends_on_the_product(torch: Any, build: Build) -> None:
    one, other = build().text, build(replace(SETTINGS, product="metal ring")).text
    assert torch.allclose(one.norm(dim=1), torch.ones(2), atol=1e-6)
    assert (one - other).abs().max() > 1e-3


def test_a_weight_of_zero_is_no_adapter(torch: Any, build: Build) -> None:
    settings = replace(SETTINGS, image_adapt_weight=0.0)
    image = torch.randn(1, 3, 44, 44, generator=torch.Generator().manual_seed(0))
    without, with_others = build(settings), build(settings)
    blocks: Any = with_others.blocks()
    for block in blocks[:2]:
        block.adapter.fc.weight = torch.nn.Parameter(-block.adapter.fc.weight)
    assert torch.equal(without(image)[1], with_others(image)[1])
    assert not torch.allclose(without(image)[1], build()(image)[1])


def test_positions_that_fit_are_kept_and_the_class_row_always(torch: Any) -> None:
    positions = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert resize_positions(positions, 7) is positions
    assert torch.equal(resize_positions(positions, 5)[0], positions[0])
    assert resize_positions(positions, 11).shape == (122, 8)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"levels": ()}, "not block numbers in ascending order"),
        ({"levels": (0, 2, 3)}, "not block numbers in ascending order"),
        ({"levels": (3, 1, 4)}, "not block numbers in ascending order"),
        ({"levels": (1, 3, 3)}, "not block numbers in ascending order"),
        ({"levels": (1, 3, 6)}, "which has 5 blocks"),
        ({"levels": (1, 3)}, r"3 level projections \(seg_proj\), and 2 levels were given: 1,3"),
        ({"image_size": 7}, "image size of 7 px"),
        ({"image_size": 8 * 129}, "image size of 1032 px"),
        ({"image_adapt_weight": 1.01}, "1.01 for the image side"),
        ({"text_adapt_weight": float("nan")}, "nan for the text side"),
        ({"product": " \n"}, "No words"),
        ({"product": "ring " * 40}, "fewer words"),
        ({"product": "the ring\u2019s"}, "straight quotes"),
    ],
)
def test_settings_that_cannot_be_are_refused(build: Build, change: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        build(replace(SETTINGS, **change))


@pytest.mark.parametrize(
    ("image", "text", "why"),
    [
        ({"width": 192}, {}, r"vision tower of 192 channels, and ViT 128x5.* has 128"),
        ({"adapters": 6}, {}, "adapters for 6 blocks, and the vision tower has 5"),
        ({"embed_dim": 48}, {}, r"compares in 48 dimensions, and the text of .*text\.pth has 32"),
        ({}, {"embed_dim": 48}, r"compares in 32 dimensions, and the text of .*text\.pth has 48"),
        ({}, {"width": 128}, r"text tower of 128 channels, and ViT 128x5.* has 64"),
        ({}, {"adapters": 4}, "adapters for 4 blocks, and the text tower has 3"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    build: Build, image: dict[str, int], text: dict[str, int], why: str
) -> None:
    with pytest.raises(ModelFileError, match=why):
        build(image=image, text=text)


def test_without_a_text_adapter_the_width_must_be_clips_own(
    aaclip_files: Any, image_adapter: Make, save_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    file = save_adapter("image_adapter", image_adapter(embed_dim=48), tmp_path / "image.pth")
    with pytest.raises(EdgeError, match=r"48 dimensions, and the text of ViT 128x5.* has 32"):
        build_graph(
            read_clip_file(aaclip_files.clip),
            read_image_adapter(file),
            None,
            read_vocabulary(aaclip_files.vocabulary),
            SETTINGS,
        )


def test_both_adapters_may_compare_in_another_width_than_clip(torch: Any, build: Build) -> None:
    network = build(image={"embed_dim": 48}, text={"embed_dim": 48})
    assert network.text.shape == (2, 48)
    assert network(torch.zeros(1, 3, 44, 44))[1].shape == (1, 5, 5)
