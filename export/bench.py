"""`make bench`: what a frame costs, from the raw picture to the action. Prints and records; judges nothing.

A ViT-B/32-shaped bundle with random weights at 518 px is made once through the shipped exporter (the numbers in
the weights do not change the time) and inspected with full camera frames, 4096 x 2160 BayerRG8.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge.bundle import Bundle, open_bundle
from edge.camera import Camera, CameraCounters, TriggerListener
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
from edge.errors import EdgeError, OperateError
from edge.health import Alarms
from edge.inspection import Inspector, Judge
from edge.messages import Frame, Inspection, PixelFormat, Trigger, Verdict
from edge.outputs.recorder import RecorderOutputs
from edge.pipeline import Pipeline, Settled
from edge.preprocess import develop, input_tensor, normalise, resample
from edge.runner import Runner, open_runner
from export.anomalyclip import AnomalyClipSettings
from export.bundle_from_anomalyclip import export_anomalyclip
from export.clip_file import ClipArchitecture

BUILD = Path(__file__).resolve().parent.parent / "build"
BUNDLE = BUILD / "bench" / "vit-b-32-random"
WIDTH_PX, HEIGHT_PX = 4096, 2160
REPEATS = 15
TARGET_RATIO = 1.3

VIT_B_32 = ClipArchitecture(
    vision_width=768,
    vision_layers=12,
    patch=32,
    native_grid=7,
    embed_dim=512,
    context_length=77,
    vocab_size=8,
    text_width=512,
    text_layers=12,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `ratio` is value / baseline, None without a baseline."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None


def main() -> int:
    """Measure, print, and write `build/bench.json`. Returns 0, or 2 after an error a person can mend."""
    console = Console()
    try:
        rows = measure(_bundle(console), console)
    except EdgeError as error:
        console.print(f"{error.what} {error.do}", style="red")
        return 2
    console.print(_table(rows))
    path = BUILD / "bench.json"
    part = path.with_name("bench.json.part")
    part.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    part.replace(path)
    console.print(f"written to {path.relative_to(BUILD.parent)}")
    return 0


def measure(bundle: Bundle, console: Console) -> list[Row]:
    """All figures, medians over `REPEATS` frames, in milliseconds."""
    config = OnnxRuntimeConfig(threads=os.cpu_count() or 1)
    runner = open_runner(bundle, config)
    frames = [_frame(number) for number in range(3)]
    spec = bundle.manifest.preprocessing
    raw = frames[0].image
    assert raw is not None
    rgb = develop(raw, PixelFormat.BAYER_RG8)
    small = resample(rgb, spec.size_px)
    tensor = input_tensor(raw, PixelFormat.BAYER_RG8, spec)
    stages: dict[str, Callable[[], object]] = {
        "demosaic": lambda: develop(raw, PixelFormat.BAYER_RG8),
        "resample (Pillow)": lambda: resample(rgb, spec.size_px),
        "normalise": lambda: normalise(small, spec),
        "preprocess, all": lambda: input_tensor(raw, PixelFormat.BAYER_RG8, spec),
        "bare session.run": lambda: runner.infer(tensor),
    }
    found = {name: _median_ms(stage, name, console) for name, stage in stages.items()}
    bare, resampling = found["bare session.run"], found["resample (Pillow)"]
    whole = _whole_ms(bundle, runner, config, frames, console)
    apart = whole - resampling
    return [
        *(Row(name, value, "ms") for name, value in found.items()),
        Row("frame to action", whole, "ms", bare, whole / bare),
        Row("frame to action without Pillow's resampling", apart, "ms", bare, apart / bare),
        Row("target of frame to action / bare run", TARGET_RATIO, "ratio"),
    ]


def _median_ms(stage: Callable[[], object], name: str, console: Console) -> float:
    stage()  # the first call pays for buffers
    times = []
    for _ in track(range(REPEATS), description=name, console=console, transient=True):
        begin = time.perf_counter_ns()
        stage()
        times.append((time.perf_counter_ns() - begin) / 1e6)
    return float(np.median(times))


def _whole_ms(
    bundle: Bundle, runner: Runner, config: OnnxRuntimeConfig, frames: list[Frame], console: Console
) -> float:
    """Median time from the frame at hand to the verdict at the gate, through the real pipeline and threads."""
    clock = MonotonicClock()
    watch = _Watch()
    with tempfile.TemporaryDirectory() as folder:
        station = _station(Path(folder), bundle, config)
        inspector = Inspector(bundle, runner, bundle.manifest.preprocessing, clock.now_ns)
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
            clip, checkpoint = Path(folder) / "clip.pt", Path(folder) / "epoch_1.pth"
            generator = torch.Generator().manual_seed(0)
            torch.save(_random_clip(generator), clip)
            torch.save({"prompt_learner": _random_prompts(torch.load(clip, weights_only=True))}, checkpoint)
            settings = AnomalyClipSettings(image_size=518, dpam=7, features=(6, 12))
            export_anomalyclip(clip, checkpoint, settings, BUNDLE)
    return open_bundle(BUNDLE)


def _random_clip(generator: torch.Generator) -> dict[str, torch.Tensor]:
    entries = {}
    for name, shape in VIT_B_32.shapes().items():
        scale = shape[-1] ** -0.5 if len(shape) > 1 else 0.02
        entries[name] = torch.randn(shape, generator=generator) * scale
        if ".ln_" in name and name.endswith("weight"):
            entries[name] = torch.ones(shape)
    return entries


def _random_prompts(clip: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Prompts of the usual layout over a vocabulary of eight words; 5 starts and 6 ends a text."""
    context, learner = 12, {}
    for state, words in (("pos", [4]), ("neg", [3, 4])):
        ids = [5, *[2] * context, *words, 1, 6]
        ids += [0] * (VIT_B_32.context_length - len(ids))
        embedded = clip["token_embedding.weight"][torch.tensor(ids)][None, None]
        learner[f"ctx_{state}"] = embedded[:, :, 1 : 1 + context].clone()
        learner[f"token_prefix_{state}"] = embedded[:, :, :1].clone()
        learner[f"token_suffix_{state}"] = embedded[:, :, 1 + context :].clone()
        learner[f"tokenized_prompts_{state}"] = torch.tensor(ids, dtype=torch.int32)[None, None]
    return learner


def _table(rows: list[Row]) -> Table:
    title = f"{WIDTH_PX} x {HEIGHT_PX} BayerRG8 on {os.cpu_count()} cores of {platform.machine()}"
    table = Table("figure", "value", "unit", "baseline", "ratio", title=title)
    for row in rows:
        baseline = "" if row.baseline is None else f"{row.baseline:.1f}"
        table.add_row(
            row.name,
            f"{row.value:.1f}",
            row.unit,
            baseline,
            "" if row.ratio is None else f"{row.ratio:.2f}",
        )
    return table


def _raise(_frame: Frame, error: OperateError) -> None:
    raise error


if __name__ == "__main__":
    sys.exit(main())
