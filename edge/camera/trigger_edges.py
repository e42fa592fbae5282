"""A camera's counter of trigger edges, unwrapped: the counters of a Blackfly S have 16 bits."""

from __future__ import annotations

LONGEST_STEP_BACK = 1000
"""Far more pictures than the host keeps back."""


class EdgeCount:
    """Counts on past the end of a counter of `period` values.

    Values may come slightly out of order: one in a picture's chunk data is older than one just read.
    """

    def __init__(self, period: int) -> None:
        self._period = period
        self._last: int | None = None

    def unwrap(self, value: int) -> int:
        """The count next to the last one whose remainder is `value`: ahead of it, or shortly behind."""
        if self._last is None:
            self._last = value
            return value
        step = (value - self._last) % self._period
        if step >= self._period - LONGEST_STEP_BACK:
            step -= self._period
        count = self._last + step
        self._last = max(self._last, count)
        return count

    def begin_anew(self) -> None:
        """The counter was set to zero: its values continue from the last count."""
        if self._last is not None:
            self._last += -self._last % self._period
