"""A GenICam camera as the line sees it: parts numbered and timed, every trigger accounted for, a lost device
found again.

    driver.grab ──▶ unwrap id ──▶ map time ──▶ attribute ──▶ Trigger(s), then Frame
         └── lost ──▶ wait, longer each time ──▶ open by serial number ──▶ go on

One thread iterates `frames`. What is sure to be quick is called in it; commands, which may block for seconds when
the device has gone, are made through `SlowCalls`. No two calls into the driver overlap.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from edge.camera import CameraCounters, TriggerListener
from edge.camera.device_time import DeviceTime
from edge.camera.driver import CameraLostError, DeviceHealth, Driver, Grabbed, open_driver
from edge.camera.frame_ids import FrameIds
from edge.camera.slow_calls import CallsInOneThread, Result, SlowCalls
from edge.camera.trigger_account import Attribution, ExposureAccount, FiredAccount
from edge.camera_config import AravisCameraConfig, SpinnakerCameraConfig
from edge.clock import MILLISECONDS_NS, Clock
from edge.errors import OpenError
from edge.messages import Frame, FrameStatus, Trigger

LOG = logging.getLogger("adclip.camera")

LONGEST_GRAB_MS = 200.0
LATCH_EVERY_NS = 5_000_000_000
LATCH_TRIES = 3
EDGES_EVERY_NS = 100_000_000
LOOK_EVERY_NS = 2_000_000_000
"""How often a camera without pictures is asked whether it is still there."""

NEVER_NS = 2**63
FIRED_IN_VAIN = 10
"""After so many triggers without a picture, a camera that still answers is opened again."""

DriverOpener = Callable[[AravisCameraConfig | SpinnakerCameraConfig], Driver]


class GenICamCamera:
    """See the module, and `Camera`. Opening raises `OpenError` or `ConfigError`.

    Once open, the device may go and come back: `frames` then waits for it. It ends with `ConfigError` when the
    device comes back and does not take its settings.
    """

    live = True

    def __init__(
        self,
        config: AravisCameraConfig | SpinnakerCameraConfig,
        on_trigger: TriggerListener,
        clock: Clock,
        opener: DriverOpener = open_driver,
        calls: SlowCalls | None = None,
    ) -> None:
        self._config, self._on_trigger, self._clock, self._opener = config, on_trigger, clock, opener
        self._calls = calls or CallsInOneThread()
        self._lock = threading.Lock()
        self._counters = CameraCounters()
        self._closed = threading.Event()
        self._time = DeviceTime()
        self._exposures, self._fired = ExposureAccount(), FiredAccount()
        self._by_command = config.trigger.mode == "software"
        self._part_period_ns = round(60e9 / config.trigger.rate_per_min)
        self._fire_ns = NEVER_NS
        self._edges_ns = self._latch_ns = self._look_ns = 0
        self._last_id: int | None = None
        self._in_vain = 0
        self._driver = opener(config)
        self._started = False
        self._health: DeviceHealth | None = DeviceHealth()
        self._ids = FrameIds(self._driver.frame_id_period)
        identity = self._driver.identity
        self.description = (
            f"{identity.vendor} {identity.model}, serial number {identity.serial}, "
            f"firmware {identity.firmware}, {identity.link}"
        )

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """See `Camera.frames`. A picture that came twice, or late, comes with the part id of its own part."""
        while not stop.is_set():
            try:
                yield from self._frames_until_lost(stop)
            except CameraLostError as fault:
                LOG.warning("the camera is lost: %s", fault)
                self._let_go(stop)
                self._find_again(stop)

    def counters(self) -> CameraCounters:
        """See `Camera.counters`. `id_gaps` are frame ids that never came, `timeouts` triggers given up."""
        with self._lock:
            return self._counters

    def health(self) -> DeviceHealth | None:
        """See `Camera.health`."""
        return self._health

    def close(self) -> None:
        """See `Camera.close`."""
        self._closed.set()
        self._driver.close()

    # -- while the camera is there

    def _frames_until_lost(self, stop: threading.Event) -> Iterator[Frame]:
        if not self._started:
            self._start(stop)
        while not self._clock.wait_until(self._next_grab_ns(), stop):
            grabbed = self._driver.grab(self._grab_ms())
            frame = None if grabbed is None else self._frame(grabbed)
            if frame is not None:
                yield frame
            self._keep_count(stop)
            if grabbed is None:  # nothing waits to be taken, so there is time
                self._fire_when_due(stop)
                if self._clock.now_ns() >= self._look_ns:
                    self._look(stop)

    def _start(self, stop: threading.Event) -> None:
        self._expect_edges(stop)
        self._command(self._driver.start, stop)
        self._started = True
        self._in_vain = 0
        self._latch(stop)
        if self._fire_ns == NEVER_NS:
            self._fire_ns = self._clock.now_ns()

    def _next_grab_ns(self) -> int:
        """Now; or, when no picture is expected before, when the next trigger is to be fired."""
        now_ns = self._clock.now_ns()
        if not self._by_command or self._fired.outstanding is not None:
            return now_ns
        return min(self._fire_ns, now_ns + LOOK_EVERY_NS)

    def _grab_ms(self) -> float:
        if not self._by_command:
            return LONGEST_GRAB_MS
        waiting = self._fired.outstanding
        if waiting is None:
            return 0.0
        left_ms = (self._give_up_ns(waiting) - self._clock.now_ns()) / MILLISECONDS_NS
        return min(LONGEST_GRAB_MS, max(0.0, left_ms))

    def _frame(self, grabbed: Grabbed) -> Frame | None:
        """The picture, after its part and all missed before it were told; None when it is no part's."""
        now_ns = self._clock.now_ns()
        frame_id = self._ids.unwrap(grabbed.frame_id)
        new = self._last_id is None or frame_id > self._last_id
        fresh = self._is_fresh(grabbed, new, now_ns)
        found = self._attribution(frame_id, grabbed, fresh, now_ns)
        if new:
            self._count(id_gaps=0 if self._last_id is None else frame_id - self._last_id - 1)
            self._last_id = frame_id
        self._tell(found.untold)
        self._in_vain = 0
        if found.trigger is None:
            LOG.warning("the picture with frame id %d came too late to be any part's", frame_id)
            return None
        status = _status(grabbed, fresh or not new)
        self._count(delivered=1, incomplete=int(status is FrameStatus.INCOMPLETE))
        return Frame(
            part_id=found.trigger.part_id,
            frame_id=frame_id,
            triggered_ns=found.trigger.triggered_ns,
            captured_ns=now_ns,
            image=grabbed.image,
            pixel_format=grabbed.pixel_format,
            exposure_us=grabbed.exposure_us,
            gain_db=grabbed.gain_db,
            status=status,
        )

    def _attribution(self, frame_id: int, grabbed: Grabbed, fresh: bool, now_ns: int) -> Attribution:
        exposed_ns = self._exposed_ns(grabbed, fresh, now_ns)
        if self._by_command:
            return self._fired.picture(frame_id, exposed_ns)
        edge_ns = now_ns if exposed_ns is None else exposed_ns - round(self._delay_us * 1000)
        return self._exposures.picture(frame_id, min(edge_ns, now_ns), grabbed.trigger_count)

    def _is_fresh(self, grabbed: Grabbed, new: bool, now_ns: int) -> bool:
        """Whether the stamp of the picture may be believed: that of an incomplete one may not have arrived."""
        if grabbed.complete:
            return self._time.advanced(grabbed.device_ns) if new else True
        exposed_ns = self._time.host_ns(grabbed.device_ns)
        return exposed_ns is not None and 0 <= now_ns - exposed_ns <= self._patience_ns

    @property
    def _patience_ns(self) -> int:
        return round(self._config.frame_timeout_ms * MILLISECONDS_NS)

    @property
    def _delay_us(self) -> float:
        return self._config.trigger.delay_us if self._config.trigger.mode == "hardware" else 0.0

    def _exposed_ns(self, grabbed: Grabbed, fresh: bool, now_ns: int) -> int | None:
        """The exposure on the host's clock; None when the device's stamp does not tell."""
        if not fresh:
            return None
        known = self._time.host_ns(grabbed.device_ns) is not None
        self._time.arrived(grabbed.device_ns, now_ns)
        # The very first picture of a device that cannot be asked may be late itself.
        return self._time.host_ns(grabbed.device_ns) if known else None

    # -- triggers

    def _fire_when_due(self, stop: threading.Event) -> None:
        """Only after a grab that found nothing: a late picture must not be taken for the next part's."""
        if not self._by_command:
            return
        self._give_up_when_overdue(stop)
        now_ns = self._clock.now_ns()
        if self._fired.outstanding is None and now_ns >= self._fire_ns:
            self._issue(now_ns)
            self._command(self._driver.fire, stop)

    def _issue(self, now_ns: int) -> None:
        if self._fired.outstanding is not None:
            self._count(timeouts=1)
        self._fire_ns = max(self._fire_ns + self._part_period_ns, now_ns)
        self._tell((self._fired.fired(now_ns),))

    def _give_up_ns(self, trigger: Trigger) -> int:
        return trigger.triggered_ns + self._patience_ns

    def _give_up_when_overdue(self, stop: threading.Event) -> None:
        waiting = self._fired.outstanding
        if waiting is None or self._clock.now_ns() < self._give_up_ns(waiting):
            return
        self._fired.give_up()
        self._count(timeouts=1)
        self._in_vain += 1
        LOG.warning("no picture of part %d within %g ms", waiting.part_id, self._config.frame_timeout_ms)
        if self._in_vain >= FIRED_IN_VAIN:
            raise CameraLostError(
                f"The camera answers, but gave no picture for {self._in_vain} triggers in a row.",
                do="It is opened again; if that does not help, switch it off and on.",
            )
        self._look(stop)

    def _expect_edges(self, stop: threading.Event) -> None:
        """Read the camera's own count of trigger edges; those without a picture in time are given up."""
        if self._config.trigger.mode != "hardware":
            return
        edges = self._command(self._driver.trigger_count, stop)
        if edges is None:
            return
        self._edges_ns = self._clock.now_ns() + EDGES_EVERY_NS
        missed = self._exposures.overdue(edges, self._clock.now_ns(), self._patience_ns)
        self._count(timeouts=len(missed))
        self._tell(missed)

    def _tell(self, triggers: tuple[Trigger, ...]) -> None:
        for trigger in triggers:
            self._count(triggers=1)
            self._on_trigger(trigger)

    # -- the device itself

    def _keep_count(self, stop: threading.Event) -> None:
        """Read the count of edges and the clock again, each at its interval."""
        now_ns = self._clock.now_ns()
        if now_ns >= self._edges_ns:
            self._expect_edges(stop)
        if now_ns >= self._latch_ns:
            self._latch(stop)

    def _latch(self, stop: threading.Event) -> None:
        driver = self._driver
        readings = [self._command(driver.read_clock, stop) for _ in range(LATCH_TRIES)]
        known = [reading for reading in readings if reading is not None]
        if known and not self._time.latched(known):
            LOG.warning("the camera's clock stood still or was set; pictures are timed by it anew")
        self._latch_ns = self._clock.now_ns() + LATCH_EVERY_NS

    def _look(self, stop: threading.Event) -> None:
        self._health = self._command(self._driver.health, stop)
        self._look_ns = self._clock.now_ns() + LOOK_EVERY_NS

    def _command(self, call: Callable[[], Result], stop: threading.Event) -> Result:
        return self._calls.run(call, lambda: self._go_on(stop))

    def _go_on(self, stop: threading.Event) -> None:
        """Make progress while the device does not answer: beat, and issue triggers that fall due, unfired."""
        stopped = self._clock.wait_until(self._clock.now_ns(), stop)
        now_ns = self._clock.now_ns()
        if self._by_command and not stopped and now_ns >= self._fire_ns:
            self._issue(now_ns)
            self._fired.give_up()
            self._count(timeouts=1)

    # -- while the camera is away

    def _let_go(self, stop: threading.Event) -> None:
        self._health = None
        self._started = False
        if self._by_command and self._fired.outstanding is not None:
            self._fired.give_up()
            self._count(timeouts=1)
        self._exposures.interrupted()
        self._command(self._driver.close, stop)

    def _find_again(self, stop: threading.Event) -> None:
        wait_ms = self._config.reconnect.first_ms
        while not self._away(wait_ms, stop):
            try:
                driver = self._command(self._open_unless_closed, stop)
            except OpenError as fault:
                LOG.info("the camera is not back: %s", fault)
                wait_ms = min(2 * wait_ms, self._config.reconnect.longest_ms)
                continue
            self._take_over(driver)
            return

    def _open_unless_closed(self) -> Driver:
        """A camera that comes back after `close` is let go at once."""
        driver = self._opener(self._config)
        if self._closed.is_set():
            driver.close()
        return driver

    def _take_over(self, driver: Driver) -> None:
        self._driver = driver
        self._ids.restart()
        self._time.restart()
        self._latch_ns = self._look_ns = 0
        self._health = DeviceHealth()
        self._count(reconnects=1)
        LOG.warning("the camera is back: %s", self.description)

    def _away(self, wait_ms: float, stop: threading.Event) -> bool:
        """Wait, issuing the triggers that fall due, for their parts pass all the same. True when stopped."""
        until_ns = self._clock.now_ns() + round(wait_ms * MILLISECONDS_NS)
        while self._clock.now_ns() < until_ns:
            due_ns = min(until_ns, self._fire_ns) if self._by_command else until_ns
            if self._clock.wait_until(due_ns, stop):
                return True
            self._go_on(stop)
        return stop.is_set()

    def _count(self, **more: int) -> None:
        with self._lock:
            counts = {name: getattr(self._counters, name) + by for name, by in more.items()}
            self._counters = replace(self._counters, **counts)


def _status(grabbed: Grabbed, fresh: bool) -> FrameStatus:
    if not grabbed.complete or grabbed.image is None:
        return FrameStatus.INCOMPLETE
    return FrameStatus.OK if fresh else FrameStatus.FROZEN
