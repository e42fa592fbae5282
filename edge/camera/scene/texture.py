"""Tiling banks of correlated noise, from which every part cuts its own piece of texture.

Drawing and filtering noise for each part would cost more than the rest of the picture. A bank is made once
for a line; parts differ by where they cut it. One bank pixel is one patch pixel (1/512 of the ROI).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.camera.scene.raster import Affine, FloatImage, warp

BANK_PX = 1024


def correlated_noise(rng: np.random.Generator, sigma_x: float, sigma_y: float) -> FloatImage:
    """Tiling Gaussian noise smoothed by sigmas in pixels: (1024, 1024) float32, mean 0 and deviation 1."""
    white = rng.standard_normal((BANK_PX, BANK_PX), dtype=np.float32)
    # The transform of a Gaussian of deviation s is exp(-2 (pi f s)^2), f in cycles per pixel.
    frequency_x = np.fft.rfftfreq(BANK_PX).astype(np.float32)
    frequency_y = np.fft.fftfreq(BANK_PX).astype(np.float32)[:, None]
    response = np.exp(-2 * np.pi**2 * ((frequency_x * sigma_x) ** 2 + (frequency_y * sigma_y) ** 2))
    return standardised(np.fft.irfft2(np.fft.rfft2(white) * response.astype(np.float32)))


def standardised(image: np.typing.ArrayLike) -> FloatImage:
    """`image` shifted and scaled to mean 0 and deviation 1, as float32."""
    values = np.asarray(image, np.float32)
    return np.asarray((values - values.mean()) / values.std(), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Banks:
    """Textures every product shares; each (1024, 1024) float32, tiling, mean 0 and deviation 1."""

    cloud: FloatImage  # broad changes of tone over a face
    lump: FloatImage  # uneven edges and thickness of contamination
    belt: FloatImage  # fine relief of the rubber, and rub marks along its travel


def make_banks(rng: np.random.Generator) -> Banks:
    lump = (
        correlated_noise(rng, 18, 18) + 0.6 * correlated_noise(rng, 7, 7) + 0.3 * correlated_noise(rng, 2, 2)
    )
    cloud = correlated_noise(rng, 60, 60)
    relief = correlated_noise(rng, 0.8, 0.8) + 0.7 * correlated_noise(rng, 2.5, 1.2)
    belt = relief + 0.9 * correlated_noise(rng, 160, 3) + 0.6 * cloud
    return Banks(cloud, standardised(lump), standardised(belt))


def cut(
    bank: FloatImage,
    rng: np.random.Generator,
    size: tuple[int, int],
    *,
    scale: float = 1.0,
    angle: float | None = 0.0,
) -> FloatImage:
    """A piece of `bank` of `size` (width, height) px from a random place, enlarged by `scale`.

    It is turned by `angle` in radians, or by a random one where that is None.
    """
    left, top = rng.uniform(0, BANK_PX, 2)
    turn = rng.uniform(0, 2 * np.pi) if angle is None else angle
    cos, sin = np.cos(turn) / scale, np.sin(turn) / scale
    matrix: Affine = np.array([[cos, -sin, left], [sin, cos, top]])
    return warp(bank, matrix, size, wrap=True)
