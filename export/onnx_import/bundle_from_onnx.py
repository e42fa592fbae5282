"""ONNX file + what the user says about it → a proven bundle: what `adclip export onnx` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnx
import onnx_ir as ir

from edge.bundle import Bundle, open_bundle
from edge.config import OnnxRuntimeConfig
from edge.errors import BundleError
from edge.manifest import (
    GOLDEN,
    MODEL_FP32,
    PARITY,
    BundleManifest,
    OnnxHead,
    Tolerance,
    Tolerances,
)
from edge.manifest import (
    Source as ManifestSource,
)
from edge.runner import open_runner
from export.golden_frames import arrays
from export.graph_cost import GraphCost, graph_cost
from export.onnx_import.network import ImportSettings, Network, network_of
from export.onnx_import.proof import RELATIVE_TOLERANCE, Agreement, prove_against_file
from export.onnx_import.source import Source, read_source
from export.pack import file_hashes, staging_folder, write_arrays, write_figures, write_manifest
from export.verify.parity import GraphParity, measure_parity

Report = Callable[[str], None]
"""Told in a few words what is done next."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A finished bundle and what is worth telling about it."""

    bundle: Bundle
    agreement: Agreement
    parity: GraphParity
    cost: GraphCost


def import_onnx(
    path: Path,
    settings: ImportSettings,
    out: Path,
    *,
    force: bool = False,
    report: Report = lambda _step: None,
) -> Imported:
    """Read, fold, cut, prove and pack. `out` exists afterwards only if all of it went well.

    Raises `ModelFileError` for the file, `ConfigError` for the settings, `BundleError` when `out` may not be
    written, TensorRT would not take the graph, or the graph does not say what the file says.
    """
    with staging_folder(out, force=force) as folder:
        report(f"Reading {path}")
        source = read_source(path)
        report("Fixing the input, folding, cutting at the raw score and map")
        network = network_of(source, settings)
        _write_model(network.model, folder / MODEL_FP32)
        report(f"Comparing with {network.origin.text}")
        agreement, golden = prove_against_file(source, network)
        write_arrays(folder / GOLDEN, arrays(golden))
        report("Proving the bundle on ONNX Runtime, through the path of the line")
        parity = _prove(folder, source, network, settings, agreement)
    return Imported(open_bundle(out), agreement, parity, graph_cost(network.model))


def exporter_version() -> str:
    """What made the bundle, for its manifest."""
    try:
        own = version("adclip-edge")
    except PackageNotFoundError:  # run from the source tree without being installed
        own = "(source tree)"
    return f"adclip-edge {own}, onnx {onnx.__version__}, onnxscript {version('onnxscript')}"


def _write_model(model: ir.Model, path: Path) -> None:
    ir.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)


def _prove(
    folder: Path, source: Source, network: Network, settings: ImportSettings, agreement: Agreement
) -> GraphParity:
    """Open the bundle as the line would, measure, and add the figures to it."""
    manifest = _manifest(source, network, settings, agreement, file_hashes(folder))
    write_manifest(folder, manifest)
    bundle = open_bundle(folder)
    runner = open_runner(bundle, OnnxRuntimeConfig())
    try:
        parity = measure_parity(bundle, runner)
    finally:
        runner.close()
    if not parity.passed:
        raise BundleError(
            f"The bundle does not reproduce its golden frames: {parity.score_error:.1e} of the score, "
            f"{parity.anomaly_map_error:.1e} of the map. No bundle was written.",
            do="Report it with the file.",
        )
    write_figures(folder / PARITY, _figures(agreement, parity))
    write_manifest(folder, manifest.model_copy(update={"files": file_hashes(folder)}))
    return parity


def _manifest(
    source: Source, network: Network, settings: ImportSettings, agreement: Agreement, files: dict[str, str]
) -> BundleManifest:
    return BundleManifest(
        backbone=settings.name or source.path.stem,
        head=OnnxHead(origin=network.origin.text),
        preprocessing=network.preprocessing,
        map=network.map,
        reference=network.reference,
        tolerances=Tolerances(
            fp32=Tolerance(
                score=RELATIVE_TOLERANCE * agreement.score_scale, map=RELATIVE_TOLERANCE * agreement.map_scale
            )
        ),
        source=ManifestSource(files=source.files, exporter=exporter_version()),
        files=files,
    )


def _figures(agreement: Agreement, parity: GraphParity) -> dict[str, object]:
    """The content of `parity.json`: the cut graph against the file, then the bundle against its golden frames."""
    return {
        "reference": "the imported file in ONNX Runtime",
        "file": agreement.figures(),
        "graphs": {
            "fp32": {
                "runner": parity.runner,
                "frames": parity.frames,
                "score_error": parity.score_error,
                "grid_map_error": parity.grid_map_error,
                "anomaly_map_error": parity.anomaly_map_error,
                "score_tolerance": parity.score_tolerance,
                "map_tolerance": parity.map_tolerance,
                "passed": parity.passed,
            }
        },
        "passed": agreement.passed and parity.passed,
    }
