"""The loop: the only place that knows the order of the steps.

    capture ──▶ frames (bounded) ──▶ decide ──▶ part queue ──▶ actuator ──▶ outputs
       └── triggers ─────────────────────────────▲  │
                                                    └──▶ records writer (its own thread)

Threads: `capture` owns the camera, `decide` the runner, `actuator` the output lines; the caller of `run`
supervises them. The part queue and the counts are shared and only touched under `_changed`.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from edge.account import Counts
from edge.actuator import Actuator
from edge.camera import Camera, TriggerListener
from edge.clock import Clock
from edge.config import StationConfig
from edge.decide import fault_verdict
from edge.errors import EdgeError
from edge.health import BEAT_EVERY_NS, Alarms, BeatingClock, Heartbeats
from edge.inspection import Judge
from edge.messages import (
    Action,
    ActionKind,
    Frame,
    FrameStatus,
    Inspection,
    Outcome,
    Reason,
    Trigger,
    Verdict,
)
from edge.outputs import DeclaredState, Outputs
from edge.schedule import Arrival, Gate, PartQueue, PulseTrain

LOG = logging.getLogger("adclip.pipeline")

CAPTURE, DECIDE, ACTUATOR = "capture", "decide", "actuator"


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """One part that has left the line: what was seen, decided and done.

    `decided_ns` is None when no verdict came in time.
    """

    trigger: Trigger
    frame: Frame | None
    action: Action
    decided_ns: int | None

    @property
    def verdict(self) -> Verdict:
        """The verdict that was acted on."""
        return self.action.verdict


class Observer(Protocol):
    """Who is told what happens. Called from the line's own threads: return quickly, never raise."""

    def decided(self, frame: Frame, inspection: Inspection | None, verdict: Verdict) -> None:
        """Called by `decide` after each verdict."""

    def settled(self, settled: Settled) -> None:
        """Called by `actuator` once for every trigger."""


@dataclass(slots=True)
class _InFlight:
    """What is known of a part between trigger and gate, besides what the part queue holds."""

    trigger: Trigger
    frame: Frame | None = None
    decided_ns: int | None = None


