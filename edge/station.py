"""A station: everything that one station file names, opened, and one run of it.

`adclip run`, `adclip demo` and `adclip check` share this assembly, so the demo is the daemon.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from types import FrameType

import yaml

from edge.account import Counts
from edge.bundle import Bundle, open_bundle
from edge.calibration_file import check_reachable, thresholds_in_force
from edge.camera import Camera, CameraCounters, TriggerListener, open_camera
from edge.camera_calibration import station_correction
from edge.clock import Clock
from edge.config import StationConfig
from edge.correction import Correction
from edge.decide import FrameLimits, Thresholds
from edge.errors import BundleError, OperateError
from edge.golden import GoldenResult, check_golden
from edge.health import LOG, Alarm, Alarms, notify_service_manager
from edge.inspection import Inspector, Judge, effective_preprocessing
from edge.light import LightAlarms, LightWatch, light_watch
from edge.manifest import Preprocessing
from edge.messages import Frame
from edge.outputs import open_outputs
from edge.pipeline import Observer, Pipeline
from edge.record_line import RecordLine
from edge.records import RecordStore, RecordWriter, RunInfo, WriterCounters, utc_text
from edge.runner import Runner, open_runner
from edge.supervisor import Supervisor
from edge.version import software_version

WARM_UP_LOOK_NS = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Station:
    """An opened station, ready to judge. The golden frames came out right on this machine."""

    config: StationConfig
    bundle: Bundle
    runner: Runner
    preprocessing: Preprocessing
    correction: Correction | None
    light: LightWatch
    thresholds: Thresholds
    golden: GoldenResult


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended. `failed` names the thread that failed or stalled, None after a clean end."""

    run: int
    started_utc: str
    counts: Counts
    camera: CameraCounters
    records: WriterCounters
    alarms: tuple[Alarm, ...]
    failed: str | None

    @property
    def accounted(self) -> bool:
        """Whether every trigger, counted by the camera itself, has exactly one outcome and one record."""
        counts = self.counts
        outcomes = counts.passed + counts.rejected + counts.recheck + counts.fault
        return (
            self.camera.triggers == counts.triggers == counts.verdicts == outcomes
            and self.records.rows_written == counts.verdicts
        )


@contextmanager
def open_station(config: StationConfig) -> Iterator[Station]:
    """Open bundle and runner, take the thresholds, and prove the golden frames.

    Raises `BundleError`, `OpenError` or `ConfigError`; the station is then not ready.
    """
    bundle = open_bundle(config.bundle)
    calibration, correction = station_correction(config)
    preprocessing = effective_preprocessing(
        bundle, config.preprocess.roi_px, config.preprocess.tiles, correction
    )
    light = light_watch(config.light, calibration.photometric if calibration else None)
    mm_per_px = config.preprocess.mm_per_px or (calibration.mm_per_px if calibration else None)
    thresholds = thresholds_in_force(config.decision, bundle.bundle_id, preprocessing, mm_per_px)
    check_reachable(thresholds, bundle.manifest)
    runner = open_runner(bundle, config.runner)
    try:
        golden = check_golden(bundle, runner)
        if not golden.passed:
            raise BundleError(
                f"The golden frames of {bundle.folder} do not come out right on {runner.description}: the "
                f"score is off by {golden.score_difference:.2g}, the map by {golden.map_difference:.2g}.",
                do="Do not inspect with this runner; report the two numbers with its version.",
            )
        yield Station(config, bundle, runner, preprocessing, correction, light, thresholds, golden)
    finally:
        runner.close()


