"""A checked file → the network of a bundle, with everything that the manifest says about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edge.errors import ConfigError, ModelFileError
from edge.manifest import Interpolation, MapSpec, Preprocessing, ReferenceLimits
from edge.messages import Box
from export.graph_lint import check_constants_finite, check_operators, check_static_shapes
from export.onnx_import.folding import fix_input
from export.onnx_import.input_size import NetworkInput, Size, settle_input
from export.onnx_import.limits import limits_from_metadata
from export.onnx_import.origin import Origin, opset, origin_of
from export.onnx_import.outputs import Outputs, choose_outputs
from export.onnx_import.picture_input import Affine, pixel_steps
from export.onnx_import.sorting import shorten_sorts
from export.onnx_import.source import ANOMALIB_EXPORT, Source
from export.onnx_import.surgery import cut_out
from export.onnx_import.tail import Tail, cut_tail, label_limit

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
OPSETS = range(9, 21)
"""What the ONNX parser of TensorRT 10.3 reads."""


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """What the user may say about a file. `mean` and `std` are applied to pixels of 0 to 1, before the network.

    `without_limits` takes an anomalib 2.x file whose scores were never normalised.
    """

    metadata: Path | None = None
    score: str | None = None
    map: str | None = None
    input_size: Size | None = None
    mean: Triple | None = None
    std: Triple | None = None
    interpolation: Interpolation | None = None
    without_limits: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ConfigError("Only one of mean and std was given.", do="Give both, or none.")
        if self.std is not None and min(self.std) <= 0:
            raise ConfigError("A std is not above 0.", do="Give three numbers above 0.")


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The cut graph. `raw_score` and `raw_map` name the tensors of the file that it returns; None for the one
    that the file has not."""

    model: ir.Model
    origin: Origin
    input: NetworkInput
    preprocessing: Preprocessing
    map: MapSpec
    reference: ReferenceLimits | None
    raw_score: str | None
    raw_map: str | None


def network_of(source: Source, settings: ImportSettings) -> Network:
    """Fix, fold, cut and check.

    Raises `ModelFileError` when the file cannot become a bundle, `ConfigError` when the settings do not fit it,
    and `BundleError` when TensorRT would not take the result.
    """
    model = source.model()
    origin = origin_of(model)
    _check_opset(model)
    taken = settle_input(model, settings.input_size)
    fix_input(model, taken.size_px)
    steps = pixel_steps(model)
    shorten_sorts(model)
    outputs = choose_outputs(model, origin.family, settings.score, settings.map)
    score = _tail(outputs.score, origin)
    map_tail = _tail(outputs.map, origin)
    reference = _reference(origin, settings, outputs, score, map_tail)
    names = [None if tail is None else str(tail.raw.name) for tail in (score, map_tail)]
    grid = cut_out(model, score.raw if score else None, map_tail.raw if map_tail else None)
    check_operators(model)
    check_static_shapes(model)
    check_constants_finite(model)
    return Network(
        model,
        origin,
        taken,
        _preprocessing(settings, taken, steps.affine),
        MapSpec(grid=grid, covers_px=_covered(steps.crop, taken.size_px, grid)),
        reference,
        raw_score=names[0],
        raw_map=names[1],
    )


def _check_opset(model: ir.Model) -> None:
    if opset(model) not in OPSETS:
        raise ModelFileError(
            f"The file has opset {opset(model)}; TensorRT 10.3 reads {OPSETS[0]} to {OPSETS[-1]}.",
            do="Export it again with opset_version=18.",
        )


def _tail(output: ir.Value | None, origin: Origin) -> Tail | None:
    """The raw value of an output; only anomalib 2.x normalises inside."""
    if output is None:
        return None
    return cut_tail(output) if origin.family == "anomalib 2.x" else Tail(output, None, chosen=False)


def _reference(
    origin: Origin, settings: ImportSettings, outputs: Outputs, score: Tail | None, map_tail: Tail | None
) -> ReferenceLimits | None:
    """anomalib's own limits: out of the graph (2.x) or out of metadata.json (1.x)."""
    if origin.family != "anomalib 2.x":
        return None if settings.metadata is None else limits_from_metadata(settings.metadata)
    if settings.metadata is not None:
        raise ConfigError(
            "The file is of anomalib 2.x, which keeps its limits in the graph.", do="Leave --metadata out."
        )
    if score is None or score.scale is None:
        _refuse_unvalidated(settings, outputs, score)
        return None
    limit = None if outputs.label is None else label_limit(outputs.label)
    return ReferenceLimits(
        source="anomalib 2.x, in the graph",
        score=score.scale,
        map=None if map_tail is None else map_tail.scale,
        bad_above=0.5 if limit is None else limit,
    )


def _refuse_unvalidated(settings: ImportSettings, outputs: Outputs, score: Tail | None) -> None:
    """A label over a score that was never normalised compares it with 0.5, which means nothing.

    Without a label the file was made to be raw.
    """
    raw_on_purpose = outputs.label is None and not (score is not None and score.chosen)
    if raw_on_purpose or settings.without_limits:
        return
    raise ModelFileError(
        "anomalib wrote this file without usable limits: the model was exported before it was validated, or with "
        "its normalisation switched off, and its labels mean nothing.",
        do=f"Run engine.fit or engine.validate with good and bad pictures, then {ANOMALIB_EXPORT}; or import "
        "its raw scores with --without-limits and calibrate here.",
    )


def _preprocessing(settings: ImportSettings, taken: NetworkInput, affine: Affine) -> Preprocessing:
    mean, std = _normalisation(settings, affine)
    height, width = taken.size_px
    return Preprocessing(
        height_px=height, width_px=width, interpolation=_interpolation(settings, taken), mean=mean, std=std
    )


def _normalisation(settings: ImportSettings, affine: Affine) -> tuple[Triple, Triple]:
    """What is left to do outside: nothing when the graph normalises as for ImageNet."""
    plain = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    given = None if settings.mean is None or settings.std is None else (settings.mean, settings.std)
    inside = affine.normalises_by(IMAGENET_MEAN, IMAGENET_STD)
    if given is None and not inside:
        raise ModelFileError(
            "The graph does not begin with ImageNet's normalisation, and nothing else in the file tells what "
            "pixel values it takes (anomalib with pre_processor=False, for one).",
            do="Say what is done to pixels of 0 to 1 before the network: --imagenet, or --mean R,G,B --std R,G,B "
            "(0,0,0 and 1,1,1 for nothing).",
        )
    if given is not None and given != plain and inside:
        raise ConfigError(
            "The graph normalises its pixels itself; a mean and std from outside would do it twice.",
            do="Leave --imagenet, --mean and --std out.",
        )
    return plain if given is None else given


def _interpolation(settings: ImportSettings, taken: NetworkInput) -> Interpolation:
    """The user's, the network's own, or what anomalib uses."""
    if settings.interpolation is not None:
        return settings.interpolation
    if taken.resize_output is None:
        return "pil_bilinear_antialias"
    if taken.filter is None:
        raise ModelFileError(
            "The network's own resize neither interpolates linearly nor cubically.",
            do="Say how the training pictures were resized, with --interpolation.",
        )
    return taken.filter


def _covered(crop: Box | None, size_px: Size, grid: tuple[int, int]) -> Box | None:
    """The part of the input under the map: the crop, unless the network has put the map back in its place."""
    whole = crop is None or crop[2:] == size_px[::-1]
    return None if whole or grid in ((1, 1), size_px) else crop
