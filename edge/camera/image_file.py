"""Image files as raw pictures: the one way in for the replay camera and `adclip infer`."""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from edge.errors import ConfigError, EdgeError, OperateError
from edge.messages import PixelFormat

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
FORMATS = ("BMP", "JPEG", "PNG", "TIFF")
MASK_FOLDERS = ("ground_truth", "grouth_truth")
"""Folders of masks in the usual data sets, one of them with its customary misspelling."""

MAX_PIXELS = 89_000_000
"""Far beyond any camera of the line, and below the size from which Pillow refuses a file by itself."""

_GREY_MODES = ("1", "L", "LA")
_CONVERT = "Convert it to an 8-bit PNG, JPEG, BMP or TIFF."


def read_image(path: Path) -> tuple[NDArray[np.uint8], PixelFormat]:
    """Read a PNG, JPEG, BMP or TIFF file as it is stored: read-only uint8, not turned by its EXIF tag.

    Grey files (with or without alpha, or black and white) give (h, w) Mono8, all others (h, w, 3) RGB8; alpha
    is left out, and of several pages the first is read. Raises `OperateError` naming the file for anything
    that is not such an image, is cut off, or has more than 8 bits per channel.
    """
    content = _content(path)
    # Pillow warns about doubtful metadata and about large images; the first do not matter, the second are
    # refused here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _decoded(content, path)
        except EdgeError:
            raise
        except UnidentifiedImageError as fault:
            raise OperateError(f"{path} is no image that can be read.", do=_CONVERT) from fault
        except Exception as fault:  # on damaged files Pillow's decoders raise whatever their parser met
            raise OperateError(
                f"{path} is damaged or cut off: decoding failed ({fault}).",
                do="Copy it again from where it came, or leave it out.",
            ) from fault


def image_files(folder: Path) -> list[Path]:
    """All image files in a folder and below it, by path, numbers in names by their value.

    Hidden files and folders are left out, and folders of masks. Raises `ConfigError` when there is none.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder.", do="Name a folder that holds the pictures.")
    found: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=_unreadable_folder):
        folders[:] = [name for name in folders if not _left_out(name)]
        found += [Path(parent, name) for name in files if _is_image(name)]
    if not found:
        raise ConfigError(
            f"{folder} holds no pictures ({', '.join(SUFFIXES)}).",
            do="Name a folder that holds the pictures.",
        )
    return sorted(found, key=lambda path: _natural(path.relative_to(folder)))


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device may never end
            raise OperateError(f"{path} is not a file.", do="Name an image file.")
        content = path.read_bytes()
    except OSError as fault:
        raise OperateError(
            f"{path} cannot be read: {fault.strerror}.", do="Check the name and its rights."
        ) from fault
    if not content:
        raise OperateError(f"{path} is empty.", do="Copy it again from where it came.")
    return content


def _decoded(content: bytes, path: Path) -> tuple[NDArray[np.uint8], PixelFormat]:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        _check(image, path)
        if image.format == "PNG":  # the only format with checksums of its own
            image.verify()
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        grey = image.mode in _GREY_MODES
        pixels = np.array(image.convert("L" if grey else "RGB"), np.uint8)
    pixels.flags.writeable = False
    return pixels, PixelFormat.MONO8 if grey else PixelFormat.RGB8


def _check(image: ImageFile.ImageFile, path: Path) -> None:
    width, height = image.size
    if 0 in image.size:
        raise OperateError(f"{path} has no pixels: it is {width} x {height}.", do="Replace it.")
    if width * height > MAX_PIXELS:
        raise OperateError(
            f"{path} has {width} x {height} pixels, more than {MAX_PIXELS}.", do="Cut or scale it down first."
        )
    if _deep(image):
        raise OperateError(f"{path} has more than 8 bits per channel ({image.mode}).", do=_CONVERT)


def _deep(image: ImageFile.ImageFile) -> bool:
    """Whether a channel has more than 8 bits, also where Pillow would cut the lower ones off in silence."""
    if image.mode == "F" or image.mode.startswith("I"):
        return True
    # The raw mode of such files is, say, "RGB;16B"; in a BMP the same text means 5 to 6 bits per channel.
    return image.format in ("PNG", "TIFF") and any(";16" in str(tile[3]) for tile in image.tile)


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _left_out(folder: str) -> bool:
    return folder.startswith(".") or folder.lower() in MASK_FOLDERS


def _natural(path: Path) -> tuple[list[list[tuple[int, str]]], str]:
    """Sort key by path part: `image2` before `image10`."""
    parts = [
        [
            (int(piece), "") if piece.isascii() and piece.isdecimal() else (-1, piece)
            for piece in re.split(r"([0-9]+)", part)
        ]
        for part in path.parts
    ]
    return parts, str(path)


def _unreadable_folder(fault: OSError) -> None:
    raise ConfigError(
        f"The folder {fault.filename} cannot be read: {fault.strerror}.", do="Check its rights."
    ) from fault
