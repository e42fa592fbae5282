"""Writes a calibration folder whole or not at all, and keeps the one before.

camera.part/   written and read back ─▶ camera/ becomes camera.20261121T080000Z/ ─▶ camera.part/ becomes
camera/
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.camera_calibration import (
    CALIBRATION,
    FIELDS,
    CameraCalibration,
    calibration_text,
    open_correction,
)
from edge.errors import ConfigError, OpenError

REPORTS = ("report-camera", "report-geometry", "report-light")
"""Reports of each command, as .html and .json; one command keeps those of the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """`offset` and `gain` (h, w) float32 and `dead_px` (n, 2), see `edge.correction`."""

    offset: NDArray[np.float32]
    gain: NDArray[np.float32]
    dead_px: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """An opened calibration folder; `fields` is None where it has none."""

    content: CameraCalibration
    identity: str
    fields: Fields | None


def opened(folder: Path) -> Packed | None:
    """The calibration in `folder`, None when nothing is there. Raises `ConfigError` when something else
    is."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not (folder / CALIBRATION).is_file():
        raise ConfigError(
            f"{folder} is there already and is no camera calibration.", do="Give another folder with --out."
        )
    content, correction = open_correction(folder)
    fields = None
    if content.fields_sha256 is not None:
        fields = Fields(correction.offset, correction.gain, correction.dead_px)
    return Packed(content, correction.correction_id, fields)


def write_calibration(
    folder: Path,
    content: CameraCalibration,
    fields: Fields | None,
    reports: Callable[[str], Mapping[str, bytes]],
) -> str:
    """Write `camera.yaml`, `fields.npz` and the reports, and return the calibration's identity.

    `reports` gives the reports' files by name, for that identity.
    What was in `folder` is renamed by the time it was made; reports of other commands are taken along. Raises
    `ConfigError` when something else is in `folder`, `OpenError` when it cannot be written.
    """
    before = opened(folder)
    part = folder.with_name(folder.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        identity = _write_into(part, content, fields)
        for name, page in {**_kept_reports(folder), **reports(identity)}.items():
            (part / name).write_bytes(page)
        if before is not None:
            folder.replace(_free_name(folder, before.content.made_utc))
        elif folder.exists():
            folder.rmdir()
        part.replace(folder)
    except OSError as fault:
        raise OpenError(
            f"{folder} cannot be written: {fault.strerror or fault}.",
            do="Give a folder that can be written and has room, with --out.",
        ) from fault
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return identity


def fields_bytes(fields: Fields) -> bytes:
    """Content of `fields.npz`."""
    coded = io.BytesIO()
    np.savez_compressed(
        coded,
        offset=fields.offset.astype(np.float32),
        gain=fields.gain.astype(np.float32),
        dead_px=fields.dead_px.astype(np.int64),
    )
    return coded.getvalue()


def _write_into(part: Path, content: CameraCalibration, fields: Fields | None) -> str:
    """Write the calibration, read it back as the station will, and return its identity."""
    coded = None if fields is None else fields_bytes(fields)
    sha256 = None if coded is None else hashlib.sha256(coded).hexdigest()
    whole = content.model_copy(update={"fields_sha256": sha256})
    if coded is not None:
        (part / FIELDS).write_bytes(coded)
    (part / CALIBRATION).write_text(calibration_text(whole), encoding="utf-8")
    _, correction = open_correction(part)
    return correction.correction_id


def _kept_reports(folder: Path) -> dict[str, bytes]:
    names = [f"{stem}.{kind}" for stem in REPORTS for kind in ("html", "json")]
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _free_name(folder: Path, made_utc: str) -> Path:
    stamp = "".join(letter for letter in made_utc if letter.isalnum()) or "before"
    candidate, number = folder.with_name(f"{folder.name}.{stamp}"), 1
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}.{stamp}-{number}")
    return candidate
