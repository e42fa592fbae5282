"""Containers and what training programs put around a state dict: read where that is clear, else refused."""

from __future__ import annotations

import json
import pickle
import struct
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the exporter needs torch, which is not installed here")
pytest.importorskip("safetensors", reason="the exporter needs safetensors, which is not installed here")

import torch
from safetensors.torch import save_file

from edge.errors import ModelFileError
from export.stored_weights import files_of, read_tensors
from export.weights_file import Container, check_stored, container_of, read_safetensors, sha256_of

Entries = dict[str, torch.Tensor]

WEIGHTS: Entries = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "b.bias": torch.tensor([1.0, 2.0], dtype=torch.float16),
}


def saved(content: object, folder: Path) -> Path:
    path = folder / "model.pt"
    torch.save(content, path)
    return path


def same(found: Entries) -> bool:
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[name], WEIGHTS[name]) for name in found)


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("model.safetensors", Container.SAFETENSORS),
        # told by content, not by name
        ("model.pt", Container.SAFETENSORS),
        ("model", Container.SAFETENSORS),
    ],
)
def test_safetensors_by_any_name(name: str, container: Container, tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / name)
    assert container_of(tmp_path / name) is container
    assert same(read_tensors(tmp_path / name))


def test_a_header_whose_length_looks_like_a_pickle(tmp_path: Path) -> None:
    # 0x80 begins a pickle, and is the first byte of a header of 128 bytes
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).ljust(128).encode()
    (tmp_path / "model").write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<f", 2.5))
    assert read_tensors(tmp_path / "model")["a"].tolist() == [2.5]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {"state_dict": weights},
        lambda weights: {"epoch": 3, "name": "run", "state_dict": weights, "optimizer": {"state": {}}},
        lambda weights: {"model_state_dict": OrderedDict(weights), "loss": 0.5},
        lambda weights: {"model": weights, "step": torch.tensor(3)},
        lambda weights: {f"module.{name}": tensor for name, tensor in weights.items()},
        lambda weights: {"state_dict": {f"module.{n}": t for n, t in weights.items()}},
        lambda weights: {f"_orig_mod.{name}": tensor for name, tensor in weights.items()},
        lambda weights: {f"module._orig_mod.{name}": tensor for name, tensor in weights.items()},
        lambda weights: {name: torch.nn.Parameter(tensor) for name, tensor in weights.items()},
    ],
)
def test_harmless_wrappers_are_taken_off(wrap: Callable[[Entries], object], tmp_path: Path) -> None:
    found = read_tensors(saved(wrap(WEIGHTS), tmp_path))
    assert same(found)
    assert not any(tensor.requires_grad for tensor in found.values())


def test_a_prefix_of_some_names_only_is_part_of_them(tmp_path: Path) -> None:
    mixed = {"module.a.weight": torch.ones(1), "b.bias": torch.ones(1)}
    assert read_tensors(saved(mixed, tmp_path)).keys() == mixed.keys()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": WEIGHTS, "model": WEIGHTS}, "holds several models: state_dict, model"),
        ({"state_dict": {}}, "holds a dict where named tensors belong"),
        ({"state_dict": {"a": 3}}, "not tensors, for example 'a'"),
        ({"model": "ViT-B-32", "epoch": 3}, "not tensors, for example 'model'"),
        ({"state_dict": WEIGHTS, "args": Namespace(lr=1)}, r"asks for argparse\.Namespace to be run"),
        (torch.nn.Linear(2, 2), r"asks for torch\.nn\.modules\.linear\.Linear to be run"),
        (torch.ones(3), "holds a Tensor where named tensors belong"),
        (None, "holds a NoneType where named tensors belong"),
    ],
)
def test_unclear_wrappers_are_refused(content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=message) as caught:
        read_tensors(saved(content, tmp_path))
    assert "torch.save(model.state_dict(), file)" in caught.value.do


def header(entry: object) -> bytes:
    content = json.dumps({"a": entry}).encode()
    return struct.pack("<Q", len(content)) + content


