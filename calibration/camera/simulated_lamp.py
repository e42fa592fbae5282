"""The lamp of the simulated bench, and the simulated time that it warms up in."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class SimulatedClock:
    """An `edge.clock.Clock` that moves only when somebody waits or a picture is taken. One thread."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return self._now_ns

    def wait_until(self, due_ns: int, stop: threading.Event) -> bool:
        """See `Clock.wait_until`; no time passes outside."""
        if stop.is_set():
            return True
        self._now_ns = max(self._now_ns, due_ns)
        return False

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now_ns += round(seconds * 1e9)


@dataclass(frozen=True, slots=True)
class SimulatedLamp:
    """An LED lamp on a stand.

    `electrons_per_us` is what a white surface on the axis gives a green pixel when the lamp is warm; `colour`
    its light in red, green, blue. Cold it gives `warm_up_drop` more, which dies away with `warm_up_s`; it has
    been on for `on_for_s` when the bench is opened. `flicker` is the amplitude of its light, relative, at
    `flicker_hz`. `unevenness` is the slope of its light across the belt, relative, from the middle to an edge.
    """

    electrons_per_us: float = 10.0
    colour: tuple[float, float, float] = (1.05, 1.0, 0.85)
    warm_up_drop: float = 0.12
    warm_up_s: float = 240.0
    on_for_s: float = 0.0
    flicker: float = 0.0
    flicker_hz: float = 100.0
    unevenness: float = 0.06

    def level(self, since_opened_s: float, exposure_us: float) -> float:
        """Mean light over an exposure that begins then, relative to the warm lamp."""
        return self.steady(since_opened_s) * (1 + self._ripple(since_opened_s, exposure_us * 1e-6))

    def steady(self, since_opened_s: float) -> float:
        """The same at that moment, without the flicker."""
        return 1 + self.warm_up_drop * math.exp(-(since_opened_s + self.on_for_s) / self.warm_up_s)

    def field(self, width_px: int, height_px: int) -> NDArray[np.float32]:
        """(h, w), 1 in the middle: brighter towards the lamp at the left, darker far from it below."""
        x = np.linspace(-1, 1, width_px, dtype=np.float32)
        y = np.linspace(-1, 1, height_px, dtype=np.float32)[:, None]
        slope = np.float32(self.unevenness)
        return np.asarray(1 - slope * (0.8 * x + 0.4 * y + 0.3 * (x * x + y * y)), np.float32)

    def _ripple(self, start_s: float, exposure_s: float) -> float:
        turn = 2 * math.pi * self.flicker_hz
        rise = math.sin(turn * (start_s + exposure_s)) - math.sin(turn * start_s)
        return self.flicker * rise / (turn * exposure_s)
