"""What a frame costs from the wire to a `Frame`: the loopback camera of the tests at the full size of the sensor.

Run with `python -m calibration.bench_camera` in a checkout. The camera is simulated, in another process of the
same machine, which draws and sends its frames on the same cores; the wire, the protocol and the library are the
real ones.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from edge.camera import Camera, open_camera
from edge.camera_config import AravisCameraConfig
from edge.clock import MonotonicClock
from edge.errors import OperateError
from edge.messages import Frame

LOOPBACK = Path(__file__).resolve().parent.parent / "tests" / "camera" / "loopback.py"
TARGET_RATE = 42.0
SECONDS = 5.0
TRIGGERS = 200
LONGEST_S = 30.0
WARM_UP = 20
"""Frames until every buffer has been written once, so that its memory is there."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; `baseline` is what it is to be held against, None where there is nothing."""

    name: str
    value: float
    unit: str
    baseline: float | None = None


def missing() -> str | None:
    """Why nothing can be measured here, or None."""
    if not LOOPBACK.is_file():
        return "the loopback camera is part of the tests, which are not installed"
    reason: str | None = _loopback().missing()
    return reason


def rows() -> list[Figure]:
    """All figures, 4096 x 2160 BayerRG8; takes about half a minute. Empty where `missing` says why."""
    if missing() is not None:
        return []
    with closing(_RunningCamera()) as running:
        return [*_throughput(running), *_latency(running), *_reconnection(running)]


class _RunningCamera:
    def __init__(self) -> None:
        self._start = _loopback().LoopbackCamera
        self.process = self._start()

    def restart(self) -> None:
        self.process = self._start()

    def close(self) -> None:
        self.process.kill()

    def open(self, mode: str, rate_per_min: float) -> Camera:
        config = AravisCameraConfig.model_validate(
            {
                "backend": "aravis",
                "serial": self.process.serial,
                "exposure_us": 400.0,
                "packet_size": 65000,
                "trigger": {"mode": mode, "rate_per_min": rate_per_min},
                "reconnect": {"first_ms": 100, "longest_ms": 500},
            }
        )
        return open_camera(config, lambda trigger: None, MonotonicClock())


def _throughput(running: _RunningCamera) -> list[Figure]:
    with closing(running.open("free_run", 6000)) as camera:
        rate, _ = _paced(camera)
        lost = camera.counters().id_gaps
    with closing(running.open("free_run", TARGET_RATE * 60)) as camera:
        target_rate, share = _paced(camera)
    return [
        Figure("camera: frames/s to a Frame, as fast as they come", rate, "1/s", TARGET_RATE),
        Figure("camera: frames lost meanwhile", float(lost), "frames", 0.0),
        Figure("camera: frames/s at the camera's own rate", target_rate, "1/s", TARGET_RATE),
        Figure("camera: share of one core at that rate", 100 * share, "%"),
    ]


def _paced(camera: Camera) -> tuple[float, float]:
    """Frames a second, and the share of one core that this process took for them."""
    frames = camera.frames(threading.Event())
    for _ in itertools.islice(frames, WARM_UP):
        pass
    began, used, count = time.monotonic(), time.process_time(), 0
    for _ in frames:
        count += 1
        if time.monotonic() - began >= SECONDS:
            break
    elapsed = time.monotonic() - began
    return count / elapsed, (time.process_time() - used) / elapsed


def _latency(running: _RunningCamera) -> list[Figure]:
    with closing(running.open("software", 20 * 60)) as camera:
        frames = itertools.islice(camera.frames(threading.Event()), WARM_UP, WARM_UP + TRIGGERS)
        latencies = [(frame.captured_ns - frame.triggered_ns) / 1e6 for frame in frames]
    return [
        Figure("camera: trigger to Frame, median", statistics.median(latencies), "ms"),
        Figure("camera: trigger to Frame, p99", statistics.quantiles(latencies, n=100)[-1], "ms"),
    ]


def _reconnection(running: _RunningCamera) -> list[Figure]:
    with closing(running.open("software", 10 * 60)) as camera:
        frames = _Taken(camera)
        frames.wait_for(lambda: frames.count >= WARM_UP)
        killed = time.monotonic()
        running.process.kill()
        frames.wait_for(lambda: camera.health() is None)
        noticed = time.monotonic()
        running.restart()
        back, before = time.monotonic(), frames.count
        frames.wait_for(lambda: frames.count > before)
        delivered = time.monotonic()
        frames.stop()
    return [
        Figure("camera: killed, until it counts as lost", noticed - killed, "s"),
        Figure("camera: back, until its first Frame", delivered - back, "s"),
    ]


class _Taken:
    """Frames taken by a thread of their own."""

    def __init__(self, camera: Camera) -> None:
        self.count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._take, args=(camera.frames(self._stop),), daemon=True)
        self._thread.start()

    def _take(self, frames: Iterator[Frame]) -> None:
        for _ in frames:
            self.count += 1

    def wait_for(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + LONGEST_S
        while not condition():
            if time.monotonic() > until or not self._thread.is_alive():
                raise OperateError(f"The loopback camera did nothing for {LONGEST_S:g} s.", do="Try again.")
            time.sleep(0.005)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def _loopback() -> Any:
    spec = importlib.util.spec_from_file_location("loopback", LOOPBACK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@click.command()
@click.option("--add-to", type=click.Path(path_type=Path), help="JSON list of rows to add the figures to.")
def main(add_to: Path | None) -> None:
    """Print the figures."""
    reason = missing()
    if reason is not None:
        click.echo(f"The camera is not measured: {reason}.")
        return
    figures = rows()
    for figure in figures:
        held = "" if figure.baseline is None else f"  (against {figure.baseline:g})"
        click.echo(f"{figure.name:52} {figure.value:8.2f} {figure.unit}{held}")
    if add_to is not None:
        _add(figures, add_to)


def _add(figures: list[Figure], path: Path) -> None:
    """Add rows of name, value, unit, baseline and ratio, or put them in the place of those of the same name."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    names = {figure.name for figure in figures}
    kept = [row for row in before if row["name"] not in names]
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps([*kept, *map(_row, figures)], indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _row(figure: Figure) -> dict[str, object]:
    ratio = None if figure.baseline is None else figure.value / figure.baseline
    return {**asdict(figure), "ratio": ratio}


if __name__ == "__main__":
    main()
