"""`adclip calibrate geometry` and `light` from the opened bench to the written folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from calibration.camera.bench import BenchCamera, Settings
from calibration.camera.bench_options import BenchOptions, OpenBench, open_bench
from calibration.camera.board import BoardSpec
from calibration.camera.findings import Refusal, refused
from calibration.camera.geometry import GeometryLimits, ViewSeen, measure_geometry
from calibration.camera.geometry_report import geometry_report
from calibration.camera.light import LightLimits, measure_light
from calibration.camera.light_report import light_report
from calibration.camera.live import CalmOperator, LiveSteps
from calibration.camera.pack import Packed, opened
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.run_end import Kind, Run, run_console
from calibration.camera.station_calibration import (
    bare_calibration,
    check_same_camera,
    settings_of,
    with_geometry,
    with_light,
)
from calibration.camera.terminal_operator import TerminalOperator
from edge.light_config import LightConfig
from edge.messages import Box

Result = TypeVar("Result")


def run_geometry(options: BenchOptions, board: BoardSpec, limits: GeometryLimits) -> None:
    """Measure the geometry and add it to the folder. Raises `MeasurementRefused` and other `EdgeError`."""
    run = Run("geometry", options, run_console(options))
    with open_bench(options) as bench, LiveSteps(run.console) as live:
        before = _before(options, bench)
        live.begin_titled("Geometry")
        operator = _operator(run, live, bench)

        def say(view: ViewSeen) -> None:
            live.say(f"view {view.number + 1} of {view.wanted}: {view.corners} corners, {view.usable} usable")

        found = _or_refused(
            run,
            bench,
            before,
            "Geometry",
            lambda: measure_geometry(bench.camera, operator, board, limits, say),
        )
        report = geometry_report(found, limits)
        live.end(report)
        kept = bench.camera.settings if before is None else settings_of(before)
        content = with_geometry(
            found, bench.camera.identity, kept, before, options.signature(), bench.region_px
        )
    run.finish(content, None if before is None else before.fields, [report])


def run_light(options: BenchOptions, patch: Box | None, limits: LightLimits) -> None:
    """Learn the light and add it to the folder. Raises `MeasurementRefused` and other `EdgeError`."""
    run = Run("light", options, run_console(options))
    with open_bench(options) as bench, LiveSteps(run.console) as live:
        before = _before(options, bench)
        settings = _take_up(bench.camera, before)
        live.begin_titled("Light")
        operator = _operator(run, live, bench)
        strobe = LightConfig() if bench.station is None else bench.station.light
        region = None if bench.station is None else bench.station.preprocess.roi_px
        found = _or_refused(
            run,
            bench,
            before,
            "Light",
            lambda: measure_light(bench.camera, operator, region, patch, strobe, limits, live.progress),
        )
        report = light_report(found, limits, strobe)
        live.end(report)
        content = with_light(
            found, bench.camera.identity, settings, before, options.signature(), bench.region_px
        )
    run.finish(content, None if before is None else before.fields, [report])


def _before(options: BenchOptions, bench: OpenBench) -> Packed | None:
    before = opened(options.out)
    check_same_camera(before, bench.camera.identity, bench.region_px)
    return before


def _take_up(camera: BenchCamera, before: Packed | None) -> Settings:
    """Set the camera as it was calibrated; without a calibration it stays as the station file has it."""
    if before is None:
        return camera.settings
    wanted = settings_of(before)
    return camera.set(
        exposure_us=wanted.exposure_us,
        gain_db=wanted.gain_db,
        red_gain=wanted.red_gain,
        blue_gain=wanted.blue_gain,
    )


def _operator(run: Run, live: LiveSteps, bench: OpenBench) -> CalmOperator:
    asked = TerminalOperator(run.console, assume_yes=run.options.yes)
    return CalmOperator(live, asked, *([] if bench.hand is None else [bench.hand]))


def _or_refused(
    run: Run, bench: OpenBench, before: Packed | None, title: str, measure: Callable[[], Result]
) -> Result:
    """The measurement; a refusal is reported, then raised again."""
    try:
        return measure()
    except MeasurementRefused as fault:
        refusal = Refusal(what=fault.what, do=fault.do)
        camera = bench.camera
        content = bare_calibration(
            camera.identity, camera.settings, before, run.options.signature(), bench.region_px
        )
        kind: Kind = run.kind
        run.refuse(content, [refused(kind, title, refusal)], refusal)
        raise
