"""What is said of warm-up, focus, exposure and white balance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.camera.exposure import ExposureLimits, ExposureResult
from calibration.camera.findings import SHARE, Picture, Reading, StepReport, judged
from calibration.camera.focus import FocusLimits, FocusResult
from calibration.camera.plots import HEIGHT_PX, NARROW_PX, Band, Curve, Line, plot, svg, text
from calibration.camera.warm_up import WarmUpLimits, WarmUpResult
from calibration.camera.white_balance import WhiteBalanceLimits, WhiteBalanceResult

_BINS = 128
_ADVISED_GAIN = 1.2


def warm_up_report(result: WarmUpResult, limits: WarmUpLimits) -> StepReport:
    """The curve of the light, and how fast it still changes."""
    last = result.curve[-1]
    curve = plot(
        "Light while the lamp warmed up",
        "minutes",
        "light, relative to the first reading",
        [Curve("", [(r.at_s / 60, r.level) for r in result.curve], dots=len(result.curve) < 60)],
    )
    pictures = [Picture(html=curve, caption="Mean level over time; steady is where the curve lies flat.")]
    warm = [(r.at_s / 60, r.temperature_c) for r in result.curve if r.temperature_c is not None]
    if warm:
        sensor = plot("Temperature of the sensor", "minutes", "sensor, °C", [Curve("", warm, "bad")])
        pictures.append(
            Picture(html=sensor, caption="Temperature of the camera's sensor over the same time.")
        )
    rate = None if last.per_min is None else abs(last.per_min)
    readings = (
        Reading(name="warm-up took", value=result.took_s / 60, unit="min", digits=1),
        Reading(name="light changed by", value=result.change, unit=SHARE, digits=1),
        Reading(
            name="still changing, a minute",
            value=rate,
            unit=SHARE,
            digits=2,
            limit=f"at most {limits.most_per_min:.2%}",
            within=rate is not None and rate <= limits.most_per_min,
        ),
    )
    # A light that changed much is something to act on; that it is steady is not.
    advice = (result.advice,) if abs(result.change) >= 0.01 else ()
    return judged("warm_up", "Warm-up", result.advice, readings, advice, tuple(pictures))


def focus_report(result: FocusResult, limits: FocusLimits) -> StepReport:
    """Blur by field."""
    readings = (
        Reading(
            name="blur of edges",
            value=result.blur_px,
            unit="px",
            limit=f"at most {limits.most_blur_px:g} px",
            within=result.blur_px <= limits.most_blur_px,
        ),
        Reading(
            name="softest against sharpest field",
            value=result.lean_px,
            unit="px",
            limit=f"at most {limits.lean_px:g} px, or a quarter of the sharpest",
            within=not result.soft,
        ),
        Reading(name="sharpness (Tenengrad over squared mean)", value=result.sharpness.sharpness, digits=4),
    )
    pictures = (Picture(html=_focus_map(result), caption=_FOCUS),)
    return judged(
        "focus", "Focus", result.advice, readings, (result.advice,) if result.soft else (), pictures
    )


def exposure_report(result: ExposureResult, limits: ExposureLimits, photo: str = "") -> StepReport:
    """Histogram with the target's band. `photo` is the picture as HTML, empty for none."""
    settings = result.settings
    readings = _exposure_readings(result, limits)
    pictures = [Picture(html=_histogram(result, limits), caption=_HISTOGRAM, wide=not photo)]
    if photo:
        pictures.append(Picture(html=photo, caption="The part at this exposure; saturated pixels are red."))
    advice = (result.advice,) if settings.gain_db > 0.05 else ()
    return judged("exposure", "Exposure", result.advice, tuple(readings), advice, tuple(pictures))


def _exposure_readings(result: ExposureResult, limits: ExposureLimits) -> list[Reading]:
    levels, settings = result.levels, result.settings
    readings = [
        Reading(name="exposure", value=settings.exposure_us, unit="µs", digits=1),
        Reading(
            name="gain",
            value=settings.gain_db,
            unit="dB",
            limit="best at 0 dB",
            within=settings.gain_db <= 0.05,
        ),
        Reading(
            name="bright quantile, 99.5 %",
            value=levels.bright,
            unit=SHARE,
            digits=1,
            limit=f"{limits.lowest:.0%} to {limits.highest:.0%}",
            within=limits.lowest <= levels.bright <= limits.highest,
        ),
        Reading(
            name="saturated pixels",
            value=levels.saturated,
            unit=SHARE,
            digits=3,
            limit=f"at most {limits.saturated:.1%}",
            within=levels.saturated <= limits.saturated,
        ),
        Reading(
            name="dark quantile, 0.1 %",
            value=levels.dark,
            unit=SHARE,
            digits=2,
            limit="above 0",
            within=levels.dark > 0,
        ),
        Reading(
            name="difference between pictures",
            value=levels.unsteady,
            unit=SHARE,
            digits=2,
            limit=f"at most {limits.unsteady:.0%}",
            within=levels.unsteady <= limits.unsteady,
        ),
    ]
    if result.blur_px is not None and result.longest_us is not None:
        readings.append(
            Reading(
                name="motion while exposed",
                value=result.blur_px,
                unit="px",
                limit=f"exposure at most {result.longest_us:.0f} µs",
                within=settings.exposure_us <= result.longest_us * 1.001,
            )
        )
    return readings


