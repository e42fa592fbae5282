"""Options that several export commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edge.errors import OpenError

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)

resample_option = click.option(
    "--resample",
    type=click.Choice(["pillow", "fast"]),
    default="pillow",
    show_default=True,
    help="pillow: exactly the training's resampler; fast: ours, for camera frames, within two 8-bit levels.",
)


def precision_options(command: Command) -> Command:
    """--fp32-only, --fp32-softmax and --probe-images."""
    for option in (
        click.option(
            "--probe-images", type=FILE, help="Folder of pictures for the overflow probe of the FP16 graph."
        ),
        click.option(
            "--fp32-softmax",
            is_flag=True,
            help="Softmax of the attentions in FP32: TensorRT then does not fuse them.",
        ),
        click.option("--fp32-only", is_flag=True, help="Make no FP16 graph."),
    ):
        command = option(command)
    return command


def require_torch() -> None:
    """Raise `OpenError` unless everything that a torch export needs is installed."""
    try:
        import onnxscript  # noqa: F401
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ImportError as fault:
        raise OpenError(
            f"Exporting needs {fault.name}, which is not installed here.",
            do="Install the export extra on a PC: pip install 'adclip-edge[export]'.",
        ) from fault
