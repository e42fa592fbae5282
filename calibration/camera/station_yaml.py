"""The lines of the station file that a calibration asks for."""

from __future__ import annotations

import yaml

from edge.camera_calibration import CalibratedCamera


def station_yaml(camera: CalibratedCamera, folder: str) -> str:
    """`camera` and `preprocess` keys, to be merged into the station file by hand."""
    settings: dict[str, object] = {
        "serial": camera.serial,
        "exposure_us": round(camera.exposure_us, 2),
        "gain_db": round(camera.gain_db, 3),
    }
    if camera.red_gain is not None and camera.blue_gain is not None:
        settings["white_balance"] = {"red": round(camera.red_gain, 5), "blue": round(camera.blue_gain, 5)}
    wanted = {"camera": settings, "preprocess": {"camera_calibration": folder}}
    return yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True)
