"""The colour sensor: mosaic, vignetting, noise and quantisation.

The frame is handled as the four planes of its mosaic, each of half the frame's width and height. Their
order is red, green on the red rows, green on the blue rows, blue (RGGB); pixel (0, 0) of the frame is red.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.camera.scene.raster import FloatImage

FULL_WELL_ELECTRONS = 10_500
READ_NOISE_ELECTRONS = 2.6
NOMINAL_GAIN_DB = 3.0
LUMINANCE = (0.299, 0.587, 0.114)  # of R, G, B; ITU-R BT.601
_VIGNETTING = 0.10  # loss of light in the corners
_NOISE_BANK_PLANES = 4  # size of the noise bank; a plane is cut from it at a random place


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane of the mosaic: the channel it sees and its place in each 2 x 2 cell."""

    channel: int  # 0 red, 1 green, 2 blue
    row: int
    column: int


PLANES = (Plane(0, 0, 0), Plane(1, 0, 1), Plane(1, 1, 0), Plane(2, 1, 1))


def signal_variance(signal: FloatImage, gain_db: float) -> FloatImage:
    """Variance of shot and read noise at `signal`, both in units of full scale (EMVA 1288's linear camera
    model).
    """
    per_electron = 10 ** (gain_db / 20) / FULL_WELL_ELECTRONS
    read = (READ_NOISE_ELECTRONS * per_electron) ** 2
    return np.maximum(signal, 0) * np.float32(per_electron) + np.float32(read)


def luminance_noise(level: float, raw_px: float) -> float:
    """Deviation of luminance, of full scale, where `raw_px` mosaic pixels of signal `level` are averaged
    into one.

    A quarter of the pixels each are red and blue and half are green, so the weights of the channels count
    by their share. Quantisation to 8 bits is included.
    """
    variance = float(signal_variance(np.array([level], np.float32), NOMINAL_GAIN_DB)[0]) + 1 / (12 * 255**2)
    red, green, blue = LUMINANCE
    return float(np.sqrt(variance * (4 * red**2 + 2 * green**2 + 4 * blue**2) / raw_px))


@dataclass(frozen=True, slots=True, eq=False)
class Sensor:
    """What is fixed about a sensor of `height` x `width` pixels."""

    width: int
    height: int
    shading: FloatImage  # (height / 2, width / 2), relative light by vignetting
    noise: FloatImage  # (n,) standard normal, cut at random places

    def expose(
        self, planes: list[FloatImage], gain_db: float, rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """The raw (height, width) uint8 frame of four planes of signal, in the order of `PLANES`."""
        raw = np.empty((self.height, self.width), np.uint8)
        for place, plane in zip(PLANES, planes, strict=True):
            raw[place.row :: 2, place.column :: 2] = self._read_out(plane * self.shading, gain_db, rng)
        return raw

    def _read_out(
        self, signal: FloatImage, gain_db: float, rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        start = int(rng.integers(0, self.noise.size - signal.size))
        noise = self.noise[start : start + signal.size].reshape(signal.shape)
        noisy: FloatImage = signal + noise * np.sqrt(signal_variance(signal, gain_db))
        return np.asarray(cv2.addWeighted(noisy, 255.0, noisy, 0.0, 0.0, dtype=cv2.CV_8U), np.uint8)


def make_sensor(width: int, height: int, rng: np.random.Generator) -> Sensor:
    rows, columns = height // 2, width // 2
    y = (np.arange(rows, dtype=np.float32) + 0.5 - rows / 2)[:, None]
    x = np.arange(columns, dtype=np.float32) + 0.5 - columns / 2
    corner = (rows**2 + columns**2) / 4
    shading = (1 - _VIGNETTING * (x * x + y * y) / corner).astype(np.float32)
    noise = rng.standard_normal(_NOISE_BANK_PLANES * rows * columns, dtype=np.float32)
    return Sensor(width, height, shading, noise)
