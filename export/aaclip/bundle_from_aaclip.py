"""CLIP file, adapters, vocabulary and limits → a proven bundle: what `adclip export aaclip` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.bundle import Bundle, open_bundle
from edge.manifest import (
    AaClipHead,
    BundleManifest,
    HalfPrecision,
    MapSpec,
    ScoreSpec,
    Source,
    Tolerance,
    Tolerances,
)
from export.aaclip.adapter_checkpoint import ImageAdapter, TextAdapter, read_image_adapter, read_text_adapter
from export.aaclip.limits import Limits, Progress, calibration_pictures, measure_limits
from export.aaclip.network import SIMILARITY_SCALE, AaClipGraph, build_graph
from export.aaclip.settings import BLURS, AaClipSettings
from export.aaclip.tokenizer import Vocabulary, read_vocabulary
from export.bundle_from_network import Report, Wish, Written, exporter_version, write_bundle
from export.clip_file import ClipWeights, read_clip_file
from export.pack import staging_folder
from export.weights_file import sha256_of

FP32_COSINE, FP16_COSINE = 5e-6, 1e-3
"""How far a cosine between picture and text may be off. Both outputs are cosines times a factor, so that their
tolerances follow from it. Measured with random weights on ONNX Runtime: ViT-B/16 and ViT-L/14@336px at 518 px at
most 6.3e-8 and 4.9e-5, networks of four blocks at most 1.7e-7 and 1.8e-4. The rest is for CLIP's outliers and for
other devices."""

LEAST_CONTRAST = 0.01
"""Distance of the two texts below which rounding of the sum, not of the cosines, is what is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AaClipPaths:
    """The user's files. `calibration_images` is a folder; it is needed when no limits are given."""

    clip: Path
    image_adapter: Path
    text_adapter: Path | None
    vocabulary: Path
    calibration_images: Path | None


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished bundle and what is worth telling about it. `layout` says who saved the CLIP file, `pictures` how
    many pictures set the limits."""

    bundle: Bundle
    written: Written
    layout: str
    pictures: int


@dataclass(frozen=True, slots=True, eq=False)
class _Origin:
    """Everything that a bundle is made from, but for the limits."""

    clip: ClipWeights
    image: ImageAdapter
    text: TextAdapter | None
    vocabulary: Vocabulary
    pictures: tuple[Path, ...]
    settings: AaClipSettings

    def network(self) -> AaClipGraph:
        """The torch network."""
        return build_graph(self.clip, self.image, self.text, self.vocabulary, self.settings)

    def manifest(
        self, tolerances: Tolerances, fp16: HalfPrecision | None, files: dict[str, str]
    ) -> BundleManifest:
        """The manifest of a bundle with these files, without limits."""
        architecture, settings = self.clip.architecture, self.settings
        grid, industrial = settings.grid(architecture), settings.domain == "industrial"
        return BundleManifest(
            backbone=architecture.name,
            head=AaClipHead(
                patch=architecture.patch,
                product=settings.product,
                levels=settings.levels,
                domain=settings.domain,
            ),
            preprocessing=settings.preprocessing(),
            map=MapSpec(
                grid=(grid, grid),
                layers=len(settings.levels),
                grid_blur=BLURS[settings.domain],
                align_corners=True,
            ),
            score=ScoreSpec(rule="mean_with_map_peak" if industrial else "map_peak"),
            fp16=fp16,
            tolerances=Tolerances(fp32=tolerances.fp32, fp16=None if fp16 is None else tolerances.fp16),
            source=Source(files=self._source_hashes(), exporter=exporter_version()),
            files=files,
        )

    def _source_hashes(self) -> dict[str, str]:
        hashes = {
            "clip": self.clip.sha256,
            "image_adapter": self.image.sha256,
            "vocabulary": self.vocabulary.sha256,
        }
        if self.text is not None:
            hashes["text_adapter"] = self.text.sha256
        if self.pictures:
            hashes["calibration_images"] = sha256_of(*self.pictures)
        return hashes


def export_aaclip(
    paths: AaClipPaths,
    settings: AaClipSettings,
    out: Path,
    *,
    limits: Limits | None = None,
    wish: Wish | None = None,
    force: bool = False,
    report: Report = lambda _step: None,
    progress: Progress = iter,
) -> Exported:
    """Read, fold, export, measure the limits unless they are given, prove and pack.

    `out` exists afterwards only if all of it went well. Raises `ModelFileError` for the files, `ConfigError` for
    settings and calibration pictures, `BundleError` when `out` may not be written or an exported graph does not
    match torch.
    """

    def finish(bundle: Bundle, manifest: BundleManifest) -> BundleManifest:
        if limits is not None:
            return limits.applied(manifest)
        report(f"Measuring the limits on {len(origin.pictures)} pictures")
        return measure_limits(bundle, origin.pictures, progress).applied(manifest)

    with staging_folder(out, force=force) as folder:
        origin = _read(paths, settings, measure=limits is None, report=report)
        report(f"Folding the sentences about {settings.product!r} into {origin.clip.architecture.name}")
        network = origin.network()
        tolerances = tolerances_of(network)
        written = write_bundle(
            folder,
            network,
            settings.preprocessing(),
            tolerances,
            lambda fp16, files: origin.manifest(tolerances, fp16, files),
            wish or Wish(),
            report,
            finish,
        )
    return Exported(open_bundle(out), written, origin.clip.layout.value, len(origin.pictures))


def tolerances_of(network: AaClipGraph) -> Tolerances:
    """What the two outputs may differ when every cosine may differ by its tolerance."""
    reach = max(float(network.map_direction().norm()), SIMILARITY_SCALE / 2 * LEAST_CONTRAST)
    levels = len(network.vision.seg_proj)
    fp32, fp16 = (
        Tolerance(score=cosine / 2, map=cosine * reach * levels) for cosine in (FP32_COSINE, FP16_COSINE)
    )
    return Tolerances(fp32=fp32, fp16=fp16)


def _read(paths: AaClipPaths, settings: AaClipSettings, *, measure: bool, report: Report) -> _Origin:
    """Read all files, the small ones and the names of the pictures first: what is wrong shows at once."""
    pictures: tuple[Path, ...] = ()
    if measure:
        if paths.calibration_images is None:
            raise ValueError("without limits there must be pictures to measure them on")
        pictures = tuple(calibration_pictures(paths.calibration_images))
    report("Reading the adapters and the vocabulary")
    image = read_image_adapter(paths.image_adapter)
    text = None if paths.text_adapter is None else read_text_adapter(paths.text_adapter)
    vocabulary = read_vocabulary(paths.vocabulary)
    report(f"Reading the CLIP file {paths.clip}")
    return _Origin(read_clip_file(paths.clip), image, text, vocabulary, pictures, settings)
