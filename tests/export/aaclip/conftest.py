"""Small random AA-CLIP models on disk, with a vocabulary learned from a few sentences."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CORPUS = """the photo of a damaged object a photo of the broken object a photo of the object with damage
a photo of an object with flaw the object with defect a broken ring a damaged ring the metal ring with damage"""
MERGES = 60
HEADER = "#version: 0.2"

Merge = tuple[str, str]


@dataclass(frozen=True)
class AaClipFiles:
    """Files that belong together."""

    clip: Path
    image_adapter: Path
    text_adapter: Path
    vocabulary: Path
    pictures: Path


@pytest.fixture(scope="session")
def merges() -> list[Merge]:
    """Byte-pair merges of the corpus, the most frequent pair first; all its letters stand for themselves."""
    words = [[*word[:-1], word[-1] + "</w>"] for word in CORPUS.split()]
    found: list[Merge] = []
    while len(found) < MERGES:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            break
        found.append(max(sorted(counts), key=counts.__getitem__))
        words = [merged(word, found[-1]) for word in words]
    return found


def merged(word: list[str], pair: Merge) -> list[str]:
    """Every occurrence of the pair joined, from the left, by the book."""
    joined, at = [], 0
    while at < len(word):
        if tuple(word[at : at + 2]) == pair:
            joined.append(word[at] + word[at + 1])
            at += 2
        else:
            joined.append(word[at])
            at += 1
    return joined


@pytest.fixture(scope="session")
def naive_encode(merges: list[Merge]) -> Callable[[str], list[int]]:
    """Plain words → ids by going through the whole list of merges once; letters a to z and '.' only."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in visible] + [chr(256 + i) for i in range(256 - len(visible))]
    symbols = letters + [f"{letter}</w>" for letter in letters] + ["".join(pair) for pair in merges]

    def encode(text: str) -> list[int]:
        ids = []
        for word in text.lower().replace(".", " .").split():
            parts = [*word[:-1], word[-1] + "</w>"]
            for pair in merges:
                parts = merged(parts, pair)
            ids += [symbols.index(part) for part in parts]
        return ids

    return encode


@pytest.fixture(scope="session")
def vocabulary_file(merges: list[Merge], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The merges as OpenAI packs them, with some more behind them, as there."""
    path = tmp_path_factory.mktemp("vocabulary") / "merges.txt.gz"
    lines = [f'"some_vocabulary.txt{HEADER}', *(" ".join(pair) for pair in merges), "zz zz", "qq qq", ""]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


@pytest.fixture(scope="session")
def architecture(torch: Any, merges: list[Merge]) -> Any:
    """5 blocks of 2 heads, patch 8, native grid 7; text 3 blocks of 1 head, 48 tokens."""
    from export.clip_file import ClipArchitecture

    return ClipArchitecture(
        vision_width=128,
        vision_layers=5,
        patch=8,
        native_grid=7,
        embed_dim=32,
        context_length=48,
        vocab_size=514 + len(merges),
        text_width=64,
        text_layers=3,
    )


@pytest.fixture(scope="session")
def image_adapter(torch: Any) -> Callable[..., dict[str, Any]]:
    """The entries of an image adapter under upstream's names."""

    def make(
        *, width: int = 128, embed_dim: int = 32, adapters: int = 2, levels: int = 3, relu: bool = False
    ) -> dict[str, Any]:
        random = torch.Generator().manual_seed(adapters + 10 * levels)
        leaf = "fc.0.weight" if relu else "fc.weight"
        shapes = {f"layer_adapters.{i}.fc.0.weight": (width, width) for i in range(adapters)}
        shapes |= {f"seg_proj.{i}.{leaf}": (embed_dim, width) for i in range(levels)}
        shapes[f"det_proj.{leaf}"] = (embed_dim, width)
        return _matrices(torch, shapes, random)

    return make


@pytest.fixture(scope="session")
def text_adapter(torch: Any) -> Callable[..., dict[str, Any]]:
    """The entries of a text adapter under upstream's names."""

    def make(*, width: int = 64, embed_dim: int = 32, adapters: int = 2) -> dict[str, Any]:
        shapes = {f"{i}.fc.0.weight": (width, width) for i in range(adapters)}
        shapes[f"{adapters}.fc.0.weight"] = (embed_dim, width)
        return _matrices(torch, shapes, torch.Generator().manual_seed(adapters))

    return make


@pytest.fixture(scope="session")
def save_adapter(torch: Any) -> Callable[[str, dict[str, Any], Path], Path]:
    """Write an adapter as upstream does, with the state of a real optimiser beside it."""

    def save(kind: str, entries: dict[str, Any], path: Path) -> Path:
        parameters = [torch.nn.Parameter(tensor.clone()) for tensor in entries.values()]
        optimiser = torch.optim.Adam(parameters, lr=5e-4)
        sum(parameter.sum() for parameter in parameters).backward()
        optimiser.step()
        side = kind.partition("_")[0]
        torch.save({"epoch": 20, kind: entries, f"{side}_optimizer": optimiser.state_dict()}, path)
        return path

    return save


@pytest.fixture(scope="session")
def aaclip_files(
    torch: Any,
    architecture: Any,
    random_entries: Callable[..., dict[str, Any]],
    image_adapter: Callable[..., dict[str, Any]],
    text_adapter: Callable[..., dict[str, Any]],
    save_adapter: Callable[..., Path],
    vocabulary_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AaClipFiles:
    """A small model and twelve pictures on disk; read-only by convention."""
    folder = tmp_path_factory.mktemp("aaclip")
    torch.save(random_entries(architecture), folder / "clip.pt")
    return AaClipFiles(
        folder / "clip.pt",
        save_adapter("image_adapter", image_adapter(), folder / "image_adapter_20.pth"),
        save_adapter("text_adapter", text_adapter(), folder / "text_adapter.pth"),
        vocabulary_file,
        _pictures(folder / "pictures"),
    )


def _matrices(torch: Any, shapes: dict[str, tuple[int, int]], random: Any) -> dict[str, Any]:
    return {name: torch.randn(shape, generator=random) / shape[1] ** 0.5 for name, shape in shapes.items()}


def _pictures(folder: Path) -> Path:
    """Shaded noise of several sizes; one is grey, one has a palette."""
    folder.mkdir()
    random = np.random.default_rng(3)
    for number in range(12):
        height, width = random.integers(30, 90, 2)
        ramp = np.linspace(random.uniform(0, 120), random.uniform(120, 250), width)[None, :, None]
        noise = random.normal(0, random.uniform(2, 60), (height, width, 3))
        picture = Image.fromarray(np.clip(ramp + noise, 0, 255).astype(np.uint8))
        if number == 0:
            picture = picture.convert("L")
        if number == 1:
            picture = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
        picture.save(folder / f"{number}.png")
    return folder
