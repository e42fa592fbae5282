"""`adclip check`: does everything that the station file names work here? Each failure says what to do."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.camera import open_camera
from edge.clock import MonotonicClock
from edge.commands.camera_doctor import examine_host
from edge.commands.finding import Finding
from edge.config import StationConfig, load_station
from edge.errors import EdgeError, OpenError
from edge.messages import Frame, FrameStatus
from edge.outputs import DeclaredState, open_outputs
from edge.preprocess import develop
from edge.station import Station, config_text, open_station

LEAST_FREE_MB = 500


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The station file.")
@click.option("--quiet", is_flag=True, help="Do not print the effective configuration.")
def check(path: Path, quiet: bool) -> int:
    """Doctor: test config, bundle, runner, golden frames, camera, outputs and records.

    Exit code 0 when everything passed, 2 when something did not.
    """
    console = Console()
    config = load_station(path)
    if not quiet:
        console.print(config_text(config), markup=False, highlight=False, soft_wrap=True)
    findings = [Finding("config", True, f"{path}: valid, id {config.identity()[:12]}"), *examine(config)]
    console.print(_table(findings))
    return 0 if all(finding.passed for finding in findings) else 2


def examine(config: StationConfig) -> list[Finding]:
    """All checks on a valid configuration; one that fails does not hide the others."""
    return [
        _finding("bundle and runner", lambda: _with_station(config, _golden)),
        _finding("thresholds", lambda: _with_station(config, _thresholds)),
        _finding("light", lambda: _with_station(config, _light)),
        *examine_host(config.camera),
        _finding("camera", lambda: _camera(config)),
        _finding("outputs", lambda: _outputs(config)),
        _finding("records", lambda: _records(config.records.directory, config.records.disk_budget_mb)),
    ]


def _finding(name: str, examine_one: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, examine_one())
    except EdgeError as error:
        return Finding(name, False, str(error))


def _with_station(config: StationConfig, look: Callable[[Station], str]) -> str:
    with open_station(config) as station:
        return look(station)


def _golden(station: Station) -> str:
    golden, manifest = station.golden, station.bundle.manifest
    spec = manifest.preprocessing
    return (
        f"{manifest.backbone} at {spec.width_px} x {spec.height_px} px, id {station.bundle.bundle_id[:12]}, "
        f"all hashes right; {station.runner.description}; {golden.frames} golden frames within tolerance "
        f"(score {golden.score_difference:.1e}, map {golden.map_difference:.1e})"
    )


def _thresholds(station: Station) -> str:
    decision = station.config.decision
    found = station.thresholds
    values = f"score {_shown(found.score)}, map {_shown(found.map)}, at least {found.min_area_px:g} px"
    if decision.calibration is None:
        return f"{values}; set by hand, so without any guarantee"
    return f"{values}; from {decision.calibration}, made for this bundle and preprocessing"


def _light(station: Station) -> str:
    light = station.config.light
    duty = "" if light.mode == "always_on" else f", duty {light.duty:.2%} of at most {light.max_duty:.2%}"
    watch = (
        f"every frame is compared with {station.light.baseline.frames} calibrated ones"
        if station.light.baseline is not None
        else "frames are not compared with any: run 'adclip calibrate light' for that"
    )
    return f"{light.mode.replace('_', ' ')}{duty}, warm-up {light.warm_up_s:g} s; {watch}"


def _camera(config: StationConfig) -> str:
    clock, stop = MonotonicClock(), threading.Event()
    camera = open_camera(config.camera, lambda _trigger: None, clock)
    try:
        frame = next(camera.frames(stop), None)
    finally:
        stop.set()
        camera.close()
    return f"{camera.description}: {_first_picture(frame, config)}"


def _first_picture(frame: Frame | None, config: StationConfig) -> str:
    if frame is None or frame.image is None or frame.status is not FrameStatus.OK:
        raise OpenError(
            "The camera gave no whole picture.", do="Check trigger, cable and light, then check again."
        )
    develop(frame.image, frame.pixel_format, config.preprocess.roi_px)
    height, width = frame.image.shape[:2]
    return f"first picture {width} x {height} {frame.pixel_format.value}"


def _outputs(config: StationConfig) -> str:
    outputs = open_outputs(config.outputs.model_copy(update={"file": None}), MonotonicClock())
    try:
        outputs.enter(DeclaredState.STOP)
    finally:
        outputs.close()
    return f"{config.outputs.backend}: {', '.join(outputs.lines)}; entered start and stop levels"


def _records(directory: Path, budget_mb: float) -> str:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"adclip check")
        free_mb = shutil.disk_usage(directory).free / 1e6
    except OSError as fault:
        raise OpenError(
            f"The records directory {directory} cannot be written: {fault.strerror}.",
            do="Create it for the user that runs the daemon, or choose another records.directory.",
        ) from fault
    if free_mb < LEAST_FREE_MB:
        raise OpenError(
            f"Only {free_mb:.0f} MB are free for the records in {directory}.",
            do=f"Free at least {LEAST_FREE_MB} MB, or choose another records.directory.",
        )
    note = "" if free_mb > budget_mb else ", less than the disk budget"
    return f"{directory} is writable, {free_mb / 1000:.1f} GB free{note}"


def _shown(value: float | None) -> str:
    return "off" if value is None else f"{value:.4f}"


def _table(findings: list[Finding]) -> Table:
    table = Table("check", "", "found")
    for finding in findings:
        mark = "[green]ok[/green]" if finding.passed else "[bold red]FAILED[/bold red]"
        table.add_row(finding.name, mark, escape(finding.text))
    return table
