"""Pictures from disk as a camera: a folder of images or a recorded run, on time, with faults on demand.

    load ──▶ wait for its time ──▶ trigger ──▶ frame
    load ──▶ wait for its time ──▶ trigger ──▶ held (late) ┄┄┄▶ frame

A picture is loaded before its trigger, so the disk does not count as latency; when the disk cannot keep up,
the line runs slower. Of a recorded run only the stored frames are replayed. It does not model exposure,
readout, or triggers that come while no picture can be taken.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from edge.camera import CameraCounters, TriggerListener
from edge.camera.driver import DeviceHealth
from edge.camera.replay_source import Shot, open_source
from edge.camera_config import ReplayCameraConfig
from edge.clock import MILLISECONDS_NS, Clock
from edge.messages import Frame, FrameStatus, Trigger


@dataclass(frozen=True, slots=True, order=True)
class _Held:
    """A frame that comes late; equally late ones keep their order."""

    due_ns: int
    order: int
    frame: Frame = field(compare=False)


class ReplayCamera:
    """See the module. `config.faults` counts the replayed parts from 1, whatever their part ids are."""

    def __init__(self, config: ReplayCameraConfig, on_trigger: TriggerListener, clock: Clock) -> None:
        self._config, self._on_trigger, self._clock = config, on_trigger, clock
        self._source = open_source(config)
        self._lock = threading.Lock()
        self._counters = CameraCounters()
        self._held: list[_Held] = []
        self._order = itertools.count()
        self.live = config.timing != "fast"
        self.description = f"replay of {self._source.description}, {_timing(config)}"

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """See `Camera.frames`. A late frame comes out of order, at its time, also after the last trigger."""
        due_ns = 0
        before_ns: int | None = None
        shots = itertools.islice(self._source.shots(), self._config.parts or None)
        for position, shot in enumerate(shots, start=1):
            due_ns = max(due_ns + self._interval_ns(before_ns, shot.recorded_ns), self._clock.now_ns())
            before_ns = shot.recorded_ns
            yield from self._late_ones(due_ns, stop)
            if self._clock.wait_until(due_ns, stop):
                return
            trigger = Trigger(shot.frame.part_id, self._clock.now_ns())
            self._count(triggers=1)
            self._on_trigger(trigger)
            for frame in self._arriving(position, shot, trigger):
                yield self._handed_over(frame)
        yield from self._late_ones(None, stop)

    def counters(self) -> CameraCounters:
        """See `Camera.counters`. A frame that was lost on purpose counts as a gap in the frame ids."""
        with self._lock:
            return self._counters

    def health(self) -> DeviceHealth:
        """See `Camera.health`."""
        return DeviceHealth()

    def close(self) -> None:
        """See `Camera.close`."""
        self._source.close()

    def _interval_ns(self, before_ns: int | None, recorded_ns: int) -> int:
        """From the trigger before to this one; 0, so at once, for the first or when nothing is paced."""
        if before_ns is None or self._config.timing == "fast":
            return 0
        if self._config.timing == "rate":
            return round(60e9 / self._config.rate_per_min)
        return recorded_ns - before_ns

    def _arriving(self, position: int, shot: Shot, trigger: Trigger) -> list[Frame]:
        """Frames that come right after their trigger; late ones are put aside."""
        faults = self._config.faults
        if position in faults.missing:
            self._count(id_gaps=1)
            return []
        frame = replace(shot.frame, triggered_ns=trigger.triggered_ns)
        if position in faults.truncated:
            frame = _truncated(frame)
        frames = [frame] * (2 if position in faults.duplicated else 1)
        if position not in faults.late:
            return frames
        due_ns = trigger.triggered_ns + round(faults.late_ms * MILLISECONDS_NS)
        for late in frames:
            heapq.heappush(self._held, _Held(due_ns, next(self._order), late))
        return []

    def _late_ones(self, until_ns: int | None, stop: threading.Event) -> Iterator[Frame]:
        """Late frames whose time comes before the next trigger at `until_ns`; None: all of them."""
        while self._held and (until_ns is None or self._held[0].due_ns <= until_ns):
            if self._clock.wait_until(self._held[0].due_ns, stop):
                return
            yield self._handed_over(heapq.heappop(self._held).frame)

    def _handed_over(self, frame: Frame) -> Frame:
        self._count(delivered=1, incomplete=int(frame.status is FrameStatus.INCOMPLETE))
        return replace(frame, captured_ns=self._clock.now_ns())

    def _count(self, **more: int) -> None:
        with self._lock:
            counts = {name: getattr(self._counters, name) + by for name, by in more.items()}
            self._counters = replace(self._counters, **counts)


def _truncated(frame: Frame) -> Frame:
    """The same frame as if the link had broken off halfway."""
    if frame.image is None:
        return frame
    image = frame.image.copy()
    image[image.shape[0] // 2 :] = 0
    image.flags.writeable = False
    return replace(frame, image=image, status=FrameStatus.INCOMPLETE)


def _timing(config: ReplayCameraConfig) -> str:
    return f"{config.rate_per_min:g} a minute" if config.timing == "rate" else f"timing {config.timing}"
