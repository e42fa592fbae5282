"""`adclip export aaclip`: a CLIP file and AA-CLIP's adapters → a bundle for one product.

Nothing here imports torch before the command runs, so `--help` works without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from rich.console import Console
from rich.progress import track

from edge.errors import ConfigError
from edge.manifest import Range
from export.options import FILE, precision_options, require_torch, resample_option

if TYPE_CHECKING:
    from rich.status import Status

    from export.aaclip.bundle_from_aaclip import Exported
    from export.aaclip.settings import AaClipSettings


class _Levels(click.ParamType[tuple[int, ...]]):
    name = "numbers"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """6,12,18,24 → numbers; commas or spaces between them."""
        try:
            numbers = tuple(int(part) for part in str(value).replace(",", " ").split())
        except ValueError:
            numbers = ()
        return numbers or self.fail(
            f"{value!r} is not a list of block numbers such as 6,12,18,24.", param, ctx
        )


class _Limits(click.ParamType[Range]):
    name = "low,high"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Range:
        """Two finite numbers, the second above the first."""
        try:
            low, high = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not LOW,HIGH.", param, ctx)
        if not (low < high and math.isfinite(high - low)):
            self.fail(f"{value!r} is no range: the second number must be above the first.", param, ctx)
        return (low, high)


@click.command("aaclip")
@click.option("--clip", "clip_path", type=FILE, required=True, help="CLIP file of the training.")
@click.option("--image-adapter", type=FILE, required=True, help="image_adapter_N.pth of the training.")
@click.option(
    "--text-adapter", type=FILE, help="text_adapter.pth of the training; plain CLIP text without it."
)
@click.option("--vocabulary", type=FILE, required=True, help="CLIP's bpe_simple_vocab_16e6.txt.gz.")
@click.option("--product", required=True, help="Words for the product, e.g. 'metal ring'; 'object' will do.")
@click.option("--image-size", type=int, default=518, show_default=True, help="Side of the input, in pixels.")
@click.option(
    "--levels", type=_Levels(), default="6,12,18,24", show_default=True, help="Blocks that are compared."
)
@click.option(
    "--domain",
    type=click.Choice(["industrial", "medical"]),
    default="industrial",
    show_default=True,
    help="Smoothing of the map, and whether the score counts beside the map's peak.",
)
@click.option(
    "--image-adapt-weight", type=float, default=0.1, show_default=True, help="Of the training, 0 to 1."
)
@click.option(
    "--text-adapt-weight", type=float, default=0.1, show_default=True, help="Of the training, 0 to 1."
)
@click.option(
    "--calibration-images",
    type=FILE,
    help="Folder of pictures, good and bad, that set the limits of the scales.",
)
@click.option("--map-limits", type=_Limits(), help="The map's limits, known from elsewhere.")
@click.option("--score-limits", type=_Limits(), help="The graph's score's limits, for --domain industrial.")
@resample_option
@precision_options
@click.option("--force", is_flag=True, help="Replace the bundle at --out.")
@click.option("--out", type=FILE, required=True, help="Folder of the new bundle.")
def aaclip_command(
    clip_path: Path,
    image_adapter: Path,
    text_adapter: Path | None,
    vocabulary: Path,
    product: str,
    image_size: int,
    levels: tuple[int, ...],
    domain: Literal["industrial", "medical"],
    image_adapt_weight: float,
    text_adapt_weight: float,
    calibration_images: Path | None,
    map_limits: Range | None,
    score_limits: Range | None,
    resample: Literal["pillow", "fast"],
    fp32_only: bool,
    fp32_softmax: bool,
    probe_images: Path | None,
    force: bool,
    out: Path,
) -> None:
    """Export AA-CLIP for one product: a CLIP file, one or two adapters and the limits of its scales.

    Limits are measured on --calibration-images, or given as --map-limits and --score-limits. Levels and weights
    are not stored in the adapters: give those of the training.
    """
    require_torch()
    from export.aaclip.bundle_from_aaclip import AaClipPaths, export_aaclip
    from export.aaclip.limits import limits_by_hand
    from export.aaclip.settings import AaClipSettings
    from export.bundle_from_network import Wish
    from export.summary import probe_pictures, summary_table

    limits = limits_by_hand(map_limits, score_limits, domain)
    if (limits is None) == (calibration_images is None):
        raise ConfigError(
            "AA-CLIP's scales need limits from one source.",
            do="Give --calibration-images, or the limits by hand, and not both.",
        )
    settings = AaClipSettings(
        product=product,
        image_size=image_size,
        levels=levels,
        domain=domain,
        image_adapt_weight=image_adapt_weight,
        text_adapt_weight=text_adapt_weight,
        resample=resample,
    )
    paths = AaClipPaths(
        clip=clip_path,
        image_adapter=image_adapter,
        text_adapter=text_adapter,
        vocabulary=vocabulary,
        calibration_images=calibration_images,
    )
    wish = Wish(not fp32_only, fp32_softmax, probe_pictures(probe_images))
    console = Console()
    with console.status("This takes seconds for a small backbone, minutes for ViT-L.") as status:
        exported = export_aaclip(
            paths,
            settings,
            out,
            limits=limits,
            wish=wish,
            force=force,
            report=lambda step: console.print(step, markup=False, highlight=False, soft_wrap=True),
            progress=lambda pictures: _tracked(pictures, console, status),
        )
    console.print(summary_table(exported.bundle, exported.written, _rows(exported, settings)))


def _tracked(pictures: Sequence[Path], console: Console, status: Status) -> Iterator[Path]:
    """The pictures with a progress bar, which takes the place of the status line for as long."""
    status.stop()
    yield from track(pictures, description="Measuring the limits", console=console)
    status.start()


def _rows(exported: Exported, settings: AaClipSettings) -> dict[str, str]:
    """What the summary tells beside the figures that every head has."""
    manifest = exported.bundle.manifest
    return {
        "CLIP layout": exported.layout,
        "head": f"AA-CLIP, {settings.domain}",
        "product": settings.product,
        "levels": ", ".join(str(level) for level in settings.levels),
        "map limits": _told(manifest.map.scale),
        "score limits": _told(manifest.score.scale),
        "limits from": f"{exported.pictures} pictures" if exported.pictures else "the command line",
    }


def _told(limits: Range | None) -> str:
    return (
        "not used: the score is the map's peak" if limits is None else f"{limits[0]:.4g} to {limits[1]:.4g}"
    )
