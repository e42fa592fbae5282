"""How a calibration run ends: calibration and report written, or a report of the refusal; both told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from calibration.camera.bench_options import BenchOptions
from calibration.camera.findings import CalibrationReport, Refusal, StepReport
from calibration.camera.pack import Fields, write_calibration
from calibration.camera.page import SIMULATED
from calibration.camera.report import report_files, report_json
from calibration.camera.station_yaml import station_yaml
from calibration.camera.unfinished import unfinished_folder
from edge.camera_calibration import CameraCalibration
from edge.errors import OpenError

Kind = Literal["camera", "geometry", "light"]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run: its command, what was asked for, and where it is told. Numbers go to stderr beside
    `--json`."""

    kind: Kind
    options: BenchOptions
    console: Console

    def finish(
        self,
        content: CameraCalibration,
        fields: Fields | None,
        steps: Sequence[StepReport],
        notes: Sequence[str] = (),
    ) -> CalibrationReport:
        """Write the calibration and its report, and say where they are and what the station needs."""
        folder = self.options.out
        report = self._report(content, steps, tuple(notes), None, None)

        def files(identity: str) -> dict[str, bytes]:
            return report_files(report.model_copy(update={"calibration_id": identity}))

        identity = write_calibration(folder, content, fields, files)
        report = report.model_copy(update={"calibration_id": identity})
        _forget(unfinished_folder(folder), report.stem)
        for note in notes:
            self._say(note, style="yellow")
        self._say("")
        self._say(f"Calibration: {folder}, id {identity[:12]}")
        self._say(f"Report:      {folder / report.stem}.html")
        self._say("For the station file:")
        self._say(station_yaml(content.camera, report.folder).rstrip())
        if self.options.simulated:
            self._say(SIMULATED, style="yellow")
        self._tell(report)
        return report

    def refuse(self, content: CameraCalibration, steps: Sequence[StepReport], refusal: Refusal) -> None:
        """Write a report of how far it came, beside the calibration folder, which is left as it is."""
        report = self._report(content, steps, (), None, refusal)
        place = unfinished_folder(self.options.out)
        _write_files(place, report_files(report))
        self._say(f"Report: {place / report.stem}.html")
        self._tell(report)

    def _report(
        self,
        content: CameraCalibration,
        steps: Sequence[StepReport],
        notes: tuple[str, ...],
        identity: str | None,
        refusal: Refusal | None,
    ) -> CalibrationReport:
        return CalibrationReport(
            command=self.kind,
            made_utc=content.made_utc,
            made_by=content.made_by,
            simulated=self.options.simulated,
            camera=content.camera,
            width_px=content.width_px,
            height_px=content.height_px,
            folder=str(self.options.out.resolve()),
            calibration_id=identity,
            refusal=refusal,
            notes=notes,
            steps=tuple(steps),
        )

    def _say(self, words: str, style: str | None = None) -> None:
        self.console.print(words, style=style, markup=False, highlight=False, soft_wrap=True)

    def _tell(self, report: CalibrationReport) -> None:
        if self.options.as_json:
            click.echo(report_json(report))


def run_console(options: BenchOptions) -> Console:
    """Standard output, or stderr where that is for JSON."""
    return Console(stderr=options.as_json)


def _write_files(folder: Path, contents: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            part = folder / f"{name}.part"
            part.write_bytes(content)
            part.replace(folder / name)
    except OSError as fault:
        raise OpenError(
            f"{folder} cannot be written: {fault.strerror or fault}.", do="Give another folder with --out."
        ) from fault


def _forget(folder: Path, stem: str) -> None:
    """Take the report of an earlier refusal away, and its folder when nothing else is in it."""
    for kind in ("html", "json"):
        (folder / f"{stem}.{kind}").unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
