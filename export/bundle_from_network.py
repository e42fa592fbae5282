"""A torch network → the content of a bundle: golden outputs, both graphs, and the proof; the same for every
head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edge.bundle import Bundle, Golden, open_bundle
from edge.camera.image_file import read_image
from edge.config import OnnxRuntimeConfig
from edge.manifest import (
    GOLDEN,
    MODEL_FP16,
    MODEL_FP32,
    PARITY,
    BundleManifest,
    HalfPrecision,
    Preprocessing,
    Tolerance,
    Tolerances,
)
from edge.messages import PixelFormat
from edge.preprocess import input_tensor
from edge.runner import open_runner
from export.golden import reference
from export.golden_frames import arrays, golden_frames
from export.graph_cost import GraphCost, graph_cost
from export.half_precision import half
from export.memory import give_back_memory
from export.network import Network
from export.onnx_from_torch import OUTPUTS, onnx_from_torch, write_model
from export.overflow_probe import Peak, Run, highest, probe, run_probed
from export.pack import file_hashes, write_arrays, write_figures, write_manifest
from export.precision_choice import choices_by_error, overflowing_blocks, refused
from export.verify import Parity, measure_parity, prove_parity

MOST_EXPORTS = 4
"""How many FP16 graphs are built before giving up; each takes as long as the FP32 one."""

Report = Callable[[str], None]
"""Told in a few words what is done next."""

Describe = Callable[[HalfPrecision | None, dict[str, str]], BundleManifest]
"""How the FP16 graph was made (None: there is none) and the hashes of the files → the manifest."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks of the FP16 graph. `probe_images` are pictures of theirs for the overflow probe."""

    fp16: bool = True
    fp32_softmax: bool = False
    probe_images: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredFp16:
    """The FP16 graph with every FP16 tensor rounded where a device stores it (see `export.stored_fp16`).

    `peak` is the tensor with the least headroom over `pictures` pictures; the errors are the largest absolute
    differences of the graph's outputs to the golden ones.
    """

    peak: Peak
    pictures: int
    score_error: float
    map_error: float

    def figures(self) -> dict[str, object]:
        """For `parity.json`."""
        overflow = {
            "pictures": self.pictures,
            "largest": self.peak.largest,
            "node": self.peak.node,
            "headroom": round(self.peak.headroom, 3),
        }
        errors = {"score_error": self.score_error, "map_error": self.map_error}
        return {"overflow": overflow, "fp16_as_stored": errors}

    def fault(self, tolerance: Tolerance) -> str:
        """What is wrong with it, in a sentence; empty when nothing is."""
        if not self.peak.fits:
            return f"{self.peak.node} overflows."
        if self.score_error <= tolerance.score and self.map_error <= tolerance.map:
            return ""
        return (
            f"Rounded as a device stores it, its score differs by {self.score_error:.1e} (allowed "
            f"{tolerance.score:.1e}) and its map by {self.map_error:.1e} (allowed {tolerance.map:.1e})."
        )


@dataclass(frozen=True, slots=True)
class Written:
    """What is worth telling about a written bundle. `fp16` and `stored` are None without an FP16 graph."""

    parity: Parity
    cost: GraphCost
    fp16: HalfPrecision | None
    stored: StoredFp16 | None


def write_bundle(
    folder: Path,
    network: Network,
    spec: Preprocessing,
    tolerances: Tolerances,
    describe: Describe,
    wish: Wish,
    report: Report,
    finish: Callable[[Bundle, BundleManifest], BundleManifest] = lambda _bundle, manifest: manifest,
) -> Written:
    """Fill `folder` and prove it. `finish` may complete the manifest by running the FP32 bundle as it stands.

    Raises `BundleError` when a graph does not decide as torch does, or no FP16 graph can be made that does.
    """
    report("Computing the golden outputs with torch")
    golden = reference(network, golden_frames(), spec)
    write_arrays(folder / GOLDEN, arrays(golden))
    give_back_memory()
    report("Exporting to ONNX")
    cost = _write_graph(network, folder / MODEL_FP32)
    chosen, stored = None, None
    if wish.fp16:
        tensors = _probe_tensors(golden, spec, wish.probe_images)
        chosen, stored = _write_fp16(
            folder, network, golden, spec, tolerances, describe, wish, tensors, report
        )
    write_manifest(folder, describe(chosen, file_hashes(folder)))
    manifest = finish(open_bundle(folder), describe(chosen, file_hashes(folder)))
    write_manifest(folder, manifest)
    give_back_memory()
    report("Proving the bundle on ONNX Runtime, through the path of the line")
    parity = prove_parity(open_bundle(folder), network)
    write_figures(folder / PARITY, parity.figures() | ({} if stored is None else stored.figures()))
    write_manifest(folder, manifest.model_copy(update={"files": file_hashes(folder)}))
    return Written(parity, cost, chosen, stored)


