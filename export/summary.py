"""What is told about a finished export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from edge.bundle import Bundle
from edge.camera.image_file import image_files
from edge.errors import ConfigError
from export.bundle_from_network import Written


def probe_pictures(folder: Path | None) -> tuple[Path, ...]:
    """The pictures of a folder; none without one. Raises `ConfigError` when there are none in it."""
    if folder is None:
        return ()
    found = tuple(image_files(folder))
    if not found:
        raise ConfigError(
            f"{folder} holds no picture to probe with.", do="Give a folder with PNG, JPEG, BMP or TIFF files."
        )
    return found


def summary_table(bundle: Bundle, written: Written, own: Mapping[str, str]) -> Table:
    """The figures of a bundle; `own` are rows of its head, shown after the backbone."""
    manifest, cost = bundle.manifest, written.cost
    spec, (rows, columns) = manifest.preprocessing, manifest.map.grid
    lines = {
        "bundle": str(bundle.folder),
        "backbone": manifest.backbone,
        **own,
        "input, grid": f"{spec.width_px} x {spec.height_px} px, {columns} x {rows} patches",
        "resampler": spec.interpolation.replace("_", " "),
        "work": f"{cost.gflop:.2f} GFLOP for one picture",
        "parameters": f"{cost.parameter_bytes:,} bytes in the FP32 graph",
        **_precision_rows(written),
        "compared on": f"{written.parity.graphs[0].frames} golden frames, through the path of the line",
        "bundle id": bundle.bundle_id,
    }
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in lines.items():
        table.add_row(name, escape(value))
    return table


def _precision_rows(written: Written) -> dict[str, str]:
    rows = {}
    for graph in written.parity.graphs:
        name = graph.precision.upper()
        rows[f"{name} score error"] = f"{graph.score_error:.1e} (allowed {graph.score_tolerance:.1e})"
        rows[f"{name} map error"] = f"{graph.grid_map_error:.1e} (allowed {graph.map_tolerance:.1e})"
    if written.fp16 is None or written.stored is None:
        return rows | {"FP16 graph": "none"}
    stored, peak = written.stored, written.stored.peak
    blocks = ", ".join(str(number) for number in written.fp16.fp32_blocks)
    return rows | {
        "FP16 as stored": f"score error {stored.score_error:.1e}, map error {stored.map_error:.1e}",
        "blocks in FP32": blocks or "none",
        "FP16 headroom": f"{peak.headroom:.0f} times, least at {peak.node} "
        f"({peak.largest:.3g} of 65504, {stored.pictures} pictures)",
    }
