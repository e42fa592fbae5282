"""`adclip`: one command, whose subcommands load only what they need.

A user error ends with one paragraph on stderr and exit code 2; a bug keeps its traceback.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console

from edge.errors import EdgeError
from edge.version import software_version

SUBCOMMANDS = {
    "demo": ("calibration.demo", "demo", "The real daemon on a simulated line: no camera, no GPU."),
    "run": ("edge.commands.run", "run", "The daemon: inspect parts until stopped."),
    "check": ("edge.commands.check", "check", "Doctor: test config, bundle, runner, camera and outputs."),
    "infer": ("edge.commands.infer", "infer", "Inspect image files, one by one."),
    "replay": ("edge.commands.replay", "replay", "Re-decide the stored frames of a run and compare."),
    "records": ("edge.commands.records", "records", "List and report the inspection records."),
    "export": ("export.cli", "export_command", "Make a bundle from a fine-tuned checkpoint or an ONNX file."),
    "calibrate": (
        "calibration.camera.command",
        "calibrate_command",
        "Set up camera, geometry and light, each with a number or a refusal.",
    ),
    "verify": (
        "export.verify.command",
        "verify_command",
        "Prove that every graph of a bundle decides alike.",
    ),
    "engine": ("export.engine.command", "engine_command", "Build and list TensorRT engines, on the device."),
}
"""Name → module, attribute, one line of help. The module is imported when the subcommand is used."""


class LazyGroup(click.Group):
    """A group that imports a subcommand's module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of a day's work."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the subcommand, None when there is no such name."""
        if cmd_name not in SUBCOMMANDS:
            return None
        module, attribute, _ = SUBCOMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of subcommands, from the table alone, so help needs nothing installed."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in SUBCOMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(software_version())
def adclip() -> None:
    """AD-CLIP Edge: inspects every part on the line and throws out what is not normal."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        result: Any = adclip.main(
            args=None if argv is None else list(argv), prog_name="adclip", standalone_mode=False
        )
    except EdgeError as error:
        _say(error.what, error.do)
        return 2
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except BrokenPipeError:
        # The reader of a pipe has left, as `head` does; what it wanted it has got.
        sys.stderr.close()
        return 0
    return result if isinstance(result, int) else 0


def _say(what: str, do: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"{what} {do}", markup=False, style="bold red" if console.is_terminal else None)


if __name__ == "__main__":
    sys.exit(main())
