"""A torch network → the content of a bundle: golden outputs, both graphs, and the proof; the same for every
head."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edge.bundle import Bundle, Golden, open_bundle
from edge.camera.image_file import read_image
from edge.errors import BundleError
from edge.manifest import (
    GOLDEN,
    MODEL_FP16,
    MODEL_FP32,
    PARITY,
    BundleManifest,
    HalfPrecision,
    Preprocessing,
    Tolerances,
)
from edge.messages import PixelFormat
from edge.preprocess import input_tensor
from export.golden import reference
from export.golden_frames import arrays, golden_frames
from export.graph_cost import GraphCost, graph_cost
from export.half_precision import half
from export.network import Network
from export.onnx_from_torch import onnx_from_torch, write_model
from export.overflow_probe import Peak, highest, probe
from export.pack import file_hashes, write_arrays, write_figures, write_manifest
from export.precision_choice import choices_by_error, overflowing_blocks, refused
from export.verify import Parity, prove_parity

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
class Written:
    """What is worth telling about a written bundle. `peak` is the FP16 tensor with the least headroom."""

    parity: Parity
    cost: GraphCost
    fp16: HalfPrecision | None
    peak: Peak | None
    probed: int


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
    report("Exporting to ONNX")
    cost = _write_graph(network, folder / MODEL_FP32)
    chosen, peak, probed = None, None, 0
    if wish.fp16:
        tensors = _probe_tensors(golden, spec, wish.probe_images)
        probed = len(tensors)
        chosen, peak = _write_fp16(folder, network, golden, spec, tolerances, describe, wish, tensors, report)
    write_manifest(folder, describe(chosen, file_hashes(folder)))
    manifest = finish(open_bundle(folder), describe(chosen, file_hashes(folder)))
    write_manifest(folder, manifest)
    report("Proving the bundle on ONNX Runtime, through the path of the line")
    parity = prove_parity(open_bundle(folder), network)
    write_figures(folder / PARITY, {**parity.figures(), "overflow": _probe_figures(peak, probed)})
    write_manifest(folder, manifest.model_copy(update={"files": file_hashes(folder)}))
    return Written(parity, cost, chosen, peak, probed)


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
    # The exporter's own objects refer to each other, and hold all weights a second time until collected.
    gc.collect()
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
) -> tuple[HalfPrecision, Peak]:
    """Build FP16 graphs until one neither overflows nor leaves its tolerance; it stays in `folder`."""
    if tolerances.fp16 is None:
        raise ValueError("a bundle with an FP16 graph needs its tolerance")
    report(f"Probing for overflow on {len(tensors)} pictures")
    blocks = overflowing_blocks(network, probe(folder / MODEL_FP32, tensors))
    first = HalfPrecision(fp32_blocks=blocks, fp32_softmax=wish.fp32_softmax)
    tried: list[HalfPrecision] = []
    why = ""
    for choice in _few(choices_by_error(network, golden, spec, tolerances.fp16, first)):
        report(f"Exporting the FP16 graph{_kept(choice)}")
        tried.append(choice)
        _write_graph(half(network, choice), folder / MODEL_FP16, fp32_softmax=choice.fp32_softmax)
        peak = highest(probe(folder / MODEL_FP16, tensors, fp16_only=True))
        if not peak.fits:
            why = f"{peak.node} overflows."
            continue
        try:
            write_manifest(folder, describe(choice, file_hashes(folder)))
            prove_parity(open_bundle(folder))
        except BundleError as fault:
            why = fault.what
            continue
        return choice, peak
    raise refused(tried, why)


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


def _probe_figures(peak: Peak | None, probed: int) -> dict[str, object] | None:
    if peak is None:
        return None
    return {
        "pictures": probed,
        "largest": peak.largest,
        "node": peak.node,
        "headroom": round(peak.headroom, 3),
    }
