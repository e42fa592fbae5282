"""Fields of numbers and raw pictures as small embedded PNGs."""

from __future__ import annotations

import base64
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.plots import svg, text
from calibration.camera.raw_levels import full_scale
from edge.correction import Correction
from edge.messages import PixelFormat, RawImage
from edge.preprocess import develop

Map = NDArray[np.floating]
WIDTH_PX = 560
_BAR = (220, 12)
_SATURATED = (255, 40, 60)


def false_colour(values: Map, low: float, high: float, alt: str) -> str:
    """(h, w) as a picture from dark blue at `low` to yellow at `high`, with its scale below."""
    picture = _coloured(_smaller(np.asarray(values, np.float32)), low, high)
    return f'<img src="{_png(picture)}" alt="{escape(alt)}">{_scale(low, high)}'


def relative_planes(values: Map, bayer: bool) -> Map:
    """(h, w) of values relative to their colour's mean, without the mosaic: the mean of each cell of four."""
    if not bayer:
        return values
    cells = values[: values.shape[0] // 2 * 2, : values.shape[1] // 2 * 2]
    return np.asarray(
        (cells[0::2, 0::2] + cells[0::2, 1::2] + cells[1::2, 0::2] + cells[1::2, 1::2]) / 4, np.float32
    )


def photograph(
    image: RawImage, pixel_format: PixelFormat, alt: str, correction: Correction | None = None
) -> str:
    """A raw picture as people see it, with saturated pixels in red."""
    developed = develop(image, pixel_format, None, correction)
    rgb = developed if developed.ndim == 3 else np.repeat(developed[..., None], 3, axis=2)
    size = _size(rgb.shape)
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    full = (image >= full_scale(pixel_format)).astype(np.uint8)
    spots = (
        cv2.resize(full, size, interpolation=cv2.INTER_AREA) if full.shape[1] <= size[0] else _any(full, size)
    )
    # Brightened for the eye alone, as a screen's gamma would.
    shown = np.rint(255 * (small / 255) ** (1 / 1.8)).astype(np.uint8)
    shown[spots > 0] = _SATURATED
    return f'<img src="{_png(shown)}" alt="{escape(alt)}">'


def _any(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A saturated pixel stays one however small the picture."""
    return (cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.05).astype(np.uint8)


def _smaller(values: Map) -> Map:
    if values.shape[1] <= WIDTH_PX:
        return values
    return np.asarray(cv2.resize(values, _size(values.shape), interpolation=cv2.INTER_AREA), np.float32)


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    width = min(WIDTH_PX, shape[1])
    return width, max(1, round(shape[0] * width / shape[1]))


def _coloured(values: Map, low: float, high: float) -> NDArray[np.uint8]:
    share = np.clip((values - low) / (high - low), 0, 1)
    bgr = cv2.applyColorMap(np.rint(255 * share).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.asarray(bgr[..., ::-1], np.uint8)


def _scale(low: float, high: float) -> str:
    width, height = _BAR
    ramp = np.linspace(low, high, width, dtype=np.float32)[None].repeat(height, axis=0)
    image = (
        f'<image href="{_png(_coloured(ramp, low, high))}" x="44" y="2" width="{width}" height="{height}"/>'
    )
    words = text("tick", 38, 12, f"{low:.2f}", "end") + text("tick", 50 + width, 12, f"{high:.2f}")
    return f'<div class="scale">{svg(width + 100, 18, "Scale of the colours", image + words)}</div>'


def _png(rgb: NDArray[np.uint8]) -> str:
    done, coded = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))
    if not done:
        raise ValueError("the picture could not be written as PNG")
    return f"data:image/png;base64,{base64.b64encode(coded.tobytes()).decode('ascii')}"
