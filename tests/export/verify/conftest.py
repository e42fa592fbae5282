"""Sealed copies of the small bundle with one thing changed, and folders of pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from edge.bundle import Bundle, open_bundle
from edge.manifest import MANIFEST
from export.pack import file_hashes

Change = Callable[[Path], None]


@pytest.fixture
def sealed_copy(exported: Any, tmp_path: Path) -> Callable[..., Bundle]:
    """Copies the bundle, lets `change` work on the folder, and seals it again."""

    def make(change: Change = lambda _folder: None) -> Bundle:
        folder = Path(shutil.copytree(exported.bundle.folder, tmp_path / "bundle"))
        change(folder)
        manifest = yaml.safe_load((folder / MANIFEST).read_text()) | {"files": file_hashes(folder)}
        (folder / MANIFEST).write_text(yaml.safe_dump(manifest))
        return open_bundle(folder)

    return make


@pytest.fixture
def weight_changed() -> Callable[[str, str, Callable[[NDArray[Any]], NDArray[Any]]], Change]:
    """A change of one initializer in one of the bundle's graphs."""

    def make(file: str, name: str, alter: Callable[[NDArray[Any]], NDArray[Any]]) -> Change:
        onnx = pytest.importorskip("onnx", reason="the graphs are changed with the onnx package")

        def change(folder: Path) -> None:
            model = onnx.load(folder / file)
            (weight,) = (one for one in model.graph.initializer if one.name == name)
            weight.CopyFrom(onnx.numpy_helper.from_array(alter(onnx.numpy_helper.to_array(weight)), name))
            onnx.save(model, folder / file)

        return change

    return make


@pytest.fixture
def labelled_pictures(tmp_path: Path) -> Path:
    """product/test/{good,crack} of three pictures each, every crack with its mask."""
    random = np.random.default_rng(7)
    product = tmp_path / "product"
    for kind in ("good", "crack"):
        for number in range(3):
            picture = random.integers(60, 200, (48, 56, 3), np.uint8)
            mask = np.zeros((48, 56), np.uint8)
            if kind == "crack":
                mask[10 + 8 * number : 20 + 8 * number, 12:40] = 255
                picture[mask > 0] = (250, 20, 20)
                write_picture(product / "ground_truth" / kind / f"{number}_mask.png", mask)
            write_picture(product / "test" / kind / f"{number}.png", picture)
    return product / "test"


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """A PNG file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
