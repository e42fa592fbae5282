"""From what was measured to the station's calibration, and what of an earlier one still holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from calibration.camera.bench import Identity, Settings
from calibration.camera.geometry import Geometry
from calibration.camera.light import LightResult
from calibration.camera.pack import Fields, Packed
from calibration.camera.raw_levels import BAYER
from calibration.camera.session import SessionRecord, Step
from edge.camera_calibration import CalibratedCamera, CameraCalibration
from edge.errors import ConfigError
from edge.messages import Box


@dataclass(frozen=True, slots=True)
class Signature:
    """Who made it and when, and what people noted: `lens` and `light` None where nothing was noted."""

    made_utc: str
    made_by: str
    lens: str | None = None
    light: str | None = None


def check_same_camera(before: Packed | None, identity: Identity, region_px: Box | None) -> None:
    """Raises `ConfigError` when an earlier calibration is of another camera, format or region."""
    if before is None:
        return
    was = before.content.camera
    for what, old, new in (
        ("camera", was.serial, identity.serial),
        ("firmware", was.firmware, identity.firmware),
        ("pixel format", was.pixel_format.value, identity.pixel_format.value),
        ("region", was.region_px, region_px),
        (
            "size",
            (before.content.width_px, before.content.height_px),
            (identity.width_px, identity.height_px),
        ),
    ):
        if old != new:
            raise ConfigError(
                f"The calibration in --out is of another {what}: {old}, now {new}.",
                do="Give another folder with --out; this one belongs to the camera as it was.",
            )


def settings_of(before: Packed) -> Settings:
    """What the camera was set to when it was calibrated."""
    camera = before.content.camera
    return Settings(camera.exposure_us, camera.gain_db, camera.red_gain or 1.0, camera.blue_gain or 1.0)


def camera_calibration(
    record: SessionRecord, before: Packed | None, signature: Signature, region_px: Box | None
) -> tuple[CameraCalibration, Fields | None, tuple[str, ...]]:
    """The calibration with its fields, and what of `before` no longer holds, in sentences.

    What `record` has not measured is kept from `before`. The lens holds until the focus was worked on, the
    light's baseline while the camera's settings are the same.
    """
    old = None if before is None else before.content
    camera = _camera(record.identity, record.settings, before, signature, region_px)
    lost = []
    lens, scale = (None, None) if old is None else (old.lens, old.mm_per_px)
    if Step.FOCUS in record.done and (lens is not None or scale is not None):
        lens, scale = None, None
        lost.append(
            "The focus was worked on, so the geometry no longer holds: run 'adclip calibrate geometry'."
        )
    photometric = None if old is None else old.photometric
    if photometric is not None and before is not None and record.settings != settings_of(before):
        photometric = None
        lost.append(
            "Exposure or gains changed, so the light must be learned again: run 'adclip calibrate light'."
        )
    content = CameraCalibration(
        made_utc=signature.made_utc,
        made_by=signature.made_by,
        camera=camera,
        width_px=record.identity.width_px,
        height_px=record.identity.height_px,
        lens=lens,
        mm_per_px=scale,
        photometric=photometric,
        figures={**({} if old is None else old.figures), **record.figures},
    )
    fields = record.fields or (None if before is None else before.fields)
    return content, fields, tuple(lost)


def with_geometry(
    found: Geometry,
    identity: Identity,
    settings: Settings,
    before: Packed | None,
    signature: Signature,
    region_px: Box | None,
) -> CameraCalibration:
    """The earlier calibration with lens and scale of `found`, or one that has nothing else."""
    figures = {
        "belt_distance_mm": found.distance_mm,
        "belt_lean_deg": found.lean_deg,
        "parallax_at_10_mm_share": found.parallax(10.0),
    }
    base = bare_calibration(identity, settings, before, signature, region_px, figures)
    return base.model_copy(update={"lens": found.lens, "mm_per_px": found.mm_per_px})


def with_light(
    found: LightResult,
    identity: Identity,
    settings: Settings,
    before: Packed | None,
    signature: Signature,
    region_px: Box | None,
) -> CameraCalibration:
    """The earlier calibration with the light's baseline, or one that has nothing else."""
    figures = {"light_flicker_share": found.flicker, "light_drift_share": found.drift}
    base = bare_calibration(identity, settings, before, signature, region_px, figures)
    return base.model_copy(update={"photometric": found.baseline})


def bare_calibration(
    identity: Identity,
    settings: Settings,
    before: Packed | None,
    signature: Signature,
    region_px: Box | None,
    figures: Mapping[str, float] | None = None,
) -> CameraCalibration:
    """The earlier calibration with more figures, as made now, or one that has nothing but figures."""
    new = {} if figures is None else figures
    camera = _camera(identity, settings, before, signature, region_px)
    if before is not None:
        changed = {
            "made_utc": signature.made_utc,
            "made_by": signature.made_by,
            "camera": camera,
            "figures": {**before.content.figures, **new},
        }
        return before.content.model_copy(update=changed)
    return CameraCalibration(
        made_utc=signature.made_utc,
        made_by=signature.made_by,
        camera=camera,
        width_px=identity.width_px,
        height_px=identity.height_px,
        figures=dict(new),
    )


def _camera(
    identity: Identity,
    settings: Settings,
    before: Packed | None,
    signature: Signature,
    region_px: Box | None,
) -> CalibratedCamera:
    """The device as it is now; notes that nobody gave are those of before."""
    colours = identity.pixel_format in BAYER
    was = None if before is None else before.content.camera
    return CalibratedCamera(
        model=identity.model,
        serial=identity.serial,
        firmware=identity.firmware,
        lens=_note(signature.lens, was.lens if was else None),
        light=_note(signature.light, was.light if was else None),
        pixel_format=identity.pixel_format,
        region_px=region_px,
        exposure_us=settings.exposure_us,
        gain_db=settings.gain_db,
        red_gain=settings.red_gain if colours else None,
        blue_gain=settings.blue_gain if colours else None,
    )


def _note(given: str | None, before: str | None) -> str:
    return (before or "") if given is None else given
