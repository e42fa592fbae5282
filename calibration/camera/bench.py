"""What a calibration step works with: a camera whose settings answer, and somebody who presents targets.

On a line the camera is the station's own driver and the person is asked in the terminal. In the simulation
both are one object, which knows the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from edge.messages import PixelFormat, RawImage


class Target(str, Enum):
    """What is put before the camera."""

    AS_IT_IS = "as_it_is"  # whatever is there: for warm-up, and for light with the line as it stands
    PART = "part"  # a good part in its place: for focus and exposure
    DARK = "dark"  # the lens covered
    GREY = "grey"  # an even, neutral grey target that fills the picture
    BOARD = "board"  # the printed ChArUco board, at another place and tilt each time


@dataclass(frozen=True, slots=True)
class Settings:
    """What the camera is set to, as read back from it. Gains of red and blue are against green."""

    exposure_us: float
    gain_db: float
    red_gain: float = 1.0
    blue_gain: float = 1.0


@dataclass(frozen=True, slots=True)
class Ranges:
    """What can be set: (lowest, highest)."""

    exposure_us: tuple[float, float]
    gain_db: tuple[float, float]
    colour_gain: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the camera is and what it delivers; `serial` keys the calibration."""

    model: str
    serial: str
    firmware: str
    pixel_format: PixelFormat
    width_px: int
    height_px: int


class BenchCamera(Protocol):
    """A camera under calibration. Used by one thread."""

    @property
    def identity(self) -> Identity:
        """Constant while it is open."""

    @property
    def ranges(self) -> Ranges:
        """Constant while it is open."""

    @property
    def settings(self) -> Settings:
        """In force now."""

    def set(
        self,
        *,
        exposure_us: float | None = None,
        gain_db: float | None = None,
        red_gain: float | None = None,
        blue_gain: float | None = None,
    ) -> Settings:
        """Change what is given; returns what was read back. Raises `ConfigError` outside the ranges,
        `OperateError` when the camera fails."""

    def grab(self, count: int) -> tuple[RawImage, ...]:
        """`count` raw pictures taken one after the other with the settings in force, each its own array.
        Raises `OperateError` when one does not come or is incomplete."""

    def temperature_c(self) -> float | None:
        """The sensor's temperature, None when the camera does not say."""

    def close(self) -> None:
        """Release it; calling it twice is allowed."""


class Operator(Protocol):
    """Whoever puts targets before the camera."""

    def present(self, target: Target, what: str, view: int = 0) -> None:
        """Returns when the target is in place. `what` tells a person what to do; `view` counts the poses of
        the board. Raises `ConfigError` when the person gives up."""
