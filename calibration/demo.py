"""`adclip demo`: the real daemon on a simulated line, watched live, and judged at the end.

The pipeline, its threads, the records and the gate are those of `adclip run`; only the camera is simulated,
and the output lines are recorded instead of wired.
"""

from __future__ import annotations

import logging
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console

from calibration.demo_view import LiveView
from calibration.print_summary import print_summary
from calibration.report import write_report
from calibration.results import PartResult, RunIdentity, RunResult, run_result
from calibration.witness import Witness
from edge.camera import Camera
from edge.camera.scene import DEFAULT_PRODUCT, PRODUCTS, part_roi_px
from edge.camera.synthetic import SyntheticCamera
from edge.camera_config import SyntheticCameraConfig
from edge.clock import MonotonicClock
from edge.config import (
    DecisionConfig,
    GateConfig,
    LineConfig,
    OnnxRuntimeConfig,
    PreprocessConfig,
    RecorderOutputConfig,
    RecordsConfig,
    StationConfig,
)
from edge.errors import ConfigError, OpenError
from edge.station import RunEnd, Station, config_text, open_station, run_station, stop_on_signals

MODELS = Path(__file__).resolve().parent.parent / "models"
WIDTH_PX, HEIGHT_PX = 2048, 1080
FIRST_RESERVED_SEED = 1_000_000
"""Seeds from here on made the demo model and its thresholds."""


@click.command()
@click.option("--parts", type=click.IntRange(1), default=240, show_default=True, help="Parts to inspect.")
@click.option("--product", type=click.Choice(sorted(PRODUCTS)), default=DEFAULT_PRODUCT, show_default=True)
@click.option("--report", type=click.Path(path_type=Path), help="Folder for report, pictures and records.")
@click.option("--seed", type=click.IntRange(0, FIRST_RESERVED_SEED - 1), default=1, show_default=True)
@click.option(
    "--rate", type=click.FloatRange(1, 1200), default=240.0, show_default=True, help="Parts a minute."
)
def demo(parts: int, product: str, report: Path | None, seed: int, rate: float) -> int:
    """The real daemon on a simulated line: no camera, no GPU.

    Ends by itself; Ctrl-C lets the parts on the belt reach the gate and ends then.
    """
    console = Console()
    # Alarms are printed at the end; in between they would tear the live table.
    logging.getLogger("adclip").addHandler(logging.NullHandler())
    with ExitStack() as folders:
        records = _records_folder(report, folders)
        config = demo_config(product, seed, parts, rate, records)
        with open_station(config) as station:
            result, end = _watched_run(station, console)
    print_summary(console, result)
    if report is not None:
        write_report(result, report)
        _write_config(config, report)
        console.print(f"Report: {report / 'report.html'}", highlight=False, soft_wrap=True)
    return 0 if end.failed is None and end.accounted else 1


def demo_config(product: str, seed: int, parts: int, rate_per_min: float, records: Path) -> StationConfig:
    """The station file of the demo; `deploy/stations/demo.yaml` is the same with comments."""
    bundle, calibration = MODELS / "demo", MODELS / "demo-thresholds" / f"{product}.yaml"
    for needed in (bundle, calibration):
        if not needed.exists():
            raise ConfigError(
                f"The demo needs {needed}, which is not there.",
                do="Run it from a complete clone of the repository, or make it with 'make demo-model'.",
            )
    line = LineConfig(start=False, stop=False, crash=False, stall=True, max_on_ms=2000.0)
    return StationConfig(
        station="demo",
        bundle=bundle,
        runner=OnnxRuntimeConfig(threads=1),
        camera=SyntheticCameraConfig(
            backend="synthetic",
            product=product,
            seed=seed,
            parts=parts,
            rate_per_min=rate_per_min,
            width_px=WIDTH_PX,
            height_px=HEIGHT_PX,
        ),
        preprocess=PreprocessConfig(roi_px=part_roi_px(WIDTH_PX, HEIGHT_PX)),
        decision=DecisionConfig(calibration=calibration),
        gate=GateConfig(travel_ms=800.0, pulse_ms=40.0),
        outputs=RecorderOutputConfig(backend="recorder", lines={"reject": line}, file=records / "lines.csv"),
        records=RecordsConfig(directory=records, keep_frames="rejects", disk_budget_mb=2000.0),
    )


def _watched_run(station: Station, console: Console) -> tuple[RunResult, RunEnd]:
    camera_config = station.config.camera
    assert isinstance(camera_config, SyntheticCameraConfig)
    view = LiveView(console, camera_config.product, camera_config.parts)
    witness = Witness(station.preprocessing)

    def meet(camera: Camera) -> None:
        assert isinstance(camera, SyntheticCamera)
        witness.camera = camera

    with stop_on_signals() as stop, view:
        end = run_station(
            station, MonotonicClock(), stop, (witness, view), on_camera=meet, on_tick=view.refresh
        )
    for alarm in end.alarms:
        console.print(f"alarm {alarm.name} ({alarm.count} times): {alarm.detail}", markup=False)
    identity = RunIdentity(
        bundle_id=station.bundle.bundle_id,
        config_id=station.config.identity(),
        thresholds=station.thresholds,
        title=f"Demo: {camera_config.product}",
        station=station.config.station,
        started_utc=end.started_utc,
        simulated=True,
        product=camera_config.product,
        seed=camera_config.seed,
    )
    parts: list[PartResult] = witness.parts()
    return run_result(parts, end.counts, identity), end


def _records_folder(report: Path | None, folders: ExitStack) -> Path:
    if report is None:
        return Path(folders.enter_context(tempfile.TemporaryDirectory(prefix="adclip-demo-")))
    records = report / "records"
    try:
        records.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OpenError(
            f"{records} cannot be made: {fault.strerror}.", do="Choose another folder."
        ) from fault
    return records


def _write_config(config: StationConfig, report: Path) -> None:
    """The station file that repeats this run with `adclip run`."""
    part = report / "station.yaml.part"
    part.write_text(config_text(config), encoding="utf-8")
    part.replace(report / "station.yaml")
