"""Which trigger a picture belongs to, and which triggers have none. Pure: time is passed in.

    triggers   1      2      3      4      5
               │      │      │      │      │
    pictures   1      2      ×      4      ×┄┄┄ no more pictures
                                    │          │
               3 is told when 4 comes          5 is told when the camera's own count of edges stays ahead

A picture is never given to a part on a guess. One whose part was given up already, or that could belong to two
parts, belongs to none; its part stays without a picture, so it is rejected.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from edge.messages import Trigger

REMEMBERED_PICTURES = 4096
CLOCK_ERROR_NS = 2_000_000
"""By how much a mapped exposure may seem to lie before the command that caused it."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """To whom a picture belongs.

    `missed` are triggers without a picture that have just come to light, in their order. `trigger` is the
    picture's own, None when it belongs to no part; `new` when it has not been told yet.
    """

    missed: tuple[Trigger, ...] = ()
    trigger: Trigger | None = None
    new: bool = False

    @property
    def untold(self) -> tuple[Trigger, ...]:
        """The triggers to tell now, in their order."""
        return (*self.missed, self.trigger) if self.new and self.trigger else self.missed


class _Pictures:
    """Whose picture each frame id was."""

    def __init__(self) -> None:
        self._triggers: OrderedDict[int, Trigger] = OrderedDict()
        self.last: int | None = None

    def is_new(self, frame_id: int) -> bool:
        return self.last is None or frame_id > self.last

    def gap(self, frame_id: int) -> int:
        return 0 if self.last is None else frame_id - self.last - 1

    def of(self, frame_id: int) -> Trigger | None:
        return self._triggers.get(frame_id)

    def keep(self, frame_id: int, trigger: Trigger) -> None:
        self._triggers[frame_id] = trigger
        if len(self._triggers) > REMEMBERED_PICTURES:
            self._triggers.popitem(last=False)


class ExposureAccount:
    """For a camera that is triggered at its own input, or runs free: a trigger is learnt of from its picture.

    What is missing shows in the frame ids, where a picture was taken and lost, and in the camera's count of
    trigger edges, which also counts those that started no exposure. Not thread-safe.
    """

    def __init__(self) -> None:
        self._pictures = _Pictures()
        self._told: OrderedDict[int, Trigger] = OrderedDict()
        self._part_id = 0
        self._last_ns: int | None = None
        # The count of edges minus the triggers told. The count in a picture has a base of its own: cameras differ
        # in whether that picture's edge is in it.
        self._base: int | None = None
        self._picture_base: int | None = None
        # Counts of edges that are not compared yet, and their moments.
        self._readings: deque[tuple[int, int]] = deque()
        self._given_up_ns: int | None = None
        self._resumed = True  # the next count of edges may have begun anew

    def picture(self, frame_id: int, exposed_ns: int, edges: int | None = None) -> Attribution:
        """Take a picture in: its unwrapped id, its exposure, and the count of edges at its exposure, if known."""
        if not self._pictures.is_new(frame_id):
            return self._late(frame_id, edges)
        gap = self._pictures.gap(frame_id)
        self._pictures.last = frame_id
        if self._resumed and edges is not None and self._picture_ahead(edges) < 1:
            self._picture_base = None
        self._resumed = False
        if self._is_given_up(exposed_ns, edges):
            return self._late(frame_id, edges)
        missing = max(gap, self._picture_ahead(edges) - 1, self._ahead_before(exposed_ns))
        missed = self._tell(self._spread(missing, exposed_ns))
        if missing == gap:
            for behind, trigger in enumerate(reversed(missed), start=1):
                self._pictures.keep(frame_id - behind, trigger)
        (trigger,) = self._tell([exposed_ns])
        self._pictures.keep(frame_id, trigger)
        if edges is not None:
            self._picture_base = edges - self._part_id
        return Attribution(missed, trigger, new=True)

    def overdue(self, edges: int, now_ns: int, patience_ns: int) -> tuple[Trigger, ...]:
        """Take a reading of the count in, and give up edges without a picture for `patience_ns`.

        While pictures come, a reading is compared when the first one exposed after it is here. The very first
        reading is where counting begins.
        """
        if self._base is None:
            self._base = edges - self._part_id
        ripe = self._readings_until(now_ns - patience_ns)
        self._readings.append((edges, now_ns))
        if ripe is None:
            return ()
        missed = self._tell(self._spread(self._compared(ripe[0]), ripe[1]))
        if missed:
            self._given_up_ns = ripe[1]
        return missed

    def interrupted(self) -> None:
        """The camera was away. Edges meanwhile are known only where its count was not reset."""
        self._readings.clear()
        self._resumed = True

    def _is_given_up(self, exposed_ns: int, edges: int | None) -> bool:
        if edges is not None and self._picture_base is not None:
            return self._picture_ahead(edges) < 1
        return self._given_up_ns is not None and exposed_ns <= self._given_up_ns

    def _late(self, frame_id: int, edges: int | None) -> Attribution:
        """A picture that came again, or after its trigger was told; only these two know whose it is."""
        trigger = self._pictures.of(frame_id)
        if trigger is None and edges is not None and self._picture_base is not None:
            trigger = self._told.get(edges - self._picture_base)
        if trigger is not None:
            self._pictures.keep(frame_id, trigger)
        return Attribution(trigger=trigger)

    def _picture_ahead(self, edges: int | None) -> int:
        if edges is None or self._picture_base is None:
            return 0
        return edges - self._picture_base - self._part_id

    def _ahead_before(self, exposed_ns: int) -> int:
        """Edges before the last reading that had no picture, now that pictures from after it come."""
        before = self._readings_until(exposed_ns - CLOCK_ERROR_NS)
        # So close to the exposure, who can say whether its own edge was counted.
        self._readings_until(exposed_ns + CLOCK_ERROR_NS)
        return 0 if before is None else self._compared(before[0])

    def _readings_until(self, moment_ns: int) -> tuple[int, int] | None:
        """The last reading until that moment; it and all before it are done with."""
        last = None
        while self._readings and self._readings[0][1] <= moment_ns:
            last = self._readings.popleft()
        return last

    def _compared(self, edges: int) -> int:
        """How many of so many edges have no trigger told."""
        ahead = 0 if self._base is None else edges - self._base - self._part_id
        if ahead < 0:  # the count was reset: go on from here
            self._base = edges - self._part_id
        return max(0, ahead)

    def _spread(self, missing: int, until_ns: int) -> list[int]:
        """Evenly between the last trigger and this moment: the best that is known of when they came."""
        if missing <= 0:
            return []
        since = until_ns if self._last_ns is None else min(self._last_ns, until_ns)
        return [since + (until_ns - since) * n // (missing + 1) for n in range(1, missing + 1)]

    def _tell(self, moments: list[int]) -> tuple[Trigger, ...]:
        triggers = []
        for moment in moments:
            self._part_id += 1
            # Triggers keep their order even where the mapping of the device's clock has just been corrected.
            self._last_ns = moment if self._last_ns is None else max(moment, self._last_ns)
            triggers.append(Trigger(self._part_id, self._last_ns))
            self._told[self._part_id] = triggers[-1]
            if len(self._told) > REMEMBERED_PICTURES:
                self._told.popitem(last=False)
        return tuple(triggers)


class FiredAccount:
    """For a camera that the host triggers by command: one trigger at a time is on its way. Not thread-safe."""

    def __init__(self) -> None:
        self._pictures = _Pictures()
        self._last: Trigger | None = None
        self._answered = True
        self._given_up = False
        self._doubtful = False  # the next picture may be of a trigger before the last

    @property
    def outstanding(self) -> Trigger | None:
        """The trigger whose picture is awaited."""
        return None if self._answered or self._given_up else self._last

    def fired(self, now_ns: int) -> Trigger:
        """Issue the next trigger. One that is still outstanding is given up."""
        self._doubtful = self._doubtful or not self._answered
        self._answered = self._given_up = False
        self._last = Trigger(self._last.part_id + 1 if self._last else 1, now_ns)
        return self._last

    def give_up(self) -> None:
        """Wait no longer for the outstanding picture; until the next trigger it is still recognised."""
        self._given_up = True

    def picture(self, frame_id: int, exposed_ns: int | None) -> Attribution:
        """Take a picture in. `exposed_ns`, None where it is not known, tells late pictures from timely ones."""
        if not self._pictures.is_new(frame_id):
            return Attribution(trigger=self._pictures.of(frame_id))
        self._pictures.last = frame_id
        if self._last is None or self._answered or self._is_of_one_before(self._last, exposed_ns):
            return Attribution()
        self._pictures.keep(frame_id, self._last)
        self._answered, self._doubtful = True, False
        return Attribution(trigger=self._last)

    def _is_of_one_before(self, last: Trigger, exposed_ns: int | None) -> bool:
        if not self._doubtful:
            return False
        return exposed_ns is None or exposed_ns < last.triggered_ns - CLOCK_ERROR_NS
