"""`adclip records`: look at what was recorded."""

from __future__ import annotations

import importlib
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from edge.records import Run, open_records

DIRECTORY = click.Path(path_type=Path)


@click.group()
def records() -> None:
    """List and report the inspection records."""


@records.command("list")
@click.argument("directory", type=DIRECTORY)
def list_runs(directory: Path) -> None:
    """The runs in a records DIRECTORY."""
    table = Table("run", "started (UTC)", "end", "parts", "station", "camera", "bundle")
    with open_records(directory) as reader:
        for run in reader.runs():
            table.add_row(
                str(run.number),
                run.info.started_utc,
                _end(run),
                str(reader.part_count(run.number)),
                run.info.station,
                run.info.camera,
                run.info.bundle_id[:12],
            )
    Console().print(table)


@records.command("report")
@click.argument("directory", type=DIRECTORY, metavar="RUN")
@click.option("--truth", type=DIRECTORY, required=True, help="manifest.csv with the label of each picture.")
@click.option("--run", type=click.IntRange(1), help="Number of the run; the last one if not given.")
@click.option("--report", type=DIRECTORY, help="Folder for report.html, sheet.png and summary.json.")
@click.option("--bundle", type=DIRECTORY, help="Where the run's bundle is now, if it moved.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of the table.")
def report_command(
    directory: Path, truth: Path, run: int | None, report: Path | None, bundle: Path | None, as_json: bool
) -> None:
    """Compare a run in the records directory RUN with what is true of its pictures."""
    # By name: the line's own code does not depend on the calibration room.
    report_run = importlib.import_module("calibration.run_report").report_run
    report_run(
        directory, truth, run=run, report_dir=report, console=Console(), as_json=as_json, bundle=bundle
    )


def _end(run: Run) -> str:
    if run.ended_utc is not None:
        return run.ended_utc
    return "interrupted" if run.interrupted else "running, or broken off"
