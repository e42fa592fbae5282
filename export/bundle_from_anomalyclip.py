"""CLIP file + prompt checkpoint + settings → a proven bundle: what `adclip export anomalyclip` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from edge.bundle import Bundle, open_bundle
from edge.manifest import (
    GOLDEN,
    MODEL_FP32,
    PARITY,
    AnomalyClipHead,
    BundleManifest,
    MapSpec,
    Source,
    Tolerance,
    Tolerances,
)
from export.anomalyclip import AnomalyClipGraph, AnomalyClipSettings, build_graph
from export.clip_file import ClipWeights, read_clip_file
from export.golden import arrays, golden_frames, reference
from export.onnx_from_torch import onnx_from_torch, parameter_bytes, write_model
from export.pack import file_hashes, staging_folder, write_arrays, write_figures, write_manifest
from export.prompt_checkpoint import PromptCheckpoint, read_prompt_checkpoint
from export.verify import Parity, prove_parity

SCORE_TOLERANCE = 2e-5
MAP_TOLERANCE_PER_LAYER = 5e-5
"""Largest absolute differences of the FP32 graph to torch."""

Report = Callable[[str], None]
"""Told in a few words what is done next."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished bundle and what is worth telling about it."""

    bundle: Bundle
    parity: Parity
    parameter_bytes: int
    layers_used: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Origin:
    """Everything that a bundle is made from."""

    clip: ClipWeights
    checkpoint: PromptCheckpoint
    settings: AnomalyClipSettings

    def manifest(self, files: dict[str, str]) -> BundleManifest:
        """The manifest of a bundle with these files."""
        architecture, settings = self.clip.architecture, self.settings
        grid, used = settings.grid(architecture), settings.plan(architecture).layers_used
        return BundleManifest(
            backbone=architecture.name,
            head=AnomalyClipHead(
                patch=architecture.patch,
                dpam=settings.dpam,
                features=settings.features,
                layers_used=used,
                legacy_features=settings.legacy_features,
            ),
            preprocessing=settings.preprocessing(),
            map=MapSpec(grid=(grid, grid), layers=len(used), sigma_px=settings.sigma),
            tolerances=Tolerances(
                fp32=Tolerance(score=SCORE_TOLERANCE, map=MAP_TOLERANCE_PER_LAYER * len(used))
            ),
            source=Source(
                files={"clip": self.clip.sha256, "checkpoint": self.checkpoint.sha256},
                exporter=exporter_version(),
            ),
            files=files,
        )


def export_anomalyclip(
    clip_path: Path,
    checkpoint_path: Path,
    settings: AnomalyClipSettings,
    out: Path,
    *,
    force: bool = False,
    report: Report = lambda _step: None,
) -> Exported:
    """Read, fold, export, prove and pack. `out` exists afterwards only if all of it went well.

    Raises `ModelFileError` for the two files, `ConfigError` for the settings, `BundleError` when `out` may
    not be written or the exported network does not match torch.
    """
    with staging_folder(out, force=force) as folder:
        report(f"Reading the CLIP file {clip_path}")
        clip = read_clip_file(clip_path)
        report(f"Reading the prompt checkpoint {checkpoint_path}")
        origin = _Origin(clip, read_prompt_checkpoint(checkpoint_path), settings)
        report(f"Folding the prompts into {clip.architecture.name}")
        graph = build_graph(clip, origin.checkpoint, settings)
        size = _write_content(folder, graph, settings, report)
        report("Proving the bundle on ONNX Runtime, through the path of the line")
        parity = _prove(folder, origin)
    return Exported(open_bundle(out), parity, size, graph.plan.layers_used)


def exporter_version() -> str:
    """What made the bundle, for its manifest."""
    try:
        own = version("adclip-edge")
    except PackageNotFoundError:  # run from the source tree without being installed
        own = "(source tree)"
    return f"adclip-edge {own}, torch {torch.__version__}"


def _write_content(
    folder: Path, graph: AnomalyClipGraph, settings: AnomalyClipSettings, report: Report
) -> int:
    report("Computing the golden outputs with torch")
    golden = reference(graph, golden_frames(), settings.preprocessing())
    write_arrays(folder / GOLDEN, arrays(golden))
    report("Exporting to ONNX")
    model = onnx_from_torch(graph)
    write_model(model, folder / MODEL_FP32)
    return parameter_bytes(model)


def _prove(folder: Path, origin: _Origin) -> Parity:
    """Open the bundle as the line would, measure, and add the figures to it."""
    write_manifest(folder, origin.manifest(file_hashes(folder)))
    parity = prove_parity(open_bundle(folder))
    write_figures(folder / PARITY, parity.figures())
    write_manifest(folder, origin.manifest(file_hashes(folder)))
    return parity