def run_station(
    station: Station,
    clock: Clock,
    stop: threading.Event,
    observers: tuple[Observer, ...] = (),
    on_camera: Callable[[Camera], None] = lambda _camera: None,
    on_tick: Callable[[Counts], None] = lambda _counts: None,
) -> RunEnd:
    """Inspect until the camera is exhausted or `stop` is set. Everything is closed when it returns.

    `on_camera` gets the opened camera, `on_tick` the counts a few times a second in the calling thread.
    """
    config, alarms = station.config, Alarms()
    with ExitStack() as open_things:
        store = RecordStore(config.records)
        open_things.callback(store.close)
        outputs = open_outputs(config.outputs, clock)
        open_things.callback(outputs.close)
        started_ns, started = clock.now_ns(), datetime.now(timezone.utc)
        writer = RecordWriter(store, alarms.raise_alarm, alarms.clear)
        line = RecordLine(writer, config.identity(), started_ns, started)
        inspector = Inspector(
            station.bundle, station.runner, station.preprocessing, clock.now_ns, station.correction
        )
        limits = FrameLimits(config.limits.exposure_us, config.limits.gain_db)
        judge = Judge(
            inspector, station.thresholds, limits, _log_error, station.light, LightAlarms(alarms).take
        )

        def camera(on_trigger: TriggerListener, beating: Clock) -> Camera:
            opened = open_camera(config.camera, on_trigger, beating)
            open_things.callback(opened.close)
            return opened

        _warm_up(config.light.warm_up_s, clock, stop)
        pipeline = Pipeline(config, camera, judge, outputs, (line, *observers), alarms, clock)
        on_camera(pipeline.camera)
        run = store.begin_run(_run_info(station, pipeline.camera, started_ns, started))
        writer.start()
        notify_service_manager("READY=1")
        supervisor = Supervisor(
            config,
            pipeline.counts,
            alarms,
            writer,
            clock,
            on_tick,
            lambda: pipeline.camera.health() is not None,
        )
        failed = pipeline.run(stop, supervisor.tick)
        notify_service_manager("STOPPING=1")
        if not writer.stop():
            alarms.raise_alarm("records_lost", "not every record could be written before the end")
        end = RunEnd(
            run,
            utc_text(started),
            pipeline.counts(),
            pipeline.camera.counters(),
            writer.counters(),
            alarms.snapshot(),
            failed,
        )
        _end_run(store, end)
        supervisor.write_status()
    return end


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second SIGINT interrupts at once."""
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_info(station: Station, camera: Camera, started_ns: int, started: datetime) -> RunInfo:
    config = station.config
    thresholds = station.thresholds
    return RunInfo(
        station=config.station,
        bundle_id=station.bundle.bundle_id,
        bundle=str(config.bundle),
        config_id=config.identity(),
        config_yaml=config_text(config),
        runner=station.runner.description,
        camera=camera.description,
        thresholds={
            "score": thresholds.score,
            "recheck_score": thresholds.recheck_score,
            "map": thresholds.map,
            "min_area_px": thresholds.min_area_px,
            "mm_per_px": thresholds.mm_per_px,
        },
        preprocessing=station.preprocessing.model_dump(mode="json"),
        software=software_version(),
        started_utc=utc_text(started),
        started_ns=started_ns,
    )


def _warm_up(seconds: float, clock: Clock, stop: threading.Event) -> None:
    """Let the lamp come to its level before the station is ready; a stop ends the wait."""
    if seconds <= 0:
        return
    LOG.info("warming up the light for %.0f s", seconds)
    due_ns = clock.now_ns() + round(seconds * 1e9)
    while clock.now_ns() < due_ns and not stop.is_set():
        # A start that takes longer than the service manager allows has to ask for time again and again.
        notify_service_manager(f"EXTEND_TIMEOUT_USEC={round(WARM_UP_LOOK_NS / 500)}")
        clock.wait_until(min(due_ns, clock.now_ns() + WARM_UP_LOOK_NS), stop)


def _end_run(store: RecordStore, end: RunEnd) -> None:
    """Mark the run as ended. On a full disk it stays open, and the next run marks it as interrupted."""
    try:
        store.end_run(end.counts.as_dict())
    except OperateError as error:
        LOG.error("the end of the run was not recorded: %s", error)


def config_text(config: StationConfig) -> str:
    """The effective configuration as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _log_error(frame: Frame, error: OperateError) -> None:
    LOG.error("part %d could not be judged: %s", frame.part_id, error)