class Pipeline:
    """One run of the line. `camera_factory` gets the trigger listener and a clock whose waits are beats."""

    def __init__(
        self,
        config: StationConfig,
        camera_factory: Callable[[TriggerListener, Clock], Camera],
        judge: Judge,
        outputs: Outputs,
        observers: tuple[Observer, ...],
        alarms: Alarms,
        clock: Clock,
    ) -> None:
        self._config, self._judge = config, judge
        self._observers, self.alarms, self._clock = observers, alarms, clock
        gate = config.gate
        self._gate = Gate(gate.line, gate.travel_ms, gate.pulse_ms, gate.decision_lead_ms, gate.fires_on_pass)
        self._parts = PartQueue(self._gate, judge.thresholds)
        train = PulseTrain(config.outputs.lines[gate.line].max_on_ms)
        self._actuator = Actuator(outputs, {gate.line: train})
        self._changed = threading.Condition()
        self._counts = Counts()
        self._in_flight: dict[int, _InFlight] = {}
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(config.limits.queue_frames)
        self._before: Frame | None = None
        self._decided_all = threading.Event()
        self._failed: str | None = None
        self.heartbeats = Heartbeats(clock)
        beating = BeatingClock(clock, lambda: self.heartbeats.beat(CAPTURE))
        self.camera = camera_factory(self._take_trigger, beating)

    def counts(self) -> Counts:
        """The counts so far; callable from any thread."""
        with self._changed:
            return self._counts

    def run(self, stop: threading.Event, supervise: Callable[[], None]) -> str | None:
        """Run until the camera is exhausted or `stop` is set, and every part has left the line.

        `supervise` is called a few times a second by this thread while all others make progress. Returns
        None after a clean end, else the name of the thread that failed or stalled; `stop` is then set and
        the lines have their declared crash or stall level.
        """
        threads = [
            self._thread(CAPTURE, lambda: self._capture(stop)),
            self._thread(DECIDE, self._decide),
            self._thread(ACTUATOR, self._act),
        ]
        for thread in threads:
            self.heartbeats.beat(thread.name)
            thread.start()
        actuator = threads[-1]
        while actuator.is_alive() and self._failed is None:
            actuator.join(BEAT_EVERY_NS / 1e9)
            stalled = self.heartbeats.stalled(self._config.limits.stall_ms)
            if stalled is not None:
                return self._give_up(stop, stalled, DeclaredState.STALL, "made no progress")
            supervise()
        if self._failed is not None:
            return self._give_up(stop, self._failed, DeclaredState.CRASH, "failed")
        self._actuator.stand_down(DeclaredState.STOP)
        return None

    # -- capture thread

    def _capture(self, stop: threading.Event) -> None:
        try:
            frames = self.camera.frames(stop)
            while self._wait_for_room(stop):
                self.heartbeats.beat(CAPTURE)
                frame = next(frames, None)
                if frame is None:
                    break
                self._take_frame(self._checked(frame))
        finally:
            self._frames.put(None)
            self.heartbeats.gone(CAPTURE)

    def _wait_for_room(self, stop: threading.Event) -> bool:
        """Hold back a camera that can wait; a live one comes when it comes."""
        if self.camera.live:
            return True
        while not self._room.acquire(timeout=BEAT_EVERY_NS / 1e9):
            self.heartbeats.beat(CAPTURE)
            if stop.is_set():
                return False
        self._room.release()
        return True

    def _take_trigger(self, trigger: Trigger) -> None:
        with self._changed:
            if self._parts.trigger(trigger) is Arrival.EXPECTED:
                self._counts = self._counts.counted(triggers=1)
                self._in_flight[trigger.part_id] = _InFlight(trigger)
                self._changed.notify_all()
                return
        self.alarms.raise_alarm("duplicate_trigger", f"part id {trigger.part_id} was issued twice")

    def _checked(self, frame: Frame) -> Frame:
        """Mark a live picture that equals the one before: sensor noise makes that impossible."""
        before, self._before = self._before, frame
        if frame.source or before is None or frame.image is None or before.image is None:
            return frame
        if frame.part_id != before.part_id and np.array_equal(frame.image, before.image):
            return replace(frame, status=FrameStatus.FROZEN)
        return frame

    def _take_frame(self, frame: Frame) -> None:
        with self._changed:
            arrival = self._parts.frame(frame.part_id)
            expected = arrival is Arrival.EXPECTED
            self._counts = self._counts.counted(**{"frames" if expected else "extra_frames": 1})
            if expected:
                self._in_flight[frame.part_id].frame = frame
        if not expected:
            self.alarms.raise_alarm(f"{arrival.value}_frame", f"frame of part {frame.part_id}")
        elif self._room.acquire(blocking=False):
            self._frames.put(frame)
        else:
            self._take_verdict(self._judge.fault(frame, Reason.OVERFLOW))

    # -- decide thread

    def _decide(self) -> None:
        while True:
            self.heartbeats.beat(DECIDE)
            try:
                frame = self._frames.get(timeout=BEAT_EVERY_NS / 1e9)
            except queue.Empty:
                continue
            if frame is None:
                break
            verdict, inspection = self._judge.judge(frame)
            self._take_verdict(verdict)
            self._room.release()
            for observer in self._observers:
                observer.decided(frame, inspection, verdict)
        self.heartbeats.gone(DECIDE)
        self._decided_all.set()
        with self._changed:
            self._changed.notify_all()

    def _take_verdict(self, verdict: Verdict) -> None:
        now_ns = self._clock.now_ns()
        with self._changed:
            arrival = self._parts.verdict(verdict, now_ns)
            part = self._in_flight.get(verdict.part_id)
            if arrival is Arrival.EXPECTED and part is not None:
                part.decided_ns = now_ns
            elif arrival is Arrival.LATE:
                self._counts = self._counts.counted(late_verdicts=1)
        if arrival is not Arrival.EXPECTED:
            self.alarms.raise_alarm(f"{arrival.value}_verdict", f"verdict on part {verdict.part_id}")

    # -- actuator thread

    def _act(self) -> None:
        while True:
            self.heartbeats.beat(ACTUATOR)
            now_ns = self._clock.now_ns()
            with self._changed:
                actions = self._parts.due(now_ns)
            step = self._actuator.step(now_ns, actions)
            if step.overlong:
                self.alarms.raise_alarm("pulse_too_long", "merged pulses were cut at max_on_ms")
            for action in actions:
                self._settle(action)
            with self._changed:
                if self._finished(step.wake_ns):
                    break
                self._changed.wait(self._pause_s(step.wake_ns))
        self.heartbeats.gone(ACTUATOR)

    def _finished(self, wake_ns: int | None) -> bool:
        return self._decided_all.is_set() and len(self._parts) == 0 and wake_ns is None

    def _pause_s(self, wake_ns: int | None) -> float:
        now_ns = self._clock.now_ns()
        moments = (wake_ns, self._parts.next_deadline_ns(), now_ns + BEAT_EVERY_NS)
        return max(0, min(moment for moment in moments if moment is not None) - now_ns) / 1e9

    def _settle(self, action: Action) -> None:
        with self._changed:
            part = self._in_flight.pop(action.part_id)
        self._account(part, action)

    def _account(self, part: _InFlight, action: Action) -> None:
        with self._changed:
            self._counts = self._counts.settled(action.verdict.outcome, action.kind)
            in_a_row = self._counts.consecutive_rejects
        self._raise_alarms_of(action, in_a_row)
        settled = Settled(part.trigger, part.frame, action, part.decided_ns)
        for observer in self._observers:
            observer.settled(settled)

    def _raise_alarms_of(self, action: Action, in_a_row: int) -> None:
        verdict = action.verdict
        if verdict.outcome is Outcome.FAULT:
            self.alarms.raise_alarm(verdict.reasons[0].value, f"part {verdict.part_id} could not be judged")
        if action.kind is ActionKind.LATE:
            self.alarms.raise_alarm("late_action", f"part {verdict.part_id} had passed the gate")
        if in_a_row >= self._config.limits.consecutive_rejects:
            self.alarms.raise_alarm("consecutive_rejects", f"{in_a_row} parts in a row were not passed")
        elif in_a_row == 0:
            self.alarms.clear("consecutive_rejects")

    # -- supervision

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except EdgeError as error:
                LOG.error("the %s thread failed: %s", name, error)
                self._failed = name
            except Exception:  # whatever ends a thread must end the run, with the lines at their crash level
                LOG.exception("the %s thread failed", name)
                self._failed = name

        return threading.Thread(target=guarded, name=name, daemon=True)

    def _give_up(self, stop: threading.Event, name: str, state: DeclaredState, what: str) -> str:
        stop.set()
        self._actuator.stand_down(state)
        self.alarms.raise_alarm(f"{state.value}", f"the {name} thread {what}")
        self._settle_the_rest()
        return name

    def _settle_the_rest(self) -> None:
        """Parts still on the way are accounted for as FAULT; the declared level of the line acts on them."""
        with self._changed:
            left = list(self._in_flight.values())
            self._in_flight.clear()
        for part in left:
            part_id = part.trigger.part_id
            verdict = fault_verdict(part_id, Reason.STOPPED, self._judge.thresholds, self._judge.bundle_id)
            due_ns = self._gate.due_ns(part.trigger.triggered_ns)
            self._account(
                part, Action(part_id, ActionKind.HOLD, self._gate.line, due_ns, self._gate.pulse_ms, verdict)
            )
