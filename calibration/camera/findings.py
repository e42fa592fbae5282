"""What a step found, for people and for programs: readings with their limits, advice, pictures."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from edge.camera_calibration import CalibratedCamera
from edge.strict_model import Strict

SHARE = "share"
"""The unit of a value in [0, 1] that people read as per cent."""


class Outcome(str, Enum):
    """How a step ended."""

    PASSED = "passed"
    ADVICE = "passed, with advice"
    REFUSED = "refused"
    KEPT = "kept from before"
    LEFT_OUT = "left out"


class Reading(Strict):
    """One number. `limit` is what it was held against, in words; `within` is None where nothing was. `value`
    is None where it could not be told. `digits` are those after the point."""

    name: str
    value: float | None
    unit: str = ""
    digits: int = 2
    limit: str = ""
    within: bool | None = None

    @property
    def text(self) -> str:
        """Value and unit as people read them."""
        if self.value is None:
            return "not to be told"
        if self.unit == SHARE:
            return f"{100 * self.value:.{self.digits}f} %"
        return f"{self.value:.{self.digits}f} {self.unit}".rstrip()


class Picture(Strict):
    """A drawing as HTML that needs nothing outside, and what it shows."""

    html: str
    caption: str
    wide: bool = False


class StepReport(Strict):
    """All about one step. `summary` is one line for the terminal, `advice` is to be followed, `notes` are
    good to know."""

    step: str
    title: str
    outcome: Outcome
    summary: str = ""
    readings: tuple[Reading, ...] = ()
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()


class Refusal(Strict):
    """Why the run ended early, and what to change on the machine."""

    what: str
    do: str


class CalibrationReport(Strict):
    """One run of `adclip calibrate camera`, `geometry` or `light`.

    `calibration_id` is None when nothing was written, then `refusal` says why. `notes` are what no longer
    holds of the calibration before.
    """

    schema_version: Literal[1] = 1
    command: Literal["camera", "geometry", "light"]
    made_utc: str
    made_by: str
    simulated: bool
    camera: CalibratedCamera
    width_px: int
    height_px: int
    folder: str
    calibration_id: str | None
    refusal: Refusal | None = None
    notes: tuple[str, ...] = ()
    steps: tuple[StepReport, ...] = ()

    @property
    def stem(self) -> str:
        """Name of its files, without their ending."""
        return f"report-{self.command}"


def judged(
    step: str,
    title: str,
    summary: str,
    readings: tuple[Reading, ...],
    advice: tuple[str, ...] = (),
    pictures: tuple[Picture, ...] = (),
    notes: tuple[str, ...] = (),
) -> StepReport:
    """A step that was done: with advice when there is some to follow or a number outside its limit."""
    outside = any(reading.within is False for reading in readings)
    outcome = Outcome.ADVICE if outside or advice else Outcome.PASSED
    return StepReport(
        step=step,
        title=title,
        outcome=outcome,
        summary=summary,
        readings=readings,
        advice=advice,
        notes=notes,
        pictures=pictures,
    )


def refused(step: str, title: str, refusal: Refusal) -> StepReport:
    """The step at which a run ended."""
    return StepReport(
        step=step, title=title, outcome=Outcome.REFUSED, summary=refusal.what, advice=(refusal.do,)
    )