def white_balance_report(
    result: WhiteBalanceResult, limits: WhiteBalanceLimits, *, exposed_again: bool = False
) -> StepReport:
    """Grey before and after, and the remaining errors at two levels."""
    now = result.settings
    summary = result.advice
    if exposed_again:
        gains = f"Red gain {now.red_gain:.3f} and blue gain {now.blue_gain:.3f} make grey neutral."
        summary = f"{gains} The exposure was found once more with them."
    readings = [
        Reading(name="red gain", value=result.settings.red_gain, digits=3),
        Reading(name="blue gain", value=result.settings.blue_gain, digits=3),
    ]
    for where, errors in (("", result.errors), (", at a lower level", result.second_errors)):
        readings += [
            Reading(
                name=f"{colour} against green{where}",
                value=error,
                unit=SHARE,
                digits=2,
                limit=f"within {limits.error:.0%}",
                within=abs(error) <= limits.error,
            )
            for colour, error in zip(("red", "blue"), errors, strict=True)
        ]
    pictures = (Picture(html=_swatches(result), caption="The grey target's colour before and after."),)
    low = min(result.settings.red_gain, result.settings.blue_gain) < 1
    return judged(
        "white_balance",
        "White balance",
        summary,
        tuple(readings),
        (result.advice,) if low else (),
        pictures,
    )


def wants_exposure_again(result: WhiteBalanceResult) -> bool:
    """Whether the new gains brighten red or blue so much that the exposure must be found again."""
    return max(result.settings.red_gain, result.settings.blue_gain) > _ADVISED_GAIN


_FOCUS = (
    "Blur of the edges in each field of the picture, as a standard deviation in pixels. "
    "“none” is a field without edges."
)
_HISTOGRAM = (
    "Raw values of all pixels, counted on a logarithmic scale. The bright quantile belongs into the band."
)


def _histogram(result: ExposureResult, limits: ExposureLimits) -> str:
    levels = result.levels
    counts = np.add.reduceat(
        levels.counts, np.linspace(0, levels.counts.size, _BINS, endpoint=False).astype(int)
    )
    heights = np.log10(1 + counts)
    outline: list[tuple[float, float]] = []
    for at, height in enumerate(heights):
        outline += [(100 * at / _BINS, float(height)), (100 * (at + 1) / _BINS, float(height))]
    return plot(
        "Histogram of raw values",
        "% of full scale",
        "pixels, log₁₀",
        [Curve("", outline)],
        bands=[Band(100 * limits.lowest, 100 * limits.highest, "target")],
        lines=[Line(100 * levels.bright, f"99.5 %: {levels.bright:.1%}")],
        x_range=(0.0, 100.0),
        y_range=(0.0, float(heights.max()) * 1.1),
    )


def _focus_map(result: FocusResult) -> str:
    """3 x 3 fields, coloured from sharp to soft."""
    blurs = [f.blur_px for row in result.sharpness.fields for f in row if f.blur_px is not None]
    softest = max([*blurs, 1e-6])
    width, height = NARROW_PX / 3, HEIGHT_PX / 3
    drawn = []
    for row, fields in enumerate(result.sharpness.fields):
        for column, one in enumerate(fields):
            x, y = column * width, row * height
            share = 0.0 if one.blur_px is None else one.blur_px / softest
            drawn.append(
                f'<rect class="field" x="{x + 2:.1f}" y="{y + 2:.1f}" width="{width - 4:.1f}" '
                f'height="{height - 4:.1f}" fill-opacity="{0.10 + 0.5 * share:.2f}"/>'
            )
            words = "none" if one.blur_px is None else f"{one.blur_px:.2f} px"
            drawn.append(text("label", x + width / 2, y + height / 2 + 2, words, "middle"))
            share_words = f"sharpness {one.sharpness:.3g}"
            drawn.append(text("tick", x + width / 2, y + height / 2 + 20, share_words, "middle"))
    return svg(NARROW_PX, HEIGHT_PX, "Blur in 3 x 3 fields", "".join(drawn))


def _swatches(result: WhiteBalanceResult) -> str:
    settings = result.settings
    before = np.array([1 / settings.red_gain, 1.0, 1 / settings.blue_gain])
    after = np.array([1 + result.errors[0], 1.0, 1 + result.errors[1]])
    width = NARROW_PX / 2
    drawn = [
        _swatch(number * width, width, colours, label)
        for number, (colours, label) in enumerate(((before, "gains of 1"), (after, "balanced")))
    ]
    return svg(NARROW_PX, 150, "Grey before and after the white balance", "".join(drawn))


def _swatch(x: float, width: float, colours: NDArray[np.float64], label: str) -> str:
    shown = colours / colours.max()
    red, green, blue = np.rint(255 * (0.6 * shown) ** (1 / 2.2)).astype(int)
    return (
        f'<rect x="{x + 2:.1f}" y="2" width="{width - 4:.1f}" height="118" fill="rgb({red},{green},{blue})"/>'
        + text("tick", x + 4, 140, f"{label}: {colours[0]:.3f} : 1 : {colours[2]:.3f}")
    )
