"""Noise of the camera, after the linear model of EMVA 1288: gain, read noise, dynamic range, linearity.

For pairs of pictures of the grey target at several exposures:

    temporal variance = var(first − second) / 2 = read variance + 1/12 + K · (mean − dark)

where K is the system gain in raw values per electron and 1/12 the variance of rounding. It follows the
standard without a laboratory's light source, so the figures compare cameras and settings of this station, not
data sheets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.bench import BenchCamera, Operator, Target
from calibration.camera.dark_field import DarkField
from calibration.camera.flat_field import set_grey_level
from calibration.camera.frame_stack import FrameStack, Map, Progress, grab_stack, quiet
from calibration.camera.raw_levels import full_scale
from calibration.camera.raw_planes import Value, reference_planes
from calibration.camera.refusal import MeasurementRefused, restored
from edge.messages import PixelFormat, RawImage

LEVELS = tuple(np.linspace(0.06, 0.94, 12))
"""Mean of the brightest part at which pairs are taken, as shares of full scale."""
FITTED_TO, LINEAR_FROM, LINEAR_TO = 0.70, 0.05, 0.95
"""Shares of the range from dark to full scale in which the standard fits gain and linearity."""
LEAST_POINTS = 5
ROUNDING_VARIANCE = 1 / 12
LEAST_NOISE_DN = 0.24
"""Temporal noise of the dark picture, in raw values, below which rounding hides it (EMVA 1288)."""
HIDDEN_NOISE_DN = 0.40
"""What the standard then gives as the upper limit of the read noise, in raw values."""
MOST_LINEARITY_ERROR = 0.02
SHORT_STACK = 16
_LOCAL = 7


@dataclass(frozen=True, slots=True)
class PhotonTransfer:
    """One pair: exposure, `signal` above dark and temporal `variance` in raw values, of the reference
    colour."""

    exposure_us: float
    signal: float
    variance: float


@dataclass(frozen=True, slots=True)
class NoiseFigures:
    """`electrons_per_dn` is 1 / K at the gain of the camera. `read_noise_e` is None where rounding hides it;
    `read_noise_below_e` is then its upper limit, else the same. `dsnu_e` likewise None. `saturation_e` is the
    signal from dark to full scale. `linearity` has signals and their deviations from a straight line,
    relative, `linearity_error` their mean size. `prnu` is relative. `unfitted` is the deviation of the
    variances from the fitted line, relative."""

    points: tuple[PhotonTransfer, ...]
    electrons_per_dn: float
    offset_variance: float
    read_noise_e: float | None
    read_noise_below_e: float
    saturation_e: float
    snr_max_db: float
    dynamic_range_db: float
    linearity_error: float
    linearity: tuple[tuple[float, float], ...]
    prnu: float
    dsnu_e: float | None
    unfitted: float


def measure_noise(
    camera: BenchCamera,
    operator: Operator,
    dark: DarkField,
    flat: FrameStack | None = None,
    progress: Progress = quiet,
) -> NoiseFigures:
    """Take pairs of the grey target over the range of exposures; the exposure is set back afterwards.

    `flat` is the stack of the flat field, for the PRNU; a short one is taken without it. Raises
    `MeasurementRefused` when the pairs do not follow the model.
    """
    operator.present(Target.GREY, "Put the even grey target in place so that it fills the picture.")
    with restored(camera):
        level = set_grey_level(camera)
        at_level_us = camera.settings.exposure_us
        points = _pairs(camera, dark, at_level_us / (level - _black_share(camera, dark)), progress)
        if flat is None:
            camera.set(exposure_us=at_level_us)
            flat = grab_stack(camera, SHORT_STACK)
    return noise_figures(points, dark, flat, camera.identity.pixel_format)


def noise_figures(
    points: Sequence[PhotonTransfer], dark: DarkField, flat: FrameStack, pixel_format: PixelFormat
) -> NoiseFigures:
    """All figures from pairs, dark field and grey pictures. Raises `MeasurementRefused` as
    `measure_noise`."""
    span = full_scale(pixel_format) - dark.black_level_dn
    gain_dn_per_e, offset, unfitted = _fit_transfer(points, dark.variance, span)
    away = deviations(points, span)
    _check_model(gain_dn_per_e, unfitted)
    electrons_per_dn = 1 / gain_dn_per_e
    hidden = dark.variance < LEAST_NOISE_DN**2
    read_dn = HIDDEN_NOISE_DN if hidden else float(np.sqrt(dark.variance - ROUNDING_VARIANCE))
    read_e, saturation_e = read_dn * electrons_per_dn, span * electrons_per_dn
    least_e = np.sqrt(read_e**2 + ROUNDING_VARIANCE * electrons_per_dn**2 + 0.25) + 0.5
    return NoiseFigures(
        points=tuple(points),
        electrons_per_dn=electrons_per_dn,
        offset_variance=offset,
        read_noise_e=None if hidden else read_e,
        read_noise_below_e=read_e,
        saturation_e=saturation_e,
        snr_max_db=10 * float(np.log10(saturation_e)),
        dynamic_range_db=20 * float(np.log10(saturation_e / least_e)),
        linearity_error=float(np.mean([abs(error) for _, error in away])),
        linearity=away,
        prnu=prnu(flat, dark, pixel_format),
        dsnu_e=None if hidden else dsnu_dn(dark, pixel_format) * electrons_per_dn,
        unfitted=unfitted,
    )


def pair_point(
    first: RawImage, second: RawImage, dark: DarkField, exposure_us: float, pixel_format: PixelFormat
) -> PhotonTransfer:
    """The point of one pair, over the middle of the picture, without dead pixels."""
    good = np.ones(first.shape, bool)
    good[tuple(dark.hot_px.T)] = False
    kept = np.concatenate([_middle(p).ravel() for p in reference_planes(good, pixel_format)])
    one, other, offset = (
        np.concatenate([_middle(p).ravel() for p in reference_planes(image, pixel_format)])[kept]
        for image in (first.astype(np.float32), second.astype(np.float32), dark.offset)
    )
    signal = float(((one + other) / 2 - offset).mean(dtype=np.float64))
    # Without the mean of the difference, a lamp that changed between the two does no harm.
    return PhotonTransfer(exposure_us, signal, float((one - other).var(dtype=np.float64)) / 2)


def deviations(points: Sequence[PhotonTransfer], span: float) -> tuple[tuple[float, float], ...]:
    """(signal, deviation from a straight line over exposure, relative to it) between 5 % and 95 % of the
    range.

    The line is fitted with relative weights, as EMVA 1288 does. Raises `MeasurementRefused` for too few
    points.
    """
    used = [point for point in points if LINEAR_FROM * span <= point.signal <= LINEAR_TO * span]
    if len(used) < LEAST_POINTS:
        raise _too_few(len(used))
    exposure = np.array([point.exposure_us for point in used])
    signal = np.array([point.signal for point in used])
    slope, start = np.polyfit(exposure, signal, 1, w=1 / signal)
    error = signal / (start + slope * exposure) - 1
    return tuple((float(s), float(e)) for s, e in zip(signal, error, strict=True))


def prnu(flat: FrameStack, dark: DarkField, pixel_format: PixelFormat) -> float:
    """Deviation of the pixels' response in the middle of the picture, without shading and temporal noise."""
    signals = reference_planes(flat.mean - dark.offset, pixel_format)
    variances = reference_planes(flat.variance, pixel_format)
    found = [
        _spatial_deviation(_middle(signal), _middle(variance), flat.frames)
        / float(np.median(_middle(signal)))
        for signal, variance in zip(signals, variances, strict=True)
    ]
    return float(np.mean(found))


