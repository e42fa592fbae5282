"""Output lines: the wires to the gate. The actuator thread alone writes them.

Every line declares its level at start, stop, crash and stall; a backend puts a line to its start level in the
same step that opens it. Timing pulses is the caller's work, so all backends behave alike.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from edge.clock import Clock
from edge.config import OutputConfig


class DeclaredState(str, Enum):
    """The moments for which each line declares a level."""

    START = "start"
    STOP = "stop"
    CRASH = "crash"
    STALL = "stall"


class Outputs(Protocol):
    """The contract of every output backend; the suite in `tests/contract` runs on all of them."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Names of the lines."""

    def write(self, line: str, level: bool) -> None:
        """Put one line to a level now. Raises `OperateError` for an unknown line or a failed device."""

    def enter(self, state: DeclaredState) -> None:
        """Put every line to the level declared for `state`."""

    def close(self) -> None:
        """Release the device and leave the lines as they are: at the levels of the last state entered.

        After a crash that is the crash level; putting lines to stop is the caller's step of a clean end.
        Calling it twice is allowed.
        """


def open_outputs(config: OutputConfig, clock: Clock) -> Outputs:
    """Open the outputs that `config.backend` names, at their start levels. Raises `OpenError`."""
    from edge.outputs.recorder import RecorderOutputs

    return RecorderOutputs(config, clock)
