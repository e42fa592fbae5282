"""Rendered parts as training data: the simulated line, seen through the shipped preprocessing."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from edge.camera import scene
from edge.camera.scene import DEFAULT_PRODUCT, PRODUCTS, Line, part_roi_px
from edge.messages import PixelFormat
from edge.preprocess import develop, resample
from training.demo_clip import IMAGE_SIZE

FRAME_PX = (2048, 1080)
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Lot:
    """A number of parts of one product, from one seed."""

    product: str
    seed: int
    parts: int
    defect_share: float


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """Parts at the model's input: `images` (n, S, S, 3) uint8 RGB, `masks` (n, S, S) uint8 0 or 1."""

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    defects: tuple[str, ...]

    @property
    def defective(self) -> NDArray[np.bool_]:
        """(n,) whether each part has a defect."""
        return np.array([defect != "" for defect in self.defects])


def training_lots(parts: int, seed: int, defect_share: float) -> list[Lot]:
    """`parts` parts over all products; the default product, which `make demo` shows, gets a double share."""
    shares = {name: 2 if name == DEFAULT_PRODUCT else 1 for name in sorted(PRODUCTS)}
    whole = sum(shares.values())
    return [Lot(name, seed, round(parts * share / whole), defect_share) for name, share in shares.items()]


def render(lots: Iterable[Lot], folder: Path, progress: Progress | None) -> Rendered:
    """Render lots into `folder`, or take what an earlier, equal call left there.

    The arrays are memory-mapped, so a large set needs little memory.
    """
    wanted = list(lots)
    listing = folder / "lots.json"
    key = json.dumps([_scene_identity(), [astuple(lot) for lot in wanted]])
    if not (listing.exists() and json.loads(listing.read_text())["key"] == key):
        _render_all(wanted, folder, key, progress)
    defects = tuple(json.loads(listing.read_text())["defects"])
    return Rendered(_load(folder / "images.npy"), _load(folder / "masks.npy"), defects)


def _render_all(lots: list[Lot], folder: Path, key: str, progress: Progress | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    count = sum(lot.parts for lot in lots)
    shape = (count, IMAGE_SIZE, IMAGE_SIZE)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (*shape, 3))
    masks = np.lib.format.open_memmap(folder / "masks.npy", "w+", np.uint8, shape)
    defects = []
    task = progress.add_task("rendering", total=count) if progress else None
    for index, (image, mask, defect) in enumerate(_parts(lots)):
        images[index], masks[index] = image, mask
        defects.append(defect)
        if progress and task is not None:
            progress.advance(task)
    images.flush()
    masks.flush()
    # Written last, so a set that was cut short is rendered again.
    (folder / "lots.json").write_text(json.dumps({"key": key, "defects": defects}))


def _parts(lots: list[Lot]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], str]]:
    jobs = ((lot, index) for lot in lots for index in range(1, lot.parts + 1))
    with multiprocessing.get_context("spawn").Pool(WORKERS, _one_thread) as pool:
        yield from pool.imap(_render_one, jobs, chunksize=16)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _render_one(job: tuple[Lot, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], str]:
    lot, index = job
    part = _line(lot).part(index)
    roi = part_roi_px(*FRAME_PX)
    image = resample(develop(part.image, PixelFormat.BAYER_RG8, roi), (IMAGE_SIZE, IMAGE_SIZE))
    x, y, width, height = roi
    mask = part.mask[y : y + height, x : x + width].astype(np.float32)
    small = cv2.resize(mask, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA) > 0.25
    return image, small.astype(np.uint8), part.defect.value if part.defect else ""


@lru_cache(maxsize=2)
def _line(lot: Lot) -> Line:
    width, height = FRAME_PX
    return Line(
        PRODUCTS[lot.product], seed=lot.seed, defect_share=lot.defect_share, width=width, height=height
    )


def _scene_identity() -> str:
    """SHA-256 over the renderer's own source, so that parts from another renderer are never taken for these."""
    sources = sorted(Path(scene.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def _load(path: Path) -> NDArray[np.uint8]:
    loaded: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return loaded