def dsnu_dn(dark: DarkField, pixel_format: PixelFormat) -> float:
    """Deviation of the pixels' dark values in raw values, without temporal noise."""
    found = [
        _spatial_deviation(_middle(plane), np.float32(dark.variance), dark.frames)
        for plane in reference_planes(dark.offset, pixel_format)
    ]
    return float(np.mean(found))


def _spatial_deviation(values: Map, variance: Map | np.float32, frames: int) -> float:
    """From what a local mean leaves, robust against dead pixels; that mean takes 1/49 of white noise
    along."""
    whole = np.ascontiguousarray(values)
    rough = np.asarray(whole - cv2.blur(whole, (_LOCAL, _LOCAL)), np.float32)
    deviation = 1.4826 * float(np.median(np.abs(rough - np.float32(np.median(rough)))))
    spatial = deviation**2 / (1 - 1 / _LOCAL**2) - float(np.median(variance)) / frames
    return float(np.sqrt(max(spatial, 0.0)))


def _fit_transfer(
    points: Sequence[PhotonTransfer], dark_variance: float, span: float
) -> tuple[float, float, float]:
    """K, the variance at no signal, and the relative deviation from the line."""
    used = [point for point in points if 0 < point.signal <= FITTED_TO * span]
    if len(used) < LEAST_POINTS:
        raise _too_few(len(used))
    signal = np.array([point.signal for point in used])
    variance = np.array([point.variance for point in used])
    # Rounding adds its own variance where the noise is wide enough; a dark picture without noise shows none.
    offset = max(dark_variance, ROUNDING_VARIANCE)
    above = variance - offset
    weights = 1 / np.maximum(variance, 1e-9) ** 2
    slope = float((weights * signal * above).sum() / (weights * signal**2).sum())
    unfitted = (
        float(np.sqrt(np.mean((variance / (offset + slope * signal) - 1) ** 2))) if slope > 0 else np.inf
    )
    return slope, offset, unfitted


def _check_model(gain_dn_per_e: float, unfitted: float) -> None:
    if not (gain_dn_per_e > 0 and unfitted < 0.15):
        raise MeasurementRefused(
            "The noise does not grow with the light as a linear sensor's does.",
            do="Switch off gamma, sharpening, noise filters and automatic gain in the camera, let the lamp "
            "warm up, and measure again.",
        )


def _too_few(count: int) -> MeasurementRefused:
    return MeasurementRefused(
        f"Only {count} of the exposures lie within the camera's range, {LEAST_POINTS} are needed.",
        do="Give more light or open the aperture, so that a range of exposures can be measured.",
    )


def _pairs(
    camera: BenchCamera, dark: DarkField, us_for_full_scale: float, progress: Progress
) -> list[PhotonTransfer]:
    low, high = camera.ranges.exposure_us
    asked = (share * us_for_full_scale for share in LEVELS)
    exposures = sorted({min(high, max(low, exposure_us)) for exposure_us in asked})
    points = []
    for number, exposure_us in enumerate(exposures, 1):
        used_us = camera.set(exposure_us=exposure_us).exposure_us
        first, second = camera.grab(2)
        points.append(pair_point(first, second, dark, used_us, camera.identity.pixel_format))
        progress(number, len(exposures))
    return points


def _black_share(camera: BenchCamera, dark: DarkField) -> float:
    return dark.black_level_dn / full_scale(camera.identity.pixel_format)


def _middle(plane: NDArray[Value]) -> NDArray[Value]:
    """The middle half of each side, where the light is most even."""
    rows, columns = plane.shape
    return plane[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
