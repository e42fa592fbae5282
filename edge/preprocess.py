"""Raw frame → input tensor: the one preprocessing of the whole project.

The contract is CLIP's (open_clip's `PreprocessCfg` written as data): resize straight to the input size with
PIL's antialiased resampling, aspect ratio not kept, RGB, divide by 255, subtract mean, divide by std. A frame
from a camera is demosaiced first and cut to the region of interest; nothing lossy happens in between. A bundle
may name the fast resampler (`edge.fast_resample`) in place of PIL's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.correction import Correction
from edge.errors import FrameError
from edge.fast_resample import Kernel, reducible, resample_bayer, resample_channels
from edge.manifest import Interpolation, Preprocessing
from edge.messages import Box, PixelFormat, RawImage

_FILTERS: dict[Interpolation, Image.Resampling] = {
    "pil_bicubic_antialias": Image.Resampling.BICUBIC,
    "pil_bilinear_antialias": Image.Resampling.BILINEAR,
    "fast_bicubic_antialias": Image.Resampling.BICUBIC,
    "fast_bilinear_antialias": Image.Resampling.BILINEAR,
}

FAST_KERNELS: dict[Interpolation, Kernel] = {
    "fast_bicubic_antialias": "bicubic",
    "fast_bilinear_antialias": "bilinear",
}

_BAYER = (PixelFormat.BAYER_RG8, PixelFormat.BAYER_RG12)
_DEEP = (PixelFormat.BAYER_RG12, PixelFormat.MONO12)
TOP_8_BIT, TOP_12_BIT = 255, 4095
_TO_8_BITS = np.rint(np.arange(TOP_12_BIT + 1) * (255 / TOP_12_BIT)).astype(np.uint8)

BAYER_MARGIN_PX = 2
"""A demosaiced pixel depends on raw pixels at most this far away, so the cut keeps that margin."""


def input_tensor(
    image: RawImage, pixel_format: PixelFormat, spec: Preprocessing, correction: Correction | None = None
) -> NDArray[np.float32]:
    """All steps: raw image → (1, 3, height, width) float32, RGB, normalised by the bundle's mean and std.

    `spec.tiles` are the caller's affair: `spec.roi_px` is taken as one piece. Raises `FrameError` when the image
    does not have the layout of `pixel_format`, is smaller than the region of interest, or does not suit the
    `correction`, and when the correction is another one than `spec` names.
    """
    if spec.interpolation in FAST_KERNELS:
        return _normalised(_fast_channels(cut_out(image, pixel_format, spec, correction), spec), spec)
    _check_correction(spec, correction)
    cut = develop(image, pixel_format, spec.roi_px, correction)
    return normalise(resample(cut, spec.size_px, spec.interpolation), spec)


def develop(
    image: RawImage,
    pixel_format: PixelFormat,
    roi_px: Box | None = None,
    correction: Correction | None = None,
) -> NDArray[np.uint8]:
    """Cut to the region of interest and demosaic: (h, w) for a grey format, else (h, w, 3) RGB, uint8.

    12 bits are demosaiced as they are and rounded to 8 bits afterwards, since the resampler takes 8.
    """
    _check_layout(image, pixel_format)
    box = covered_box(image, roi_px)
    if correction is not None and correction.lens is not None:
        whole = (0, 0, image.shape[1], image.shape[0])
        return correction.undistorted(_developed(image, pixel_format, whole, correction), box)
    return _developed(image, pixel_format, box, correction)


def _developed(
    image: RawImage, pixel_format: PixelFormat, box: Box, correction: Correction | None
) -> NDArray[np.uint8]:
    x, y, width, height = box
    if pixel_format not in _BAYER:
        return _in_8_bits(_levelled(image, box, correction))
    top, left = _even_margin(y), _even_margin(x)
    bottom = min(image.shape[0], y + height + BAYER_MARGIN_PX)
    right = min(image.shape[1], x + width + BAYER_MARGIN_PX)
    cut = _levelled(image, (left, top, right - left, bottom - top), correction)
    # OpenCV's name for GenICam's BayerRG: red at (0, 0), hence the even corner.
    colours: RawImage = np.asarray(cv2.cvtColor(cut, cv2.COLOR_BayerRGGB2RGB))  # type: ignore[assignment]
    rgb = _in_8_bits(colours)
    return rgb[y - top : y - top + height, x - left : x - left + width]


def covered_box(image: RawImage, roi_px: Box | None) -> Box:
    """The part of the frame that the input tensor covers. Raises `FrameError` when it lies outside."""
    height, width = image.shape[:2]
    if roi_px is None:
        return (0, 0, width, height)
    x, y, roi_width, roi_height = roi_px
    if x + roi_width > width or y + roi_height > height:
        raise FrameError(
            f"The region of interest {list(roi_px)} does not lie in a frame of {width} x {height} px.",
            do="Correct roi_px in the station file, or the camera's own region.",
        )
    return roi_px


def resample(
    image: NDArray[np.uint8],
    size_px: tuple[int, int],
    interpolation: Interpolation = "pil_bicubic_antialias",
) -> NDArray[np.uint8]:
    """PIL's antialiased resampling to (height, width), uint8. Grey stays grey: the result is the same.

    For a fast interpolation it is PIL's with the same kernel: to look at, not what the network gets.
    """
    pil = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(pil.resize(size_px[::-1], _FILTERS[interpolation]))


def normalise(image: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    """(h, w) or (h, w, 3) uint8 → (1, 3, h, w) float32 by a table of the 256 possible values per channel."""
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    table = (values - mean[:, None]) / std[:, None]
    planes = [image if image.ndim == 2 else image[:, :, channel] for channel in range(3)]
    tensor = np.empty((1, 3, *image.shape[:2]), np.float32)
    for channel, plane in enumerate(planes):
        np.take(table[channel], plane, out=tensor[0, channel])
    return tensor


def _levelled(image: RawImage, box: Box, correction: Correction | None) -> RawImage:
    if correction is not None:
        return correction.levelled(image, box)
    x, y, width, height = box
    return image[y : y + height, x : x + width]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """The inspected part of a raw frame, levelled. `red` is the (row, column) of its first red pixel if it is a
    Bayer pattern, which it is not any more when it had to be demosaiced."""

    image: RawImage
    pixel_format: PixelFormat
    red: tuple[int, int]


def cut_out(
    image: RawImage, pixel_format: PixelFormat, spec: Preprocessing, correction: Correction | None
) -> Cut:
    """What the fast resampler gets: the raw cut where it can be resampled plane by plane, else the demosaiced.

    Raises `FrameError` as `input_tensor` does.
    """
    _check_correction(spec, correction)
    _check_layout(image, pixel_format)
    box = x, y, width, height = covered_box(image, spec.roi_px)
    straight = correction is None or correction.lens is None
    if pixel_format in _BAYER and straight and reducible((height, width), spec.size_px):
        return Cut(_levelled(image, box, correction), pixel_format, (y % 2, x % 2))
    cut = develop(image, pixel_format, box, correction)
    return Cut(cut, PixelFormat.MONO8 if cut.ndim == 2 else PixelFormat.RGB8, (0, 0))


def full_scale(pixel_format: PixelFormat) -> int:
    """The largest value of a frame of this format."""
    return TOP_12_BIT if pixel_format in _DEEP else TOP_8_BIT


def _check_correction(spec: Preprocessing, correction: Correction | None) -> None:
    if spec.correction_id != (None if correction is None else correction.correction_id):
        raise FrameError(
            "The preprocessing names another camera calibration than the one at hand.",
            do="Start the daemon again with the calibration that the thresholds were set with.",
        )


def _fast_channels(cut: Cut, spec: Preprocessing) -> NDArray[np.float32]:
    """A cut → (1 or 3, height, width) float32 in [0, 1]."""
    kernel, top = FAST_KERNELS[spec.interpolation], full_scale(cut.pixel_format)
    if cut.pixel_format in _BAYER:
        channels = resample_bayer(cut.image, cut.red, spec.size_px, kernel, top)
    else:
        channels = resample_channels(cut.image, spec.size_px, kernel, top)
    return channels / np.float32(top)


def _normalised(channels: NDArray[np.float32], spec: Preprocessing) -> NDArray[np.float32]:
    """(1 or 3, h, w) in [0, 1] → (1, 3, h, w); grey fills all three."""
    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
    return np.ascontiguousarray(((channels - mean) / std)[None])


def _even_margin(start: int) -> int:
    """The nearest even row or column that leaves the demosaicing margin, so that the Bayer phase is kept."""
    return max(0, start - BAYER_MARGIN_PX) // 2 * 2


def _in_8_bits(image: RawImage) -> NDArray[np.uint8]:
    """uint8 as it is; 0 to 4095 rounded to 0 to 255."""
    if image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    return np.asarray(_TO_8_BITS[np.minimum(image, TOP_12_BIT)], np.uint8)


def _check_layout(image: RawImage, pixel_format: PixelFormat) -> None:
    colour = pixel_format is PixelFormat.RGB8
    fits = image.ndim == (3 if colour else 2) and (not colour or image.shape[2] == 3)
    dtype = np.uint16 if pixel_format in _DEEP else np.uint8
    if image.dtype != dtype or not fits or 0 in image.shape:
        raise FrameError(
            f"A {pixel_format.value} frame came as {image.dtype} {image.shape}.",
            do="Set the camera's pixel format to the one that the station file names.",
        )
