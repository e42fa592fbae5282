"""What is said of dark field, flat field and noise."""

from __future__ import annotations

from calibration.camera.dark_field import MOST_BAD_SHARE, MOST_CLIPPED, MOST_SLOPE_SHARE, DarkField
from calibration.camera.false_colour import false_colour, relative_planes
from calibration.camera.findings import SHARE, Picture, Reading, StepReport, judged
from calibration.camera.flat_field import HIGHEST_LEVEL, LOWEST_LEVEL, MOST_GAIN, MOST_RESIDUAL, FlatField
from calibration.camera.noise import FITTED_TO, MOST_LINEARITY_ERROR, NoiseFigures
from calibration.camera.plots import Curve, Line, plot

_FINE = 0.03


def dark_report(dark: DarkField) -> StepReport:
    """Black level, hot pixels, light that falls in."""
    hot = len(dark.hot_px) / dark.offset.size
    readings = (
        Reading(name="pictures", value=dark.frames, digits=0),
        Reading(name="black level", value=dark.black_level_dn, unit="DN", limit="above 0", within=True),
        Reading(
            name="dark pixels cut off at 0",
            value=dark.clipped,
            unit=SHARE,
            digits=3,
            limit=f"at most {MOST_CLIPPED:.1%}",
            within=dark.clipped <= MOST_CLIPPED,
        ),
        Reading(
            name="difference across the picture",
            value=dark.slope,
            unit=SHARE,
            digits=3,
            limit=f"at most {MOST_SLOPE_SHARE:.1%} of full scale",
            within=dark.slope <= MOST_SLOPE_SHARE,
        ),
        Reading(
            name="hot pixels",
            value=len(dark.hot_px),
            digits=0,
            limit=f"at most {MOST_BAD_SHARE:.1%} of all",
            within=hot <= MOST_BAD_SHARE,
        ),
    )
    summary = f"black level {dark.black_level_dn:.2f} DN, {len(dark.hot_px)} hot pixels"
    return judged("dark", "Dark field", summary, readings)


def flat_report(flat: FlatField, bayer: bool) -> StepReport:
    """Before and after in false colour, both from pictures that did not enter the field."""
    low, high = flat.gain_range
    readings = _flat_readings(flat)
    raw, corrected = (relative_planes(field, bayer) for field in (flat.raw, flat.corrected))
    wide = max(0.1, float(abs(raw - 1).max()))
    pictures = (
        Picture(
            html=false_colour(raw, 1 - wide, 1 + wide, "Grey target before the flat field"),
            caption="Before: light relative to each colour's mean.",
        ),
        Picture(
            html=false_colour(corrected, 1 - wide, 1 + wide, "Grey target after the flat field"),
            caption="After, on the same scale of colours.",
        ),
        Picture(
            html=false_colour(corrected, 1 - _FINE, 1 + _FINE, "Grey target after, finer scale"),
            caption="After, on a scale of ± 3 %: what is left is noise, and rings or spots if something moved.",
        ),
    )
    summary = f"unevenness {flat.before:.1%} → {flat.residual:.2%}, gain {low:.2f} to {high:.2f}"
    advice = (
        (
            "More than a third of the light is missing in places: noise is amplified there. More even "
            "light helps.",
        )
        if high > 0.75 * MOST_GAIN
        else ()
    )
    return judged("flat", "Flat field", summary, readings, advice, pictures)


def _flat_readings(flat: FlatField) -> tuple[Reading, ...]:
    low, high = flat.gain_range
    return (
        Reading(name="pictures, and as many to verify", value=flat.stack.frames, digits=0),
        Reading(
            name="level of the grey target",
            value=flat.level,
            unit=SHARE,
            digits=1,
            limit=f"{LOWEST_LEVEL:.0%} to {HIGHEST_LEVEL:.0%}",
            within=LOWEST_LEVEL <= flat.level <= HIGHEST_LEVEL,
        ),
        Reading(name="unevenness before", value=flat.before, unit=SHARE),
        Reading(
            name="unevenness after",
            value=flat.residual,
            unit=SHARE,
            limit=f"at most {MOST_RESIDUAL:.0%}",
            within=flat.residual <= MOST_RESIDUAL,
        ),
        Reading(name="least gain", value=low),
        Reading(name="largest gain", value=high, limit=f"at most {MOST_GAIN:g}", within=high <= MOST_GAIN),
        Reading(name="dead and hot pixels replaced", value=len(flat.dead_px), digits=0),
    )


