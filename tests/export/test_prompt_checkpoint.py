"""Prompt checkpoints: what is inferred, what is checked, and the free check against the CLIP file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")

import torch

from edge.errors import ModelFileError
from export.clip_file import ClipArchitecture, ClipWeights, read_clip_file
from export.prompt_checkpoint import PromptCheckpoint, read_prompt_checkpoint

Learner = dict[str, torch.Tensor]


@pytest.fixture
def learner(
    architecture: ClipArchitecture,
    random_entries: Callable[..., Learner],
    random_prompts: Callable[..., Learner],
) -> Learner:
    return random_prompts(random_entries(architecture))


def read(learner: object, folder: Path) -> PromptCheckpoint:
    torch.save({"prompt_learner": learner}, folder / "epoch_15.pth")
    return read_prompt_checkpoint(folder / "epoch_15.pth")


@pytest.mark.parametrize(("n_ctx", "t_n_ctx", "depth"), [(4, 2, 3), (1, 1, 2), (6, 4, 1), (2, 5, 4)])
def test_sizes_are_inferred(
    n_ctx: int,
    t_n_ctx: int,
    depth: int,
    architecture: ClipArchitecture,
    clip: ClipWeights,
    random_entries: Callable[..., Learner],
    random_prompts: Callable[..., Learner],
    tmp_path: Path,
) -> None:
    entries = random_entries(architecture)
    checkpoint = read(random_prompts(entries, n_ctx=n_ctx, t_n_ctx=t_n_ctx, depth=depth), tmp_path)
    assert (checkpoint.n_ctx, checkpoint.depth) == (n_ctx, depth)
    assert checkpoint.t_n_ctx == (t_n_ctx if depth > 1 else 0)
    assert checkpoint.embeddings().shape == (2, 12, 64)
    # start, context, "object" or "damaged object", end
    assert checkpoint.end_of_text().tolist() == [n_ctx + 2, n_ctx + 3]
    checkpoint.check_against(clip)


def test_rows_are_normal_then_abnormal(learner: Learner, tmp_path: Path) -> None:
    checkpoint = read(learner, tmp_path)
    assert torch.equal(checkpoint.context[0], learner["ctx_pos"][0, 0])
    assert torch.equal(checkpoint.context[1], learner["ctx_neg"][0, 0])
    assert torch.equal(checkpoint.embeddings()[1, 5:], learner["token_suffix_neg"][0, 0])
    assert torch.equal(checkpoint.deep_prompts[1], learner["compound_prompts_text.1"])


def test_ids_of_old_torch_and_half_precision_are_read(learner: Learner, tmp_path: Path) -> None:
    older = {
        name: tensor.long() if "tokenized" in name else tensor.half() for name, tensor in learner.items()
    }
    checkpoint = read(older, tmp_path)
    assert checkpoint.token_ids.dtype == torch.int64
    assert checkpoint.context.dtype == checkpoint.deep_prompts.dtype == torch.float32


def test_the_unused_projections_may_be_anything(learner: Learner, tmp_path: Path) -> None:
    altered = learner | {"compound_prompt_projections.0.weight": torch.full((3,), torch.nan)}
    assert torch.equal(read(altered, tmp_path).context, read(learner, tmp_path).context)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("ctx_neg", None, "lacks ctx_neg"),
        ("tokenized_prompts_pos", None, "lacks tokenized_prompts_pos"),
        ("compound_prompts_text.0", None, r"lacks the deep prompt compound_prompts_text\.0"),
        ("ctx_neg", torch.ones(1, 1, 3, 64), r"ctx_neg is \[1, 1, 3, 64\] where \[1, 1, 4, 64\] belongs"),
        ("ctx_pos", torch.ones(2, 1, 4, 64), r"ctx_pos is \[2, 1, 4, 64\] where \[1, 1, any, any\] belongs"),
        ("ctx_pos", torch.ones(4, 64), "ctx_pos is"),
        ("token_suffix_pos", torch.ones(1, 1, 8, 64), r"token_suffix_pos .* \[1, 1, 7, 64\] belongs"),
        ("tokenized_prompts_neg", torch.ones(1, 1, 77), "tokenized_prompts_neg is"),
        ("compound_prompts_text.1", torch.ones(3, 64), r"deep prompt is \[3, 64\] where \[2, 64\] belongs"),
        ("compound_prompts_text.0", torch.ones(64), r"deep prompt is \[64\] where \[m, 64\] belongs"),
        ("ctx_pos", torch.full((1, 1, 4, 64), torch.nan), "ctx_pos holds values"),
        ("adapter.weight", torch.ones(1), "does not have: adapter.weight"),
    ],
)
def test_wrong_content_is_named(
    name: str, tensor: torch.Tensor | None, message: str, learner: Learner, tmp_path: Path
) -> None:
    altered = {key: value for key, value in learner.items() if key != name}
    if tensor is not None:
        altered[name] = tensor
    with pytest.raises(ModelFileError, match=message) as caught:
        read(altered, tmp_path)
    assert "epoch_15.pth" in caught.value.what


def test_deep_prompts_longer_than_the_sequence(learner: Learner, tmp_path: Path) -> None:
    long = {name: torch.ones(12, 64) for name in learner if name.startswith("compound_prompts_text")}
    with pytest.raises(ModelFileError, match="deep prompts of 12 tokens do not fit 12 tokens"):
        read(learner | long, tmp_path)


def test_another_checkpoint_is_refused(learner: Learner, tmp_path: Path) -> None:
    torch.save(learner, tmp_path / "epoch_15.pth")
    with pytest.raises(ModelFileError, match="it has no entry prompt_learner"):
        read_prompt_checkpoint(tmp_path / "epoch_15.pth")
    with pytest.raises(ModelFileError, match="holds a list where named tensors belong"):
        read(list(learner.values()), tmp_path)


def test_a_torchscript_clip_file_is_no_checkpoint(
    learner: Learner, save_torchscript: Callable[[Learner, Path], None], tmp_path: Path
) -> None:
    save_torchscript(learner, tmp_path / "clip.pt")
    with pytest.raises(ModelFileError, match="TorchScript archive, not a prompt checkpoint"):
        read_prompt_checkpoint(tmp_path / "clip.pt")


def test_another_clip_file_of_equal_shapes_is_noticed(
    architecture: ClipArchitecture,
    random_entries: Callable[..., Learner],
    checkpoint: PromptCheckpoint,
    tmp_path: Path,
) -> None:
    torch.save(random_entries(architecture, seed=5), tmp_path / "other.pt")
    with pytest.raises(ModelFileError, match="the embedding of the start token differs") as caught:
        checkpoint.check_against(read_clip_file(tmp_path / "other.pt"))
    assert str(checkpoint.path) in caught.value.what
    assert str(tmp_path / "other.pt") in caught.value.what
    assert "was trained with another CLIP file" in caught.value.what


@pytest.mark.parametrize(
    ("entries_of", "message"),
    [
        ({"text_width": 128}, "64 wide and the text tower 128"),
        ({"context_length": 13}, "12 tokens and the text tower 13"),
        ({"vocab_size": 40}, "token 40 is not in the vocabulary"),
    ],
)
def test_a_clip_file_of_other_shapes_is_noticed(
    entries_of: dict[str, int],
    message: str,
    architecture: ClipArchitecture,
    random_entries: Callable[..., Learner],
    checkpoint: PromptCheckpoint,
    tmp_path: Path,
) -> None:
    torch.save(random_entries(replace(architecture, **entries_of)), tmp_path / "other.pt")
    with pytest.raises(ModelFileError, match=message):
        checkpoint.check_against(read_clip_file(tmp_path / "other.pt"))
