"""The simulated line as a camera: rendered parts, paced like a conveyor.

Each part is rendered before its trigger, so rendering never counts as latency; when rendering cannot keep up,
the conveyor runs slower. It does not model lost frames, a jittering trigger, or a link that stalls: the
replay camera injects those.
"""

from __future__ import annotations

import itertools
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge.camera import CameraCounters, TriggerListener
from edge.camera.driver import DeviceHealth
from edge.camera.scene import PRODUCTS, Defect, Line, RenderedPart
from edge.camera_config import SyntheticCameraConfig
from edge.clock import Clock
from edge.errors import ConfigError
from edge.messages import Frame, PixelFormat, Trigger

READOUT_NS = 12_000_000
"""Exposure, readout and transfer of the simulated camera: from the trigger to the frame."""
REMEMBERED_PARTS = 20_000

_Truth = tuple[Defect, bytes] | None


class SyntheticCamera:
    """See the module. `truth` tells what is wrong with a part that came by."""

    live = True

    def __init__(self, config: SyntheticCameraConfig, on_trigger: TriggerListener, clock: Clock) -> None:
        if config.product not in PRODUCTS:
            raise ConfigError(
                f"There is no product '{config.product}' on the simulated line.",
                do=f"Choose one of: {', '.join(sorted(PRODUCTS))}.",
            )
        self._config, self._on_trigger, self._clock = config, on_trigger, clock
        self._line = Line(
            PRODUCTS[config.product],
            seed=config.seed,
            defect_share=config.defect_share,
            width=config.width_px,
            height=config.height_px,
        )
        self._delivered = 0
        self._triggers = 0
        self._truths: OrderedDict[int, _Truth] = OrderedDict()
        self.description = f"simulated line, {config.product}, seed {config.seed}"

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """See `Camera.frames`."""
        period_ns = round(60e9 / self._config.rate_per_min)
        due_ns = self._clock.now_ns()
        for part_id in itertools.count(1):
            if self._config.parts and part_id > self._config.parts:
                return
            part = self._line.part(part_id)
            self._remember(part_id, part)
            due_ns = max(due_ns + period_ns, self._clock.now_ns())
            if self._clock.wait_until(due_ns, stop):
                return
            trigger = Trigger(part_id, self._clock.now_ns())
            self._triggers += 1
            self._on_trigger(trigger)
            self._clock.wait_until(trigger.triggered_ns + READOUT_NS, threading.Event())
            self._delivered += 1
            yield self._frame(trigger, part)

    def truth(self, part_id: int) -> tuple[Defect, NDArray[np.bool_]] | None:
        """The defect of a part and its exact mask (h, w) bool; None for a good part.

        Raises `KeyError` for a part that has not come by, or so long ago that it is forgotten.
        """
        truth = self._truths[part_id]
        if truth is None:
            return None
        defect, packed = truth
        size = self._config.height_px, self._config.width_px
        bits = np.frombuffer(zlib.decompress(packed), np.uint8)
        return defect, np.unpackbits(bits, count=size[0] * size[1]).reshape(size).astype(bool)

    def counters(self) -> CameraCounters:
        """See `Camera.counters`."""
        return CameraCounters(triggers=self._triggers, delivered=self._delivered)

    def health(self) -> DeviceHealth:
        """See `Camera.health`."""
        return DeviceHealth()

    def close(self) -> None:
        """See `Camera.close`; there is no device."""

    def _remember(self, part_id: int, part: RenderedPart) -> None:
        packed = (
            None if part.defect is None else (part.defect, zlib.compress(np.packbits(part.mask).tobytes(), 1))
        )
        self._truths[part_id] = packed
        if len(self._truths) > REMEMBERED_PARTS:
            self._truths.popitem(last=False)

    def _frame(self, trigger: Trigger, part: RenderedPart) -> Frame:
        return Frame(
            part_id=trigger.part_id,
            frame_id=trigger.part_id,
            triggered_ns=trigger.triggered_ns,
            captured_ns=self._clock.now_ns(),
            image=part.image,
            pixel_format=PixelFormat.BAYER_RG8,
            exposure_us=part.exposure_us,
            gain_db=part.gain_db,
        )
