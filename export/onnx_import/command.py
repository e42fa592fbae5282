"""`adclip export onnx`: an ONNX file becomes a proven bundle. Needs onnx and onnxscript, not torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.errors import ConfigError, OpenError
from export.options import FILE

if TYPE_CHECKING:
    from export.onnx_import.bundle_from_onnx import Imported

Triple = tuple[float, float, float]

INTERPOLATIONS = (
    "pil_bilinear_antialias",
    "pil_bicubic_antialias",
    "fast_bilinear_antialias",
    "fast_bicubic_antialias",
)


class TripleType(click.ParamType[Triple]):
    """R,G,B: three numbers."""

    name = "r,g,b"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Triple:
        """Three numbers with commas between them."""
        try:
            red, green, blue = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not three numbers R,G,B.", param, ctx)
        return (red, green, blue)


class SizeType(click.ParamType[tuple[int, int]]):
    """HEIGHT,WIDTH in pixels."""

    name = "height,width"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Two whole numbers above 0."""
        try:
            height, width = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not HEIGHT,WIDTH.", param, ctx)
        if min(height, width) <= 0:
            self.fail(f"{value!r} is no size: both are above 0.", param, ctx)
        return (height, width)


@click.command("onnx")
@click.argument("model", type=FILE)
@click.option("--metadata", type=FILE, help="metadata.json of anomalib 1.x; 2.x has its limits in the model.")
@click.option("--score", metavar="NAME", help="Output with the image score, when the file does not tell.")
@click.option("--map", "map_name", metavar="NAME", help="Output with the map, when the file does not tell.")
@click.option(
    "--input-size", type=SizeType(), help="HEIGHT,WIDTH of a file that takes any size and does not resize."
)
@click.option(
    "--mean", type=TripleType(), help="Mean of pixels 0 to 1, where the network does not subtract it."
)
@click.option("--std", type=TripleType(), help="Standard deviation, likewise.")
@click.option(
    "--imagenet", is_flag=True, help="ImageNet's mean and std, where the network does not apply them."
)
@click.option(
    "--interpolation",
    type=click.Choice(INTERPOLATIONS),
    help="How pictures are resized. [default: as the network itself does, with antialiasing]",
)
@click.option(
    "--without-limits", is_flag=True, help="Take an anomalib 2.x file that was never validated: raw scores."
)
@click.option("--name", help="Name of the network, for people. [default: the file's]")
@click.option("--force", is_flag=True, help="Replace the bundle at --out.")
@click.option("--out", type=FILE, required=True, help="Folder of the new bundle.")
def onnx_command(
    model: Path,
    metadata: Path | None,
    score: str | None,
    map_name: str | None,
    input_size: tuple[int, int] | None,
    mean: Triple | None,
    std: Triple | None,
    imagenet: bool,
    interpolation: str | None,
    without_limits: bool,
    name: str | None,
    force: bool,
    out: Path,
) -> None:
    """Import MODEL, an ONNX file of anomalib 1.x or 2.x, or any other with a score or a map.

    The graph is cut at the raw score and map, and proven to say what the file says. Limits that came with it are
    reported beside our verdict and never decide.
    """
    _require_onnx()
    from export.onnx_import.bundle_from_onnx import import_onnx
    from export.onnx_import.network import IMAGENET_MEAN, IMAGENET_STD, ImportSettings

    if imagenet and (mean is not None or std is not None):
        raise ConfigError("Both --imagenet and a mean or std were given.", do="Give one of the two.")
    console = Console()
    settings = ImportSettings(
        metadata=metadata,
        score=score,
        map=map_name,
        input_size=input_size,
        mean=IMAGENET_MEAN if imagenet else mean,
        std=IMAGENET_STD if imagenet else std,
        interpolation=interpolation,  # type: ignore[arg-type]  # click has checked the choice
        without_limits=without_limits,
        name=name,
    )
    with console.status("This takes seconds, a minute for a large network."):
        imported = import_onnx(
            model,
            settings,
            out,
            force=force,
            report=lambda step: console.print(step, markup=False, highlight=False, soft_wrap=True),
        )
    console.print(_summary(imported))


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as fault:
        raise OpenError(
            f"Importing needs {fault.name}, which is not installed here.",
            do="Install the export extra on a PC: pip install 'adclip-edge[export]'; torch is not needed for it.",
        ) from fault


def _summary(imported: Imported) -> Table:
    manifest, agreement = imported.bundle.manifest, imported.agreement
    spec, (rows, columns) = manifest.preprocessing, manifest.map.grid
    covers = manifest.map.covers_px
    placed = "" if covers is None else f", over {covers[2]} x {covers[3]} px at {covers[0]}, {covers[1]}"
    head = manifest.head
    lines = {
        "bundle": str(imported.bundle.folder),
        "network": manifest.backbone,
        "origin": head.origin if head.kind == "onnx" else head.kind,
        "input": f"{spec.width_px} x {spec.height_px} px, {spec.interpolation.replace('_', ' ')}",
        "map": f"{columns} x {rows}{placed}" if manifest.map.localises else "none: the score alone",
        "work": f"{imported.cost.gflop:.2f} GFLOP for one picture",
        "parameters": f"{imported.cost.parameter_bytes:,} bytes",
        "score error": f"{agreement.score_error:.1e} (values up to {agreement.score_scale:.3g})",
        "map error": f"{agreement.map_error:.1e} (values up to {agreement.map_scale:.3g})",
        "its own limits": _limits(imported),
        "FP16 graph": "none: imported networks run in FP32",
        "compared on": f"{agreement.frames} golden frames, {imported.parity.runner}",
        "bundle id": imported.bundle.bundle_id,
    }
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in lines.items():
        table.add_row(name, escape(value))
    return table


def _limits(imported: Imported) -> str:
    manifest = imported.bundle.manifest
    limits = manifest.reference
    if limits is None and manifest.head.kind == "onnx" and manifest.head.origin.startswith("anomalib 1.x"):
        return "none given; anomalib 1.x has them in metadata.json (--metadata)"
    if limits is None:
        return "none in the file"
    if limits.score is None:
        return f"{limits.source}: none for the score"
    return f"{limits.source}: bad from {limits.score.threshold:.4g}, 0 to 1 over {limits.score.span:.4g}"
