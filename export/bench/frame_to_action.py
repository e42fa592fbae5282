"""What a frame costs, from the raw picture to the action.

A ViT-B/32-shaped bundle with random weights at 518 px is made once through the shipped exporter (the numbers in
the weights do not change the time) and inspected with full camera frames, 4096 x 2160 BayerRG8.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from edge.bundle import Bundle, open_bundle
from edge.camera import Camera, CameraCounters, TriggerListener
from edge.camera.driver import DeviceHealth
from edge.camera_config import ReplayCameraConfig
from edge.clock import Clock, MonotonicClock
from edge.config import (
    DecisionConfig,
    GateConfig,
    LimitsConfig,
    LineConfig,
    OnnxRuntimeConfig,
    RecorderOutputConfig,
    RecordsConfig,
    StationConfig,
)
from edge.decide import FrameLimits, Thresholds
from edge.errors import OperateError
from edge.health import Alarms
from edge.inspection import Inspector, Judge
from edge.manifest import Preprocessing
from edge.messages import Frame, Inspection, PixelFormat, Trigger, Verdict
from edge.outputs.recorder import RecorderOutputs
from edge.pipeline import Pipeline, Settled
from edge.preprocess import develop, input_tensor, normalise, resample
from edge.runner import Runner, open_runner
from export.bench.random_models import VIT_B_32, write_files
from export.bench.rows import Row, against
from export.bundle_from_anomalyclip import export_anomalyclip

BUNDLE = Path(__file__).resolve().parents[2] / "build" / "bench" / "vit-b-32"
WIDTH_PX, HEIGHT_PX = 4096, 2160
REPEATS = 15
TARGET_RATIO = 1.3


def measure(console: Console) -> list[Row]:
    """All figures, medians over `REPEATS` frames, in milliseconds."""
    bundle = _bundle(console)
    config = OnnxRuntimeConfig(threads=os.cpu_count() or 1)
    runner = open_runner(bundle, config)
    frames = [_frame(number) for number in range(3)]
    spec = bundle.manifest.preprocessing
    raw = frames[0].image
    assert raw is not None
    rgb = develop(raw, PixelFormat.BAYER_RG8)
    small = resample(rgb, spec.size_px)
    tensor = input_tensor(raw, PixelFormat.BAYER_RG8, spec)
    fast = spec.model_copy(update={"interpolation": "fast_bicubic_antialias"})
    stages: dict[str, Callable[[], object]] = {
        "demosaic": lambda: develop(raw, PixelFormat.BAYER_RG8),
        "resample, Pillow": lambda: resample(rgb, spec.size_px),
        "normalise": lambda: normalise(small, spec),
        "preprocess, Pillow": lambda: input_tensor(raw, PixelFormat.BAYER_RG8, spec),
        "preprocess, fast": lambda: input_tensor(raw, PixelFormat.BAYER_RG8, fast),
        "preprocess, OpenCV area": lambda: _with_opencv(np.asarray(raw, np.uint8), spec),
        "bare session.run": lambda: runner.infer(tensor),
    }
    found = {name: _median_ms(stage, name, console) for name, stage in stages.items()}
    pillow, bare = found["preprocess, Pillow"], found["bare session.run"]
    rows = [Row(name, value, "ms") for name, value in found.items() if not name.startswith("preprocess")]
    rows += [against(name, found[name], "ms", pillow) for name in found if name.startswith("preprocess")]
    for name, preprocessing in (("Pillow", spec), ("fast", fast)):
        whole = _whole_ms(bundle, preprocessing, runner, config, frames, console)
        rows.append(against(f"frame to action, {name}", whole, "ms", bare))
    return [*rows, Row("target of frame to action / bare run", TARGET_RATIO, "ratio")]


def _with_opencv(raw: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    """What is usual elsewhere: demosaic, shrink by area, normalise. Another picture than the network learned."""
    rgb = np.asarray(cv2.cvtColor(raw, cv2.COLOR_BayerRGGB2RGB))
    small = cv2.resize(rgb, (spec.width_px, spec.height_px), interpolation=cv2.INTER_AREA)
    return normalise(np.asarray(small, np.uint8), spec)


def _median_ms(stage: Callable[[], object], name: str, console: Console) -> float:
    stage()  # the first call pays for buffers
    times = []
    for _ in track(range(REPEATS), description=name, console=console, transient=True):
        begin = time.perf_counter_ns()
        stage()
        times.append((time.perf_counter_ns() - begin) / 1e6)
    return float(np.median(times))


def _whole_ms(
    bundle: Bundle,
    preprocessing: Preprocessing,
    runner: Runner,
    config: OnnxRuntimeConfig,
    frames: list[Frame],
    console: Console,
) -> float:
    """Median time from the frame at hand to the verdict at the gate, through the real pipeline and threads."""
    clock = MonotonicClock()
    watch = _Watch()
    with tempfile.TemporaryDirectory() as folder:
        station = _station(Path(folder), bundle, config)
        inspector = Inspector(bundle, runner, preprocessing, clock.now_ns)
        judge = Judge(inspector, Thresholds(score=0.5), FrameLimits(), _raise)

        def camera(on_trigger: TriggerListener, beating: Clock) -> Camera:
            return _MemoryCamera(frames, on_trigger, beating)

        outputs = RecorderOutputs(station.outputs, clock)
        pipeline = Pipeline(station, camera, judge, outputs, (watch,), Alarms(), clock)
        with console.status("frame to action"):
            pipeline.run(threading.Event(), lambda: None)
    return float(np.median(watch.times_ms[1:]))


class _Watch:
    """Keeps frame-to-verdict times. An `Observer`."""

    def __init__(self) -> None:
        self.times_ms: list[float] = []

    def decided(self, frame: Frame, inspection: Inspection | None, verdict: Verdict) -> None:
        """See `Observer.decided`."""

    def settled(self, settled: Settled) -> None:
        """See `Observer.settled`."""
        if settled.decided_ns is not None and settled.frame is not None:
            self.times_ms.append((settled.decided_ns - settled.frame.captured_ns) / 1e6)


class _MemoryCamera:
    """Frames from memory, each when the one before has been decided, so nothing waits in a queue."""

    live = False
    description = "frames in memory"

    def __init__(self, frames: list[Frame], on_trigger: TriggerListener, clock: Clock) -> None:
        self._frames, self._on_trigger, self._clock = frames, on_trigger, clock

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """See `Camera.frames`."""
        for part_id in range(1, REPEATS + 2):
            now_ns = self._clock.now_ns()
            self._on_trigger(Trigger(part_id, now_ns))
            image = self._frames[part_id % len(self._frames)].image
            yield Frame(part_id, part_id, now_ns, now_ns, image, PixelFormat.BAYER_RG8, source="memory")

    def counters(self) -> CameraCounters:
        """See `Camera.counters`."""
        return CameraCounters()

    def health(self) -> DeviceHealth:
        """See `Camera.health`; there is no device."""
        return DeviceHealth()

    def close(self) -> None:
        """See `Camera.close`; there is no device."""


def _station(folder: Path, bundle: Bundle, runner: OnnxRuntimeConfig) -> StationConfig:
    line = LineConfig(start=False, stop=False, crash=True, stall=True)
    return StationConfig(
        station="bench",
        bundle=bundle.folder,
        runner=runner,
        camera=ReplayCameraConfig(backend="replay", source=folder),
        decision=DecisionConfig(score=0.5),
        gate=GateConfig(travel_ms=8_000, pulse_ms=10),
        outputs=RecorderOutputConfig(backend="recorder", lines={"reject": line}),
        records=RecordsConfig(directory=folder),
        limits=LimitsConfig(queue_frames=1, stall_ms=60_000),
    )


def _frame(number: int) -> Frame:
    """A full frame of noise: it costs what any picture costs."""
    image = np.random.default_rng(number).integers(0, 256, (HEIGHT_PX, WIDTH_PX), dtype=np.uint8)
    return Frame(number, number, 0, 0, image, PixelFormat.BAYER_RG8)


def _bundle(console: Console) -> Bundle:
    if not BUNDLE.exists():
        console.print("Making a ViT-B/32-shaped bundle with random weights (once) …")
        BUNDLE.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUNDLE.parent) as folder:
            clip, checkpoint = write_files(VIT_B_32, Path(folder))
            export_anomalyclip(clip, checkpoint, VIT_B_32.settings, BUNDLE)
    return open_bundle(BUNDLE)


def _raise(_frame: Frame, error: OperateError) -> None:
    raise error