def noise_report(noise: NoiseFigures) -> StepReport:
    """The photon-transfer curve and the linearity."""
    hidden = noise.read_noise_e is None
    readings = _noise_readings(noise)
    pictures = (
        Picture(
            html=_transfer(noise),
            caption="Photon transfer: the noise of pairs grows with the light; the slope of the line is K.",
        ),
        Picture(
            html=_linearity(noise),
            caption="Linearity: how far the signal lies from a straight line over the exposure.",
        ),
    )
    advice = []
    if noise.linearity_error > MOST_LINEARITY_ERROR:
        advice.append(
            "The camera is not linear: switch gamma and automatic functions off, and warm the lamp up."
        )
    summary = (
        f"{noise.electrons_per_dn:.3g} e⁻/DN, read noise {'below ' if hidden else ''}"
        f"{noise.read_noise_below_e:.1f} e⁻, dynamic range {noise.dynamic_range_db:.0f} dB"
    )
    return judged("noise", "Noise and linearity", summary, readings, tuple(advice), pictures)


def _noise_readings(noise: NoiseFigures) -> tuple[Reading, ...]:
    hidden = noise.read_noise_e is None
    return (
        Reading(name="electrons per raw value (1/K)", value=noise.electrons_per_dn, unit="e⁻/DN", digits=3),
        Reading(
            name="read noise",
            value=noise.read_noise_e,
            unit="e⁻",
            limit=f"below {noise.read_noise_below_e:.1f} e⁻: rounding hides it" if hidden else "",
        ),
        Reading(name="saturation", value=noise.saturation_e, unit="e⁻", digits=0),
        Reading(name="largest SNR", value=noise.snr_max_db, unit="dB", digits=1),
        Reading(name="dynamic range", value=noise.dynamic_range_db, unit="dB", digits=1),
        Reading(
            name="linearity error",
            value=noise.linearity_error,
            unit=SHARE,
            digits=3,
            limit=f"at most {MOST_LINEARITY_ERROR:.0%}",
            within=noise.linearity_error <= MOST_LINEARITY_ERROR,
        ),
        Reading(name="PRNU, pixels' response", value=noise.prnu, unit=SHARE),
        Reading(name="DSNU, pixels' dark value", value=noise.dsnu_e, unit="e⁻"),
    )


def _transfer(noise: NoiseFigures) -> str:
    measured = [(point.signal, point.variance) for point in noise.points]
    end = max(signal for signal, _ in measured)
    fitted = [(x, noise.offset_variance + x / noise.electrons_per_dn) for x in (0.0, end)]
    span = noise.saturation_e / noise.electrons_per_dn
    return plot(
        "Photon-transfer curve",
        "signal above dark, DN",
        "temporal variance, DN²",
        [
            Curve("fitted", fitted, "plain"),
            Curve("measured pairs", measured, "good", joined=False, dots=True),
        ],
        lines=[Line(FITTED_TO * span, "fitted up to here")],
        x_range=(0.0, 1.04 * span),
        y_range=(0.0, 1.1 * max([v for _, v in measured] + [v for _, v in fitted])),
    )


def _linearity(noise: NoiseFigures) -> str:
    span = noise.saturation_e / noise.electrons_per_dn
    away = [(100 * signal / span, 100 * error) for signal, error in noise.linearity]
    most = max([0.5, *(1.2 * abs(error) for _, error in away)])
    return plot(
        "Deviation from linearity",
        "signal, % of the range",
        "deviation, %",
        [Curve("", away, dots=True)],
        x_range=(0.0, 100.0),
        y_range=(-most, most),
    )
