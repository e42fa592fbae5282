"""`adclip export`: from a fine-tuned checkpoint to a proven bundle.

Nothing here imports torch before a command runs, so `--help` works without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from export.aaclip.command import aaclip_command
from export.onnx_import.command import onnx_command
from export.options import FILE, precision_options, require_torch, resample_option


def _block_numbers(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, ...]:
    """6,12,18,24 → numbers; commas or spaces between them."""
    try:
        numbers = tuple(int(part) for part in value.replace(",", " ").split())
    except ValueError:
        numbers = ()
    if not numbers:
        raise click.BadParameter(f"{value!r} is not a list of block numbers such as 6,12,18,24.")
    return numbers


@click.group("export")
def export_command() -> None:
    """Make a bundle from a fine-tuned checkpoint (needs torch) or an ONNX file (does not)."""


@export_command.command("anomalyclip")
@click.option(
    "--clip",
    "clip_path",
    type=FILE,
    required=True,
    help="CLIP file of the training: OpenAI's .pt, or open_clip's or Hugging Face's (.safetensors, .bin, "
    "index.json).",
)
@click.option(
    "--checkpoint", "checkpoint_path", type=FILE, required=True, help="epoch_N.pth of the training."
)
@click.option("--image-size", type=int, default=518, show_default=True, help="Side of the input, in pixels.")
@click.option("--dpam", type=int, required=True, help="N of the training; the last N-1 blocks run two paths.")
@click.option(
    "--features",
    required=True,
    metavar="NUMBERS",
    callback=_block_numbers,
    help="Blocks of the training, e.g. 6,12,18,24.",
)
@click.option(
    "--legacy-features",
    is_flag=True,
    help="The training code is older than 13 April 2025 (equal layer maps).",
)
@click.option("--sigma", type=float, default=4.0, show_default=True, help="Smoothing of the map, in pixels.")
@resample_option
@precision_options
@click.option("--force", is_flag=True, help="Replace the bundle at --out.")
@click.option("--out", type=FILE, required=True, help="Folder of the new bundle.")
def anomalyclip(
    clip_path: Path,
    checkpoint_path: Path,
    image_size: int,
    dpam: int,
    features: tuple[int, ...],
    legacy_features: bool,
    sigma: float,
    resample: Literal["pillow", "fast"],
    fp32_only: bool,
    fp32_softmax: bool,
    probe_images: Path | None,
    force: bool,
    out: Path,
) -> None:
    """Export AnomalyCLIP: a CLIP file and a prompt checkpoint.

    dpam and features are not stored in the checkpoint: give those of the training.
    """
    require_torch()
    from export.anomalyclip import AnomalyClipSettings
    from export.bundle_from_anomalyclip import export_anomalyclip
    from export.bundle_from_network import Wish
    from export.summary import probe_pictures, summary_table

    console = Console()
    settings = AnomalyClipSettings(
        image_size=image_size,
        dpam=dpam,
        features=features,
        legacy_features=legacy_features,
        sigma=sigma,
        resample=resample,
    )
    wish = Wish(not fp32_only, fp32_softmax, probe_pictures(probe_images))
    with console.status("This takes seconds for a small backbone, minutes for ViT-L."):
        exported = export_anomalyclip(
            clip_path,
            checkpoint_path,
            settings,
            out,
            wish=wish,
            force=force,
            report=lambda step: console.print(step, markup=False, highlight=False, soft_wrap=True),
        )
    layers = ", ".join(str(layer) for layer in exported.layers_used)
    console.print(
        summary_table(
            exported.bundle, exported.written, {"CLIP layout": exported.layout, "layers used": layers}
        )
    )


export_command.add_command(aaclip_command)
export_command.add_command(onnx_command)