def exporter_version() -> str:
    """What made the bundle, for its manifest."""
    try:
        own = version("adclip-edge")
    except PackageNotFoundError:  # run from the source tree without being installed
        own = "(source tree)"
    return f"adclip-edge {own}, torch {torch.__version__}"


def _write_graph(network: Network, path: Path, *, fp32_softmax: bool = False) -> GraphCost:
    model = onnx_from_torch(network, fp32_softmax=fp32_softmax)
    write_model(model, path)
    cost = graph_cost(model)
    del model
    give_back_memory()
    return cost


def _write_fp16(
    folder: Path,
    network: Network,
    golden: Golden,
    spec: Preprocessing,
    tolerances: Tolerances,
    describe: Describe,
    wish: Wish,
    tensors: Sequence[NDArray[np.float32]],
    report: Report,
) -> tuple[HalfPrecision, StoredFp16]:
    """Build FP16 graphs until one neither overflows nor leaves its tolerance; it stays in `folder`."""
    if tolerances.fp16 is None:
        raise ValueError("a bundle with an FP16 graph needs its tolerance")
    report(f"Probing for overflow on {len(tensors)} pictures")
    blocks = overflowing_blocks(network, probe(folder / MODEL_FP32, tensors))
    give_back_memory()
    first = HalfPrecision(fp32_blocks=blocks, fp32_softmax=wish.fp32_softmax)
    tried: list[HalfPrecision] = []
    why = ""
    for choice in _few(choices_by_error(network, golden, spec, tolerances.fp16, first)):
        report(f"Exporting the FP16 graph{_kept(choice)}")
        tried.append(choice)
        _write_graph(half(network, choice), folder / MODEL_FP16, fp32_softmax=choice.fp32_softmax)
        stored = _stored(run_probed(folder / MODEL_FP16, tensors, fp16_only=True), golden, len(tensors))
        give_back_memory()
        why = stored.fault(tolerances.fp16)
        if not why:
            write_manifest(folder, describe(choice, file_hashes(folder)))
            why = _fault_on_the_line(open_bundle(folder))
        if not why:
            return choice, stored
    raise refused(tried, why)


def _stored(run: Run, golden: Golden, pictures: int) -> StoredFp16:
    """Of a run whose first pictures are the golden frames."""
    score, grid_map = (run.outputs[name][: len(golden.images)] for name in OUTPUTS)
    return StoredFp16(
        highest(run.peaks),
        pictures,
        score_error=float(np.abs(score - golden.image_score).max()),
        map_error=float(np.abs(grid_map - golden.grid_map).max()),
    )


def _fault_on_the_line(bundle: Bundle) -> str:
    """What the line's own runner finds wrong with the FP16 graph, in a sentence; empty when nothing."""
    runner = open_runner(bundle, OnnxRuntimeConfig(precision="fp16"))
    try:
        found = measure_parity(bundle, runner)
    finally:
        runner.close()
        del runner
        give_back_memory()
    if found.passed:
        return ""
    return (
        f"On {found.runner} its score differs by {found.score_error:.1e} (allowed {found.score_tolerance:.1e}) "
        f"and its map by {found.grid_map_error:.1e} (allowed {found.map_tolerance:.1e})."
    )


def _few(choices: Iterator[HalfPrecision]) -> Iterator[HalfPrecision]:
    for _, choice in zip(range(MOST_EXPORTS), choices, strict=False):
        yield choice


def _probe_tensors(golden: Golden, spec: Preprocessing, images: Sequence[Path]) -> list[NDArray[np.float32]]:
    frames = [(image, PixelFormat.RGB8) for image in golden.images]
    tensors = [input_tensor(image, pixel_format, spec) for image, pixel_format in frames]
    return tensors + [input_tensor(*read_image(path), spec) for path in images]


def _kept(choice: HalfPrecision) -> str:
    if not choice.fp32_blocks:
        return ""
    return f", with block {', '.join(str(number) for number in choice.fp32_blocks)} in FP32"
