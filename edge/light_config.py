"""The light's part of the station file: strobe timing within its duty limit.

    always_on             a steady lamp
    strobe_by_camera      the camera's own line fires the lamp while it exposes
    strobe_by_controller  a controller between trigger and lamp does, with a width of its own

Nobody knows a lamp's limits but its maker, so `max_duty` has no default: a strobe without it is refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.strict_model import NotNegative, PositiveFloat, Share, Strict

US_PER_MIN = 60e6


class LightConfig(Strict):
    """The light of a station. `width_us` is how long the lamp is on for each part, `rate_per_min` the most
    parts that will ever come in a minute; their product must keep to `max_duty`. `warm_up_s` passes before
    the station is ready. `warn` and `fault` are relative changes of the light's level against the
    calibration."""

    mode: Literal["always_on", "strobe_by_camera", "strobe_by_controller"] = "always_on"
    width_us: PositiveFloat | None = None
    rate_per_min: PositiveFloat | None = None
    max_duty: Annotated[float, Field(gt=0, le=1)] | None = None
    warm_up_s: NotNegative = 0.0
    warn: Share = 0.05
    fault: Share = 0.15

    @model_validator(mode="after")
    def _within_its_duty(self) -> LightConfig:
        if self.mode == "always_on":
            if self.width_us is not None or self.max_duty is not None:
                raise ValueError(
                    "width_us and max_duty belong to a strobe; a lamp that is always on has none"
                )
            return self
        missing = [n for n in ("width_us", "rate_per_min", "max_duty") if getattr(self, n) is None]
        if missing:
            raise ValueError(f"a strobe needs {', '.join(missing)}: ask the lamp's maker for its duty limit")
        if self.duty > (self.max_duty or 0):
            raise ValueError(
                f"width_us x rate_per_min is a duty of {self.duty:.2%}, above max_duty {self.max_duty:.2%}: "
                "shorten the pulse or slow the line"
            )
        return self

    @model_validator(mode="after")
    def _warns_first(self) -> LightConfig:
        if self.warn >= self.fault:
            raise ValueError("warn must lie below fault")
        return self

    @property
    def duty(self) -> float:
        """The share of time that the lamp is on at the highest rate; 1 for one that is always on."""
        if self.width_us is None or self.rate_per_min is None:
            return 1.0
        return self.width_us * self.rate_per_min / US_PER_MIN
