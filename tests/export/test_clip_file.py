"""CLIP files in OpenAI's names: containers, the architecture they spell, and everything that is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")

import torch
from safetensors.torch import save_file

from edge.errors import ModelFileError
from export.clip_file import ClipArchitecture, read_clip_file
from export.text_tower import TextTower
from export.vision_tower import VisionTower

Entries = dict[str, torch.Tensor]


@pytest.fixture
def entries(architecture: ClipArchitecture, random_entries: Callable[..., Entries]) -> Entries:
    return random_entries(architecture)


def saved(content: object, folder: Path) -> Path:
    path = folder / "clip.pt"
    torch.save(content, path)
    return path


def test_both_containers_give_the_same_weights(
    entries: Entries, architecture: ClipArchitecture, save_torchscript: Callable[..., None], tmp_path: Path
) -> None:
    scalars = {"input_resolution": torch.tensor(24), "logit_scale": torch.tensor(4.6)}
    save_torchscript(entries | scalars, tmp_path / "archive.pt")
    from_archive = read_clip_file(tmp_path / "archive.pt")
    from_state_dict = read_clip_file(saved(entries | scalars, tmp_path))
    assert from_archive.architecture == from_state_dict.architecture == architecture
    assert from_archive.entries.keys() == from_state_dict.entries.keys() == entries.keys()
    for name, tensor in from_archive.entries.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, entries[name].float())
        assert torch.equal(tensor, from_state_dict.entries[name])
    assert from_archive.sha256 != from_state_dict.sha256


def test_a_state_dict_of_the_old_format_is_read(entries: Entries, tmp_path: Path) -> None:
    torch.save(entries, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert read_clip_file(tmp_path / "old.pt").entries.keys() == entries.keys()


def test_values_beyond_float16_are_read(entries: Entries, tmp_path: Path) -> None:
    entries["visual.proj"] = torch.full((128, 32), 1e30)
    assert torch.equal(
        read_clip_file(saved(entries, tmp_path)).entries["visual.proj"], entries["visual.proj"]
    )


def test_towers_need_exactly_the_entries_of_a_file(architecture: ClipArchitecture) -> None:
    with torch.device("meta"):
        vision, text = VisionTower(architecture), TextTower(architecture)
    needed = {f"visual.{name}": tuple(t.shape) for name, t in vision.state_dict().items()}
    needed |= {name: tuple(t.shape) for name, t in text.state_dict().items()}
    assert needed == architecture.shapes()


@pytest.mark.parametrize(
    ("width", "layers", "patch", "grid", "name"),
    [
        (768, 12, 32, 7, "ViT-B/32"),
        (768, 12, 16, 14, "ViT-B/16"),
        (1024, 24, 14, 16, "ViT-L/14"),
        (1024, 24, 14, 24, "ViT-L/14@336px"),
        (192, 6, 16, 8, "ViT 192x6, patch 16, native grid 8"),
    ],
)
def test_backbone_name(width: int, layers: int, patch: int, grid: int, name: str) -> None:
    architecture = ClipArchitecture(
        vision_width=width,
        vision_layers=layers,
        patch=patch,
        native_grid=grid,
        embed_dim=512,
        context_length=77,
        vocab_size=49408,
        text_width=512,
        text_layers=12,
    )
    assert architecture.name == name


def without(name: str) -> Callable[[Entries], Entries]:
    return lambda entries: {key: tensor for key, tensor in entries.items() if key != name}


def without_any(prefix: str) -> Callable[[Entries], Entries]:
    return lambda entries: {key: tensor for key, tensor in entries.items() if not key.startswith(prefix)}


def with_entry(name: str, tensor: torch.Tensor) -> Callable[[Entries], Entries]:
    return lambda entries: entries | {name: tensor}


BLOCK = "visual.transformer.resblocks.1."


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        # entries that the architecture is read from
        (without("visual.conv1.weight"), "visual.conv1.weight is missing"),
        (with_entry("text_projection", torch.ones(64)), r"text_projection has the shape \[64\]"),
        (with_entry("token_embedding.weight", torch.ones(0, 64)), "token_embedding.weight has the shape"),
        (with_entry("token_embedding.weight", torch.ones(42, 0)), "token_embedding.weight has the shape"),
        (with_entry("visual.positional_embedding", torch.ones(1, 128)), "has no patch in its positional"),
        (without_any("visual.transformer."), "it has no block in its vision tower"),
        (without_any("transformer."), "it has no block in its text tower"),
        # entries of the blocks
        (without("visual.proj"), "lacks, in OpenAI's names, visual.proj"),
        (
            without(BLOCK + "attn.in_proj_bias"),
            "lacks, in OpenAI's names, visual.transformer.resblocks.1.attn.in_proj_bias",
        ),
        (with_entry(BLOCK + "adapter", torch.ones(2)), "no CLIP ViT has: visual.transformer.resblocks.1.ad"),
        (with_entry(BLOCK + "ln_1.bias", torch.ones(64)), r"is \[64\] where the other entries need \[128\]"),
        # a grid that is no square, a width that is no multiple of a head
        (with_entry("visual.positional_embedding", torch.ones(9, 128)), r"\[9, 128\] .* need \[5, 128\]"),
        (with_entry("ln_final.weight", torch.ones(65)), "text tower .* is 65 wide"),
        # towers of two models
        (with_entry("visual.proj", torch.ones(128, 48)), r"visual.proj is \[128, 48\] .* need \[128, 32\]"),
        (
            with_entry("ln_final.weight", torch.ones(128)),
            r"positional_embedding is \[12, 64\] .* \[12, 128\]",
        ),
        # values
        (with_entry("ln_final.bias", torch.full((64,), torch.nan)), "ln_final.bias holds values"),
        (with_entry("ln_final.bias", torch.full((64,), torch.inf)), "ln_final.bias holds values"),
        (
            with_entry("ln_final.bias", torch.full((64,), 1e39, dtype=torch.float64)),
            "ln_final.bias holds val",
        ),
        # containers of something else
        (lambda e: {"weights": e, "epoch": 3}, "not tensors, for example 'weights'"),
        (lambda e: list(e.values()), "holds a list where named tensors belong"),
        (lambda e: {}, "holds a dict where named tensors belong"),
    ],
)
def test_wrong_content_is_named(
    alter: Callable[[Entries], object], message: str, entries: Entries, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=message) as caught:
        read_clip_file(saved(alter(entries), tmp_path))
    assert "clip.pt" in caught.value.what
    assert caught.value.do


@pytest.mark.parametrize("container", ["zip", "old", "torchscript", "safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_truncated_file(
    container: str,
    kept: float,
    entries: Entries,
    save_torchscript: Callable[..., None],
    tmp_path: Path,
) -> None:
    path = tmp_path / ("clip.safetensors" if container == "safetensors" else "clip.pt")
    if container == "torchscript":
        save_torchscript(entries, path)
    elif container == "safetensors":
        save_file(entries, path)
    else:
        torch.save(entries, path, _use_new_zipfile_serialization=container == "zip")
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ModelFileError, match="truncated, damaged"):
        read_clip_file(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 no archive"])
def test_file_of_another_kind(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "clip.pt").write_bytes(content)
    with pytest.raises(ModelFileError, match="truncated, damaged or of another kind"):
        read_clip_file(tmp_path / "clip.pt")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read: No such file"):
        read_clip_file(tmp_path / "absent.pt")
    with pytest.raises(ModelFileError, match="cannot be read: Is a directory"):
        read_clip_file(tmp_path)


class Malicious:
    """Unpickling it creates the file at `trace`."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return open, (f"{self.trace}", "w")  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ("zip", r"asks for _?io\.open to be run on loading"),
        ("old", r"asks for _?io\.open to be run on loading"),
        ("bare", "is a bare pickle, which can run code; it was not opened"),
    ],
)
def test_code_in_a_pickle_is_refused_and_not_run(
    container: str, message: str, entries: Entries, tmp_path: Path
) -> None:
    path, trace = tmp_path / "clip.pt", tmp_path / "code_was_run"
    content = entries | {"visual.proj": Malicious(trace)}
    if container == "bare":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=container == "zip")
    with pytest.raises(ModelFileError, match=message):
        read_clip_file(path)
    assert not trace.exists()
