"""What an ended run has found, kept beside the calibration folder so that `--resume` goes on from there."""

from __future__ import annotations

import io
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from calibration.camera.bench import Identity, Settings
from calibration.camera.dark_field import DarkField
from calibration.camera.findings import StepReport
from calibration.camera.pack import Fields
from calibration.camera.session import SessionRecord, Step
from edge.errors import ConfigError, OpenError
from edge.messages import PixelFormat
from edge.strict_model import Strict

PROGRESS, ARRAYS = "progress.json", "progress.npz"


class _Progress(Strict):
    schema_version: Literal[1] = 1
    model: str
    serial: str
    firmware: str
    pixel_format: PixelFormat
    width_px: int
    height_px: int
    exposure_us: float
    gain_db: float
    red_gain: float
    blue_gain: float
    done: tuple[Step, ...]
    reports: tuple[StepReport, ...]
    figures: dict[str, float]
    dark: dict[str, float] | None = None


def unfinished_folder(folder: Path) -> Path:
    """Where a run for `folder` leaves what it has found."""
    return folder.with_name(folder.name + ".unfinished")


def keep_unfinished(folder: Path, record: SessionRecord) -> None:
    """Keep the record for `--resume`. Raises `OpenError` when it cannot be written."""
    place = unfinished_folder(folder)
    arrays = io.BytesIO()
    np.savez(arrays, allow_pickle=False, **_arrays(record))
    try:
        place.mkdir(parents=True, exist_ok=True)
        _replace(place / ARRAYS, arrays.getvalue())
        _replace(place / PROGRESS, _progress(record).model_dump_json(indent=1).encode())
    except OSError as fault:
        raise OpenError(
            f"{place} cannot be written: {fault.strerror or fault}.", do="Give another folder with --out."
        ) from fault


def read_unfinished(folder: Path, identity: Identity) -> SessionRecord:
    """The record kept for `folder`. Raises `ConfigError` when there is none, or it is of another camera."""
    place = unfinished_folder(folder)
    try:
        kept = _Progress.model_validate_json((place / PROGRESS).read_bytes())
        with np.load(place / ARRAYS, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError, ValidationError) as fault:
        raise ConfigError(
            f"There is nothing to resume in {place}.", do="Start without --resume, from the first step."
        ) from fault
    was = Identity(kept.model, kept.serial, kept.firmware, kept.pixel_format, kept.width_px, kept.height_px)
    if was != identity:
        raise ConfigError(
            f"The unfinished run was of camera {was.serial}, {was.width_px} x {was.height_px} "
            f"{was.pixel_format.value}.",
            do="Start without --resume, or connect that camera and set it as it was.",
        )
    return SessionRecord(
        identity=identity,
        settings=Settings(kept.exposure_us, kept.gain_db, kept.red_gain, kept.blue_gain),
        done=kept.done,
        reports=kept.reports,
        figures=kept.figures,
        dark=_dark(kept.dark, arrays),
        fields=_fields(arrays),
    )


def drop_unfinished(folder: Path) -> None:
    """Forget what was kept, once the calibration is written."""
    shutil.rmtree(unfinished_folder(folder), ignore_errors=True)


def _progress(record: SessionRecord) -> _Progress:
    dark = record.dark
    return _Progress(
        **asdict(record.identity),
        **asdict(record.settings),
        done=record.done,
        reports=record.reports,
        figures=dict(record.figures),
        dark=None
        if dark is None
        else {
            "frames": dark.frames,
            "black_level_dn": dark.black_level_dn,
            "variance": dark.variance,
            "clipped": dark.clipped,
            "slope": dark.slope,
        },
    )


def _arrays(record: SessionRecord) -> dict[str, NDArray[np.generic]]:
    arrays: dict[str, NDArray[np.generic]] = {}
    if record.dark is not None:
        arrays |= {"dark": record.dark.offset, "hot_px": record.dark.hot_px}
    if record.fields is not None:
        arrays |= {
            "offset": record.fields.offset,
            "gain": record.fields.gain,
            "dead_px": record.fields.dead_px,
        }
    return arrays


def _dark(kept: dict[str, float] | None, arrays: dict[str, NDArray[np.generic]]) -> DarkField | None:
    if kept is None:
        return None
    return DarkField(
        frames=int(kept["frames"]),
        offset=arrays["dark"].astype(np.float32),
        hot_px=arrays["hot_px"].astype(np.intp),
        black_level_dn=kept["black_level_dn"],
        variance=kept["variance"],
        clipped=kept["clipped"],
        slope=kept["slope"],
    )


def _fields(arrays: dict[str, NDArray[np.generic]]) -> Fields | None:
    if "gain" not in arrays:
        return None
    return Fields(
        arrays["offset"].astype(np.float32),
        arrays["gain"].astype(np.float32),
        arrays["dead_px"].astype(np.intp),
    )


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
