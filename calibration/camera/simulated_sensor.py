"""The sensor of the simulated bench: photons to raw values, by EMVA 1288's linear camera model.

electrons = light · exposure · response + shot noise + read noise, up to the full well
value     = black level + electrons / K · gain · colour gain, rounded, up to full scale
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera.bench import Settings
from calibration.camera.raw_levels import BAYER, DEEP, full_scale
from edge.messages import PixelFormat, RawImage

Map = NDArray[np.float32]
PLANES = ((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1))
"""Channel, row and column in a cell of the mosaic; pixel (0, 0) is red."""


@dataclass(frozen=True, slots=True)
class SimulatedSensor:
    """What is the same for all pixels.

    `full_well_e` electrons reach full scale at 0 dB. `sensitivity` is that of red, green and blue pixels for
    white light, against green. `black_share` is the black level as a share of full scale, `dsnu_share` the
    pixels' own deviation from it, `prnu_share` that of their response. `hot` pixels show a value of their own
    whatever the light, `dead` ones respond to a few per cent of it; both are numbers of pixels per million.
    """

    full_well_e: float = 10_500.0
    read_noise_e: float = 2.6
    sensitivity: tuple[float, float, float] = (0.62, 1.0, 0.70)
    black_share: float = 1 / 64
    dsnu_share: float = 5e-4
    prnu_share: float = 0.008
    hot_per_million: float = 40.0
    dead_per_million: float = 20.0

    def black_dn(self, pixel_format: PixelFormat) -> float:
        """Black level in raw values."""
        return self.black_share * full_scale(pixel_format)

    def electrons_per_dn(self, pixel_format: PixelFormat) -> float:
        """K at 0 dB and a colour gain of 1."""
        return self.full_well_e / (full_scale(pixel_format) - self.black_dn(pixel_format))


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """What each pixel has of its own: `response` (h, w) relative, `dark_dn` (h, w) its deviation from the black
    level in raw values; `hot_px` (n, 2) and `faint_px` (m, 2) row and column; `hot_e` (n,) electrons."""

    response: Map
    dark_dn: Map
    hot_px: NDArray[np.intp]
    hot_e: Map
    faint_px: NDArray[np.intp]


def make_pixels(
    sensor: SimulatedSensor, shape: tuple[int, int], pixel_format: PixelFormat, rng: np.random.Generator
) -> Pixels:
    """The pixels of one device; `shape` is (h, w)."""
    response = 1 + np.float32(sensor.prnu_share) * rng.standard_normal(shape, np.float32)
    dark = np.float32(sensor.dsnu_share * full_scale(pixel_format)) * rng.standard_normal(shape, np.float32)
    count = shape[0] * shape[1]
    hot, faint = (round(n * count / 1e6) for n in (sensor.hot_per_million, sensor.dead_per_million))
    places = rng.choice(count, hot + faint, replace=False)
    bad_px = np.stack(np.unravel_index(places, shape), axis=1).astype(np.intp)
    hot_e = rng.uniform(0.3, 1.0, hot).astype(np.float32) * np.float32(sensor.full_well_e)
    response[tuple(bad_px[hot:].T)] = rng.uniform(0, 0.1, faint).astype(np.float32)
    return Pixels(response, dark, bad_px[:hot], hot_e, bad_px[hot:])


def mosaic(channels: Map, pixel_format: PixelFormat) -> Map:
    """(h, w) of what each pixel sees of (h, w, 3); a grey sensor sees the mean."""
    if pixel_format not in BAYER:
        return np.asarray(channels.mean(axis=2), np.float32)
    seen = np.empty(channels.shape[:2], np.float32)
    for channel, row, column in PLANES:
        seen[row::2, column::2] = channels[row::2, column::2, channel]
    return seen


def expose(
    sensor: SimulatedSensor,
    pixels: Pixels,
    light_e: Map,
    settings: Settings,
    pixel_format: PixelFormat,
    rng: np.random.Generator,
) -> RawImage:
    """One raw picture of `light_e`, (h, w) mean electrons that the light alone makes in an ideal pixel."""
    electrons = light_e * pixels.response
    electrons[tuple(pixels.hot_px.T)] = pixels.hot_e
    noise = np.sqrt(electrons + np.float32(sensor.read_noise_e**2))
    noise *= rng.standard_normal(electrons.shape, np.float32)
    electrons += noise
    np.minimum(electrons, np.float32(sensor.full_well_e), out=electrons)
    electrons *= np.float32(10 ** (settings.gain_db / 20) / sensor.electrons_per_dn(pixel_format))
    if pixel_format in BAYER:
        electrons[0::2, 0::2] *= np.float32(settings.red_gain)
        electrons[1::2, 1::2] *= np.float32(settings.blue_gain)
    electrons += pixels.dark_dn
    electrons += np.float32(sensor.black_dn(pixel_format))
    top = full_scale(pixel_format)
    raw = np.clip(np.rint(electrons, out=electrons), 0, top, out=electrons)
    return raw.astype(np.uint16) if pixel_format in DEEP else raw.astype(np.uint8)
