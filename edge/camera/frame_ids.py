"""A device's frame counter, whatever its width, as one that never wraps. Pure."""

from __future__ import annotations

LONGEST_JUMP = 5000
"""Minutes of pictures at full rate. A counter that moves further at once was set anew, for a device that loses so
many is noticed long before."""


class FrameIds:
    """Unwraps the frame ids of one camera to 64 bit, over wraps and reconnections. Not thread-safe.

    `period` is the number of different ids: 65535 for 1 to 65535, where 0 is not used, 2**64 for a 64-bit
    counter.
    """

    def __init__(self, period: int) -> None:
        self._period = period
        self._raw: int | None = None
        self._highest: int | None = None

    def unwrap(self, frame_id: int) -> int:
        """The id as it would be in a counter of 64 bit.

        One above the last is the next picture, more is a gap, the last or less is a picture that came twice or
        out of order. Only such moves are seen that are shorter than half the period and than `LONGEST_JUMP`.
        """
        if self._highest is None:
            return self._move(frame_id, frame_id)
        if self._raw is None:
            return self._move(frame_id, self._highest + 1)
        step = self._step(frame_id - self._raw)
        if abs(step) > LONGEST_JUMP:
            return self._move(frame_id, self._highest + 1)
        return self._move(frame_id, self._highest + step) if step > 0 else self._highest + step

    def restart(self) -> None:
        """The device counts anew: its next id follows on the highest so far."""
        self._raw = None

    def _move(self, raw: int, unwrapped: int) -> int:
        self._raw, self._highest = raw, unwrapped
        return unwrapped

    def _step(self, difference: int) -> int:
        forward = difference % self._period
        return forward - self._period if forward > self._period // 2 else forward