@pytest.mark.parametrize(
    "content",
    [
        # shapes and offsets that the file does not hold
        header({"dtype": "F32", "shape": [1000, 1000], "data_offsets": [0, 4]}) + bytes(4),
        header({"dtype": "F32", "shape": [1000, 1000], "data_offsets": [0, 4_000_000]}) + bytes(4),
        header({"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}) + bytes(4),
        header({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}) + bytes(4),
        header({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}) + bytes(4),
        # more than the header tells of
        header({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}) + bytes(40),
        # element types that do not exist, or not in torch
        header({"dtype": "Q4", "shape": [1], "data_offsets": [0, 4]}) + bytes(4),
        header({"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}) + bytes(3),
        # headers that are none
        header("text"),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 4) + b"{\xff\xff}",
        b"",
        b"\0",
    ],
)
def test_a_safetensors_header_that_lies(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="truncated, damaged or of another kind") as caught:
        read_safetensors(path)
    assert str(path) in caught.value.what


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(2, dtype=torch.int8), "x is stored as int8"),
        (torch.ones(2, dtype=torch.bool), "x is stored as bool"),
        (torch.ones(2, dtype=torch.complex64), "x is stored as complex64"),
        (torch.ones(2).to(torch.float8_e5m2), "x is stored as float8_e5m2"),
        (torch.eye(2).to_sparse(), "x is no plain array"),
        (torch.ones(2, device="meta"), "x is no plain array"),
        # a few bytes on disk that claim to be gigabytes
        (torch.ones(1).expand(1 << 40), "x is no plain array"),
    ],
)
def test_tensors_that_are_no_plain_weights(tensor: torch.Tensor, message: str, tmp_path: Path) -> None:
    path = saved({"x": tensor}, tmp_path)
    with pytest.raises(ModelFileError, match=message):
        check_stored(read_tensors(path), path)


def test_views_and_empty_tensors_are_plain(tmp_path: Path) -> None:
    path = saved(
        {"t": torch.ones(2, 3).T, "part": torch.arange(9.0)[2:5], "none": torch.ones(0, 4)}, tmp_path
    )
    check_stored(read_tensors(path), path)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    save_file({"a.weight": WEIGHTS["a.weight"]}, tmp_path / "one.safetensors")
    save_file({"b.bias": WEIGHTS["b.bias"]}, tmp_path / "two.safetensors")
    return write_index(tmp_path, {"a.weight": "one.safetensors", "b.bias": "two.safetensors"})


def write_index(folder: Path, weight_map: object) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": weight_map}))
    return path


def test_an_index_joins_its_files(index: Path, tmp_path: Path) -> None:
    assert container_of(index) is Container.INDEX
    assert files_of(index) == (index, tmp_path / "one.safetensors", tmp_path / "two.safetensors")
    assert same(read_tensors(index))
    assert len(sha256_of(*files_of(index))) == 64


def test_the_files_of_an_index_may_be_links(index: Path, tmp_path: Path) -> None:
    # as Hugging Face's cache keeps them
    (tmp_path / "blobs").mkdir()
    (tmp_path / "one.safetensors").rename(tmp_path / "blobs" / "0123")
    (tmp_path / "one.safetensors").symlink_to(tmp_path / "blobs" / "0123")
    assert same(read_tensors(index))


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        (
            {"a.weight": "../one.safetensors"},
            r"'\.\./one\.safetensors', which is not a weight file beside it",
        ),
        ({"a.weight": "/etc/one.safetensors"}, "which is not a weight file beside it"),
        ({"a.weight": ".."}, "which is not a weight file beside it"),
        ({"a.weight": "model.safetensors.index.json"}, "which is not a weight file beside it"),
        ({"a.weight": 3}, "names 3, which is not a weight file beside it"),
        ({"a.weight": "absent.safetensors"}, r"absent\.safetensors cannot be read: No such file"),
        # not what the files hold
        (
            {"a.weight": "one.safetensors", "c": "one.safetensors"},
            r"one\.safetensors does not hold what .*: c d",
        ),
        (
            {"c": "two.safetensors"},
            r"two\.safetensors does not hold what model.safetensors.index.json says: b",
        ),
        ({}, "its index has no weight_map"),
        (["one.safetensors"], "its index has no weight_map"),
    ],
)
def test_an_index_that_does_not_fit_its_files(
    weight_map: object, message: str, index: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_tensors(write_index(tmp_path, weight_map))


@pytest.mark.parametrize("content", ["{", '{"weight_map"', "{\xff", '{"a":' * 100_000])
def test_a_damaged_index(content: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ModelFileError, match="its index cannot be read"):
        read_tensors(path)


def test_a_pickle_among_the_files_of_an_index(index: Path, tmp_path: Path) -> None:
    (tmp_path / "one.safetensors").rename(tmp_path / "one.bin")
    (tmp_path / "two.bin").write_bytes(pickle.dumps(WEIGHTS))
    write_index(tmp_path, {"a.weight": "one.bin", "b.bias": "two.bin"})
    with pytest.raises(ModelFileError, match=r"two\.bin is a bare pickle"):
        read_tensors(index)
