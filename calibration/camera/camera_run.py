"""`adclip calibrate camera` from the opened bench to the written folder."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.camera.bench import BenchCamera, Operator
from calibration.camera.bench_options import BenchOptions, OpenBench, open_bench
from calibration.camera.exposure import LineMotion
from calibration.camera.findings import Refusal, refused
from calibration.camera.live import CalmOperator, LiveSteps, focus_by_hand
from calibration.camera.pack import Packed, opened
from calibration.camera.refusal import MeasurementRefused
from calibration.camera.run_end import Run, run_console
from calibration.camera.session import TITLES, SessionPlan, SessionRecord, Step, run_session
from calibration.camera.station_calibration import camera_calibration, check_same_camera, settings_of
from calibration.camera.terminal_operator import TerminalOperator
from calibration.camera.unfinished import drop_unfinished, keep_unfinished, read_unfinished
from edge.errors import ConfigError
from edge.messages import Box


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What was asked for besides the bench."""

    steps: tuple[Step, ...]
    resume: bool = False
    line_speed_mm_s: float | None = None
    mm_per_px: float | None = None
    most_blur_px: float = 1.0
    area: Box | None = None
    frames: int = 32


def run_camera(options: BenchOptions, wanted: CameraOptions) -> None:
    """Do the steps and write the folder.

    Raises `MeasurementRefused` where a step refuses, after what was found so far has been kept; other
    `EdgeError` when bench, options or folder do not do.
    """
    run = Run("camera", options, run_console(options))
    with open_bench(options) as bench:
        before = opened(options.out)
        check_same_camera(before, bench.camera.identity, bench.region_px)
        record = _first_record(options, wanted, bench, before)
        with LiveSteps(run.console) as live:
            record = _followed(run, live, bench, before, _plan(run, live, bench, before, wanted), record)
    content, fields, lost = camera_calibration(record, before, options.signature(), bench.region_px)
    run.finish(content, fields, record.reports, lost)
    drop_unfinished(options.out)


def _followed(
    run: Run,
    live: LiveSteps,
    bench: OpenBench,
    before: Packed | None,
    plan: SessionPlan,
    record: SessionRecord,
) -> SessionRecord:
    """The session to its end; a refusal is reported and kept, then raised again."""
    asked = TerminalOperator(run.console, assume_yes=run.options.yes)
    operator = CalmOperator(live, asked, *([] if bench.hand is None else [bench.hand]))
    try:
        for found in run_session(bench.camera, operator, plan, record, live):
            record = found
            keep_unfinished(run.options.out, record)
    except MeasurementRefused as fault:
        live.pause()
        step = next(step for step in Step if step in plan.steps and step not in record.done)
        refusal = Refusal(what=fault.what, do=fault.do)
        content, _, _ = camera_calibration(record, before, run.options.signature(), bench.region_px)
        ended = refused(step.value, TITLES[step], refusal)
        keep_unfinished(run.options.out, record)
        run.refuse(content, (*record.reports, ended), refusal)
        raise
    return record


def _plan(
    run: Run, live: LiveSteps, bench: OpenBench, before: Packed | None, wanted: CameraOptions
) -> SessionPlan:
    station = bench.station
    area = wanted.area or (None if station is None else station.preprocess.roi_px)
    identity = bench.camera.identity
    if area is not None and (area[0] + area[2] > identity.width_px or area[1] + area[3] > identity.height_px):
        raise ConfigError(
            f"The area {list(area)} does not lie in a frame of {identity.width_px} x {identity.height_px} px.",
            do="Correct --area, or preprocess.roi_px in the station file.",
        )

    def best_focus(camera: BenchCamera, operator: Operator) -> float | None:
        # Nobody turns the ring of a bench that is computed, or beforehand.
        if run.options.yes or bench.hand is not None:
            return None
        live.pause()
        return focus_by_hand(camera, operator, run.console)

    return SessionPlan(
        clock=bench.clock,
        steps=wanted.steps,
        motion=_motion(bench, before, wanted),
        area=area,
        frames=wanted.frames,
        best_focus=best_focus,
    )


def _motion(bench: OpenBench, before: Packed | None, wanted: CameraOptions) -> LineMotion | None:
    if wanted.line_speed_mm_s is None:
        return None
    of_station = None if bench.station is None else bench.station.preprocess.mm_per_px
    scale = wanted.mm_per_px or of_station or (None if before is None else before.content.mm_per_px)
    if scale is None:
        raise ConfigError(
            "A line speed bounds the exposure only when the scale is known.",
            do="Give --mm-per-px (a ruler on the belt will do), or run 'adclip calibrate geometry' first.",
        )
    return LineMotion(wanted.line_speed_mm_s, scale, wanted.most_blur_px)


def _first_record(
    options: BenchOptions, wanted: CameraOptions, bench: OpenBench, before: Packed | None
) -> SessionRecord:
    identity = bench.camera.identity
    if wanted.resume:
        return read_unfinished(options.out, identity)
    drop_unfinished(options.out)
    # With all its steps it starts from the station file; with some it completes what is there.
    kept = before is not None and set(wanted.steps) != set(Step)
    settings = settings_of(before) if kept and before is not None else bench.camera.settings
    return SessionRecord(identity, settings)
