"""The camera calibration of a station: a folder with `camera.yaml` and the fields it names, read and checked.

    camera.yaml   what was calibrated, with which settings, and the SHA-256 of fields.npz
    fields.npz    offset and gain (h, w) float32, dead_px (n, 2) int64

Its identity is the SHA-256 of `camera.yaml`, so any change of it, or of the fields, is another calibration:
the thresholds that were set with the old one no longer apply.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge.config import StationConfig
from edge.correction import Correction, LensMap
from edge.errors import ConfigError
from edge.manifest import Finite, Sha256
from edge.messages import Box, PixelFormat
from edge.photometry import PhotometricBaseline
from edge.strict_model import PositiveFloat, PositiveInt, Strict
from edge.yaml_file import parse_model

CALIBRATION = "camera.yaml"
FIELDS = "fields.npz"
Fields = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]
"""Offset, gain, dead pixels; see `edge.correction`."""
BAYER = (PixelFormat.BAYER_RG8, PixelFormat.BAYER_RG12)


class CalibratedCamera(Strict):
    """The device that was calibrated, and what it was set to. `lens` and `light` are notes for people:
    aperture, focus, working distance; lamp and its setting."""

    model: str
    serial: str
    firmware: str = ""
    lens: str = ""
    light: str = ""
    pixel_format: PixelFormat
    region_px: Box | None = None
    exposure_us: PositiveFloat
    gain_db: Finite
    red_gain: PositiveFloat | None = None
    blue_gain: PositiveFloat | None = None


class LensModel(Strict):
    """OpenCV's pinhole model: fx, fy, cx, cy in pixels and k1, k2, p1, p2, k3. `rms_px` is the reprojection
    error, `views` how many pictures of the board it rests on."""

    camera_matrix: tuple[PositiveFloat, PositiveFloat, Finite, Finite]
    distortion: tuple[Finite, Finite, Finite, Finite, Finite]
    rms_px: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    views: PositiveInt


class CameraCalibration(Strict):
    """Content of `camera.yaml`. `mm_per_px` holds on the belt's plane, after the lens correction if there is
    one. `photometric` is how good frames are lit. `figures` are measured values worth keeping (noise,
    linearity, sharpness), by name with their unit."""

    schema_version: Literal[1] = 1
    made_utc: str
    made_by: str
    camera: CalibratedCamera
    width_px: PositiveInt
    height_px: PositiveInt
    fields_sha256: Sha256 | None = None
    lens: LensModel | None = None
    mm_per_px: PositiveFloat | None = None
    photometric: PhotometricBaseline | None = None
    figures: dict[str, Finite] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _grey_or_bayer(self) -> CameraCalibration:
        if self.fields_sha256 is not None and self.camera.pixel_format is PixelFormat.RGB8:
            raise ValueError("a flat field is kept for raw pixels: calibrate a Bayer or a Mono format")
        return self


def read_camera_calibration(folder: Path) -> tuple[CameraCalibration, str]:
    """The calibration and its identity. Raises `ConfigError` when the folder does not hold one."""
    try:
        content = (folder / CALIBRATION).read_bytes()
    except OSError as fault:
        raise ConfigError(
            f"{folder} is not a camera calibration: {CALIBRATION} cannot be read ({fault.strerror}).",
            do="Give the folder that 'adclip calibrate camera' wrote.",
        ) from fault
    found = parse_model(content.decode("utf-8", "replace"), CameraCalibration, name=str(folder / CALIBRATION))
    return found, hashlib.sha256(content).hexdigest()


def open_correction(folder: Path) -> tuple[CameraCalibration, Correction]:
    """The calibration with what it does to a frame. Raises `ConfigError` when a file is missing or
    altered."""
    found, identity = read_camera_calibration(folder)
    shape = (found.height_px, found.width_px)
    if found.fields_sha256 is None:
        fields = _neutral_fields(shape)
    else:
        fields = _fields(folder / FIELDS, found.fields_sha256, shape)
    step = 2 if found.camera.pixel_format in BAYER else 1
    return found, Correction(identity, *fields, step, _lens_map(found))


def station_correction(config: StationConfig) -> tuple[CameraCalibration | None, Correction | None]:
    """The station's camera calibration and its correction, None where the station file names none.

    Raises `ConfigError` when it cannot be read, or belongs to another camera than the station file names.
    """
    if config.preprocess.camera_calibration is None:
        return None, None
    found, correction = open_correction(config.preprocess.camera_calibration)
    serial = getattr(config.camera, "serial", None)
    if serial is not None and serial != found.camera.serial:
        raise ConfigError(
            f"The camera calibration is of camera {found.camera.serial}, the station file names {serial}.",
            do="Run 'adclip calibrate camera' for this camera, or correct camera.serial.",
        )
    return found, correction


def calibration_text(content: CameraCalibration) -> str:
    """`camera.yaml` for a calibration."""
    return yaml.safe_dump(content.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _neutral_fields(shape: tuple[int, int]) -> Fields:
    return np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros((0, 2), np.intp)


def _fields(path: Path, expected: str, shape: tuple[int, int]) -> Fields:
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise _unusable(path, f"it cannot be read ({fault.strerror})") from fault
    if hashlib.sha256(content).hexdigest() != expected:
        raise _unusable(path, "it is not the file that was calibrated, its SHA-256 is another one")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            offset, gain, dead = arrays["offset"], arrays["gain"], arrays["dead_px"]
    except (ValueError, KeyError, OSError) as fault:
        raise _unusable(path, f"it does not hold the fields ({fault})") from fault
    usable = offset.shape == gain.shape == shape and dead.ndim == 2 and dead.shape[1] == 2
    if not usable or not (np.isfinite(offset).all() and np.isfinite(gain).all()):
        raise _unusable(path, "its fields do not fit the frame or are not numbers")
    if dead.size and not ((dead >= 0) & (dead < shape)).all():
        raise _unusable(path, "a dead pixel lies outside the frame")
    return offset.astype(np.float32), gain.astype(np.float32), dead.astype(np.intp)


def _lens_map(found: CameraCalibration) -> LensMap | None:
    if found.lens is None:
        return None
    fx, fy, cx, cy = found.lens.camera_matrix
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    size = (found.width_px, found.height_px)
    x, y = cv2.initUndistortRectifyMap(
        matrix, np.array(found.lens.distortion), np.eye(3), matrix, size, cv2.CV_32FC1
    )
    return LensMap(np.asarray(x, np.float32), np.asarray(y, np.float32))


def _unusable(path: Path, how: str) -> ConfigError:
    return ConfigError(
        f"{path} cannot be used: {how}.",
        do="Restore the folder whole, or run 'adclip calibrate camera' again.",
    )
