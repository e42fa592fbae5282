"""Prompt checkpoints: what is inferred, what is checked, and the free check against the CLIP file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")

import torch
from safetensors.torch import save_file

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
        ("ctx_pos", torch.ones(1, 1, 4, 64, dtype=torch.int8), "ctx_pos is stored as int8"),
        ("ctx_pos", torch.ones(1, 1, 4, 0), r"ctx_pos is \[1, 1, 4, 0\] where"),
        (
            "tokenized_prompts_pos",
            torch.full((1, 1, 12), torch.nan),
            "_pos is stored as float32, where token",
        ),
        (
            "compound_prompts_text.0",
            torch.full((2, 64), -7e4),
            r"deep prompt reaches 7e\+04, which float16 does",
        ),
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


def test_names_with_the_prefix_of_data_parallel(learner: Learner, tmp_path: Path) -> None:
    prefixed = {f"module.{name}": tensor for name, tensor in learner.items()}
    assert torch.equal(read(prefixed, tmp_path).deep_prompts, read(learner, tmp_path).deep_prompts)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_truncated_file(kept: float, learner: Learner, tmp_path: Path) -> None:
    read(learner, tmp_path)
    path = tmp_path / "epoch_15.pth"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ModelFileError, match="truncated, damaged"):
        read_prompt_checkpoint(path)


def test_code_in_a_pickle_is_refused_and_not_run(learner: Learner, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"asks for \S+ to be run"):
        read(learner | {"ctx_pos": Touch(tmp_path / "code_was_run")}, tmp_path)
    assert not (tmp_path / "code_was_run").exists()


class Touch:
    """Unpickling it creates the file at `trace`."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def test_a_safetensors_file_is_no_checkpoint(learner: Learner, tmp_path: Path) -> None:
    save_file({name: tensor.clone() for name, tensor in learner.items()}, tmp_path / "epoch_15.pth")
    with pytest.raises(ModelFileError, match="is a safetensors file, not a prompt checkpoint"):
        read_prompt_checkpoint(tmp_path / "epoch_15.pth")


def test_a_torchscript_clip_file_is_no_checkpoint(
    learner: Learner, save_torchscript: Callable[[Learner, Path], None], tmp_path: Path
) -> None:
    save_torchscript(learner, tmp_path / "clip.pt")
    with pytest.raises(ModelFileError, match="is a TorchScript archive, not a prompt checkpoint"):
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


def clip_with(entries: Learner, **changed: Any) -> ClipWeights:
    """A CLIP file's content as the reader hands it out; `changed` is put over its architecture."""
    return ClipWeights(
        Path("clip.pt"),
        "0" * 64,
        replace(VIT_L_14, **changed),
        {name: tensor.float() for name, tensor in entries.items()},
    )


VIT_L_14 = ClipArchitecture(
    vision_width=1024,
    vision_layers=24,
    patch=14,
    native_grid=16,
    embed_dim=768,
    context_length=12,
    vocab_size=42,
    text_width=64,
    text_layers=12,
)


@pytest.mark.parametrize(
    ("clip_stored", "checkpoint_stored"),
    [
        ((), ()),
        # a copy of the CLIP file in 16 bits, directly or by way of the other kind
        ((torch.float16,), ()),
        ((torch.bfloat16,), ()),
        ((torch.float16, torch.bfloat16), ()),
        ((torch.bfloat16, torch.float16), ()),
        # a copy of the checkpoint
        ((), (torch.float16,)),
        ((), (torch.bfloat16,)),
        # of both
        ((torch.float16,), (torch.float16,)),
        ((torch.bfloat16,), (torch.bfloat16,)),
    ],
)
def test_copies_in_16_bits_are_the_same_file(
    clip_stored: tuple[torch.dtype, ...],
    checkpoint_stored: tuple[torch.dtype, ...],
    architecture: ClipArchitecture,
    random_entries: Callable[..., Learner],
    random_prompts: Callable[..., Learner],
    tmp_path: Path,
) -> None:
    entries = random_entries(architecture)
    learner = random_prompts(entries)
    for dtype in clip_stored:
        entries = {name: tensor.to(dtype) for name, tensor in entries.items()}
    for dtype in checkpoint_stored:
        learner = {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in learner.items()
        }
    read(learner, tmp_path).check_against(clip_with(entries))


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
def test_a_model_that_was_trained_on_is_another_file(
    stored: torch.dtype,
    architecture: ClipArchitecture,
    random_entries: Callable[..., Learner],
    checkpoint: PromptCheckpoint,
) -> None:
    # values apart by a fifth of bfloat16's rounding
    entries = random_entries(architecture)
    entries["token_embedding.weight"] = (entries["token_embedding.weight"] * (1 + 2**-10)).to(stored)
    with pytest.raises(ModelFileError, match="embedding of the start token differs"):
        checkpoint.check_against(clip_with(entries))


@pytest.mark.parametrize(
    ("width", "sizes", "advice"),
    [
        (768, {}, "it can be that of ViT-L/14@336px or other weights of ViT-L/14"),
        (768, {"native_grid": 24}, "it can be that of ViT-L/14 or other weights of ViT-L/14@336px"),
        (512, {}, "it can be that of ViT-B/32 or that of ViT-B/16"),
        (
            512,
            {"vision_width": 768, "vision_layers": 12, "patch": 32, "native_grid": 7},
            "that of ViT-B/16 or",
        ),
        (64, {}, "Give the CLIP file that the training used"),
    ],
)
def test_the_pair_is_named_and_what_it_may_be_instead(
    width: int, sizes: dict[str, int], advice: str, checkpoint: PromptCheckpoint
) -> None:
    wide = replace(checkpoint, prefix=torch.ones(2, 1, width), context=torch.ones(2, 4, width))
    clip = clip_with({"token_embedding.weight": torch.zeros(42, width)}, text_width=width, **sizes)
    with pytest.raises(ModelFileError, match="trained with another CLIP file") as caught:
        wide.check_against(clip)
    assert clip.architecture.name in caught.value.what
    assert advice in caught.value.do
