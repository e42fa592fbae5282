"""What is said of the light."""

from __future__ import annotations

from calibration.camera.findings import SHARE, Picture, Reading, StepReport, judged
from calibration.camera.light import LightLimits, LightResult
from calibration.camera.plots import Band, Curve, plot
from edge.light_config import LightConfig


def light_report(result: LightResult, limits: LightLimits, strobe: LightConfig) -> StepReport:
    """Level of each frame, against the limits that the line will hold it to."""
    baseline = result.baseline
    on_patch = baseline.patch_px is not None
    readings = _readings(result, limits, on_patch)
    mean = baseline.level.mean
    levels = [(float(number), level / mean) for number, level in enumerate(result.levels, 1)]
    curve = plot(
        "Level of the frames",
        "frame",
        "level, relative to the mean",
        [Curve("", levels, dots=True)],
        bands=[
            Band(
                1 - strobe.warn, 1 + strobe.warn, f"the line warns beyond ± {strobe.warn:.0%}", along_x=False
            )
        ],
        y_range=(1 - 1.4 * strobe.warn, 1 + 1.4 * strobe.warn),
        wide=True,
    )
    picture = Picture(html=curve, caption="Light of each frame, within what the station allows.", wide=True)
    where = "reference patch" if on_patch else "region, parts included"
    summary = f"level {mean:.1%} of full scale on the {where}, flicker {result.flicker:.2%}"
    return judged("light", "Light", summary, readings, result.advice, (picture,))


def _readings(result: LightResult, limits: LightLimits, on_patch: bool) -> tuple[Reading, ...]:
    baseline = result.baseline
    return (
        Reading(name="frames", value=baseline.frames, digits=0),
        Reading(name="level", value=baseline.level.mean, unit=SHARE, digits=1),
        Reading(
            name="flicker from frame to frame",
            value=result.flicker,
            unit=SHARE,
            limit=f"at most {limits.most_flicker:.0%}" if on_patch else "",
            within=result.flicker <= limits.most_flicker if on_patch else None,
        ),
        Reading(name="change over the frames", value=result.drift, unit=SHARE),
        Reading(name="gradient over the area", value=baseline.gradient.mean, unit=SHARE, digits=1),
        Reading(name="sharpness", value=baseline.sharpness.mean, digits=4),
        Reading(
            name="saturated pixels",
            value=baseline.saturated.mean,
            unit=SHARE,
            digits=3,
            limit=f"at most {limits.saturated:.0%}",
            within=baseline.saturated.mean <= limits.saturated,
        ),
    )
