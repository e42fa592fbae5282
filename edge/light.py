"""The watch over how frames are lit: every frame is compared with the calibration before it is judged."""

from __future__ import annotations

from dataclasses import dataclass

from edge.health import Alarms
from edge.light_config import LightConfig
from edge.messages import Box, Frame
from edge.photometry import (
    Assessment,
    Condition,
    PhotometricBaseline,
    PhotometricLimits,
    assess,
    measure,
)


@dataclass(frozen=True, slots=True)
class LightWatch:
    """Without a baseline there is nothing to compare with, and nothing is found."""

    baseline: PhotometricBaseline | None
    limits: PhotometricLimits

    def look(self, frame: Frame, region: Box) -> Assessment:
        """The condition of a frame; `region` is the region of interest in it."""
        if self.baseline is None or frame.image is None:
            return Assessment(Condition.GOOD)
        patch = self.baseline.patch_px or region
        return assess(measure(frame.image, frame.pixel_format, patch), self.baseline, self.limits)


def light_watch(config: LightConfig, baseline: PhotometricBaseline | None) -> LightWatch:
    """The watch that a station's configuration and calibration ask for."""
    return LightWatch(baseline, PhotometricLimits(warn=config.warn, fault=config.fault))


class LightAlarms:
    """One alarm for each condition, raised when it begins and cleared when it is over. Used by one thread."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms, self._before = alarms, Condition.GOOD

    def take(self, assessment: Assessment) -> None:
        """Take the condition of one more frame."""
        if assessment.condition is self._before:
            return
        if self._before is not Condition.GOOD:
            self._alarms.clear(_ALARM[self._before])
        if assessment.condition is not Condition.GOOD:
            self._alarms.raise_alarm(_ALARM[assessment.condition], assessment.reason)
        self._before = assessment.condition


_ALARM = {Condition.WARN: "light_drifts", Condition.FAULT: "light_fault"}
