"""Focus: live numbers while a person turns the ring, then a check that refuses a blurred picture.

watch_focus ─▶ FocusReading: sharpness, best so far, which way ─▶ a person turns ─▶ ... ─▶ check_focus
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from calibration.camera.bench import BenchCamera, Operator, Target
from calibration.camera.exposure import bring_into_range
from calibration.camera.refusal import MeasurementRefused, restored
from calibration.camera.sharpness import FIELDS, FieldSharpness, Sharpness, sharpness_of

PICTURES = 2
_PLACES = (
    ("upper left", "top", "upper right"),
    ("left", "middle", "right"),
    ("lower left", "bottom", "lower right"),
)


class Turn(str, Enum):
    """What the hand at the focus ring should do next."""

    START = "turn the ring a little, either way"
    GO_ON = "go on the same way"
    TURN_BACK = "turn back, in smaller steps"
    LOCK = "lock the ring here"


@dataclass(frozen=True, slots=True)
class FocusReading:
    """One look. `best` is the highest sharpness so far, `share` what this one is of it, 0 to 1."""

    now: Sharpness
    best: float
    share: float
    turn: Turn


@dataclass(frozen=True, slots=True)
class FocusLimits:
    """`most_blur_px` is the standard deviation of blur that is refused. The focus leans when one field is blurred
    by `lean_px` and by a quarter more than the sharpest. `least_of_best` is the share of the best sharpness seen
    that must be left."""

    most_blur_px: float = 2.2
    lean_px: float = 0.8
    least_of_best: float = 0.9
    pictures: int = 4


@dataclass(frozen=True, slots=True)
class FocusResult:
    """`soft` names the softest field when the plane of focus leans, by `lean_px` more than the sharpest; else it
    is empty."""

    sharpness: Sharpness
    blur_px: float
    soft: str
    lean_px: float
    advice: str


class FocusGuide:
    """Which way to turn, from the sharpness alone. From one look nobody can tell; from how it changes, one can.
    A best place counts once the picture was clearly softer on both sides of it, and it was found again in steps
    so small that none can have jumped over a better one."""

    def __init__(self, hold: float = 0.015, fall: float = 0.05) -> None:
        """Within `hold` of the best is at the best, `fall` below it is clearly softer; relative."""
        self._hold, self._fall = hold, fall
        self._best = self._last = 0.0
        self._lowest = math.inf
        self._rose = self._soft = False
        self._falls = 0
        self._turn = Turn.START

    @property
    def best(self) -> float:
        """The highest sharpness so far."""
        return self._best

    def take(self, sharpness: float) -> Turn:
        """Take the next reading."""
        first, step = self._lowest == math.inf, sharpness - self._last
        self._last = sharpness
        self._remember(sharpness)
        if not first:
            self._turn = self._next(sharpness, step)
        return self._turn

    def _next(self, sharpness: float, step: float) -> Turn:
        passed = self._falls >= (1 if self._rose else 2)
        if passed and abs(step) <= self._fall * self._best and sharpness >= self._best * (1 - self._hold):
            return Turn.LOCK
        if abs(step) <= self._hold / 3 * self._best and self._turn is not Turn.LOCK:
            return self._turn  # the hand rests, and noise must not turn the advice about
        return Turn.TURN_BACK if (self._soft or passed) and step <= 0 else Turn.GO_ON

    def _remember(self, sharpness: float) -> None:
        if sharpness > self._best * (1 + self._hold):
            self._rose, self._falls = self._lowest < sharpness * (1 - self._fall), 0
        self._best, self._lowest = max(self._best, sharpness), min(self._lowest, sharpness)
        soft = sharpness < self._best * (1 - self._fall)
        self._falls += int(soft and not self._soft)
        self._soft = soft


def watch_focus(camera: BenchCamera, operator: Operator) -> Iterator[FocusReading]:
    """Readings without end, one for each look; the ring may be turned between them. The exposure is set so that
    the picture can be measured, and set back when the generator is closed. Raises `MeasurementRefused` when it
    is too dark or saturated."""
    operator.present(Target.PART, "Put a part with edges, or a printed page, in its place and keep it still.")
    guide = FocusGuide()
    with restored(camera):
        bring_into_range(camera)
        while True:
            now = sharpness_of(camera.grab(PICTURES), camera.identity.pixel_format)
            turn = guide.take(now.sharpness)
            yield FocusReading(now, guide.best, now.sharpness / guide.best if guide.best else 0.0, turn)


def check_focus(
    camera: BenchCamera,
    operator: Operator,
    best_seen: float | None = None,
    limits: FocusLimits | None = None,
) -> FocusResult:
    """Measure the focus as it stands. `best_seen` is `FocusReading.best` of the same part, if it was watched.

    Raises `MeasurementRefused` when the picture is blurred, shows nothing to focus on, or was sharper before.
    """
    limits = limits or FocusLimits()
    operator.present(Target.PART, "Put a part with edges, or a printed page, in its place and keep it still.")
    with restored(camera):
        bring_into_range(camera)
        found = sharpness_of(camera.grab(limits.pictures), camera.identity.pixel_format)
    blur_px = _refuse_unsharp(found, best_seen, limits)
    soft, lean_px = _lean(found.fields, limits)
    return FocusResult(found, blur_px, soft, lean_px, _advice(blur_px, soft, lean_px))


def _refuse_unsharp(found: Sharpness, best_seen: float | None, limits: FocusLimits) -> float:
    if found.blur_px is None:
        raise MeasurementRefused(
            "There is no contrast to focus on: no part of the picture shows edges.",
            do="Put a part with edges or a printed page in view; if it is there, the lens is far out of focus: "
            "turn the ring through its whole range once and watch the number.",
        )
    if best_seen is not None and found.sharpness < limits.least_of_best * best_seen:
        raise MeasurementRefused(
            f"The picture was sharper before: it has {found.sharpness / best_seen:.0%} of the best sharpness.",
            do="Turn the ring back the way it came until the number is at its best again, then lock it.",
        )
    if found.blur_px > limits.most_blur_px:
        raise MeasurementRefused(
            f"The picture is blurred: edges are smeared by {found.blur_px:.1f} px, {limits.most_blur_px:g} px "
            "are allowed.",
            do="Turn the focus ring until the number is at its highest, then lock it; if it gets no better, "
            "check the working distance, a dirty lens and vibration.",
        )
    return found.blur_px


def _lean(fields: tuple[tuple[FieldSharpness, ...], ...], limits: FocusLimits) -> tuple[str, float]:
    """The softest field's place and how much softer it is than the sharpest, in pixels."""
    at = [(row, column) for row in range(FIELDS) for column in range(FIELDS)]
    known = [(blur, _PLACES[r][c]) for r, c in at if (blur := fields[r][c].blur_px) is not None]
    (sharpest, _), (softest, place) = min(known), max(known)
    leans = softest - sharpest > max(limits.lean_px, sharpest / 4)
    return (place if leans else ""), softest - sharpest


def _advice(blur_px: float, soft: str, lean_px: float) -> str:
    if not soft:
        return f"The picture is sharp, {blur_px:.1f} px of blur, and evenly so: lock the ring."
    if soft == "middle":
        return (
            f"The middle is {lean_px:.1f} px softer than an edge: focus on the middle, or close the aperture."
        )
    return (
        f"The {soft} is {lean_px:.1f} px softer than the sharpest field: the camera is not square to the "
        "belt, or the part is not flat. Level the camera or close the aperture."
    )
