"""CLIP file + prompt checkpoint + settings → a proven bundle: what `adclip export anomalyclip` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.bundle import Bundle, open_bundle
from edge.manifest import (
    AnomalyClipHead,
    BundleManifest,
    HalfPrecision,
    MapSpec,
    Source,
    Tolerance,
    Tolerances,
)
from export.anomalyclip import AnomalyClipSettings, build_graph
from export.bundle_from_network import Report, Wish, Written, exporter_version, write_bundle
from export.clip_file import ClipWeights, read_clip_file
from export.pack import staging_folder
from export.prompt_checkpoint import PromptCheckpoint, read_prompt_checkpoint

FP32_SCORE, FP32_MAP_PER_LAYER = 2e-5, 5e-5
FP16_SCORE, FP16_MAP_PER_LAYER = 3e-3, 3e-3
"""Largest absolute differences to torch in float32."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished bundle and what is worth telling about it. `layout` says who saved the CLIP file."""

    bundle: Bundle
    written: Written
    layers_used: tuple[int, ...]
    layout: str


@dataclass(frozen=True, slots=True, eq=False)
class _Origin:
    """Everything that a bundle is made from."""

    clip: ClipWeights
    checkpoint: PromptCheckpoint
    settings: AnomalyClipSettings

    @property
    def layers_used(self) -> tuple[int, ...]:
        return self.settings.plan(self.clip.architecture).layers_used

    def tolerances(self, *, fp16: bool) -> Tolerances:
        layers = len(self.layers_used)
        return Tolerances(
            fp32=Tolerance(score=FP32_SCORE, map=FP32_MAP_PER_LAYER * layers),
            fp16=Tolerance(score=FP16_SCORE, map=FP16_MAP_PER_LAYER * layers) if fp16 else None,
        )

    def manifest(self, fp16: HalfPrecision | None, files: dict[str, str]) -> BundleManifest:
        """The manifest of a bundle with these files."""
        architecture, settings = self.clip.architecture, self.settings
        grid = settings.grid(architecture)
        return BundleManifest(
            backbone=architecture.name,
            head=AnomalyClipHead(
                patch=architecture.patch,
                dpam=settings.dpam,
                features=settings.features,
                layers_used=self.layers_used,
                legacy_features=settings.legacy_features,
            ),
            preprocessing=settings.preprocessing(),
            map=MapSpec(grid=(grid, grid), layers=len(self.layers_used), sigma_px=settings.sigma),
            fp16=fp16,
            tolerances=self.tolerances(fp16=fp16 is not None),
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
    wish: Wish | None = None,
    force: bool = False,
    report: Report = lambda _step: None,
) -> Exported:
    """Read, fold, export, prove and pack. `out` exists afterwards only if all of it went well.

    Raises `ModelFileError` for the two files, `ConfigError` for the settings, `BundleError` when `out` may
    not be written or an exported graph does not match torch.
    """
    wish = wish or Wish()
    with staging_folder(out, force=force) as folder:
        report(f"Reading the CLIP file {clip_path}")
        clip = read_clip_file(clip_path)
        report(f"Reading the prompt checkpoint {checkpoint_path}")
        origin = _Origin(clip, read_prompt_checkpoint(checkpoint_path), settings)
        report(f"Folding the prompts into {clip.architecture.name}")
        network = build_graph(clip, origin.checkpoint, settings)
        written = write_bundle(
            folder,
            network,
            settings.preprocessing(),
            origin.tolerances(fp16=wish.fp16),
            origin.manifest,
            wish,
            report,
        )
    return Exported(open_bundle(out), written, origin.layers_used, clip.layout.value)
