"""What a recorded run was judged with, opened again: for replay, and for reports that need its maps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from pydantic import ValidationError

from edge.bundle import open_bundle
from edge.camera_calibration import station_correction
from edge.config import StationConfig
from edge.errors import ConfigError
from edge.inspection import Inspector
from edge.light import LightWatch, light_watch
from edge.manifest import Preprocessing
from edge.records import RunInfo
from edge.runner import open_runner


@contextmanager
def recorded_inspector(info: RunInfo, moved: Path | None = None) -> Iterator[Inspector]:
    """The inspector that the run had; `moved` says where its bundle is now, if not where it was.

    Raises `BundleError` or `OpenError`, and `ConfigError` when the bundle is not the run's own.
    """
    config = recorded_config(info)
    bundle = open_bundle(moved or config.bundle)
    if bundle.bundle_id != info.bundle_id:
        raise ConfigError(
            f"{bundle.folder} is not the bundle of this run: its id is {bundle.bundle_id[:12]}, recorded was "
            f"{info.bundle_id[:12]}.",
            do="Give the run's own bundle with --bundle.",
        )
    correction = station_correction(config)[1]
    runner = open_runner(bundle, config.runner)
    try:
        preprocessing = Preprocessing.model_validate(info.preprocessing)
        yield Inspector(bundle, runner, preprocessing, time.monotonic_ns, correction)
    finally:
        runner.close()


def recorded_light(info: RunInfo) -> LightWatch:
    """The watch over the light that the run had."""
    config = recorded_config(info)
    calibration = station_correction(config)[0]
    return light_watch(config.light, calibration.photometric if calibration else None)


def recorded_config(info: RunInfo) -> StationConfig:
    """The effective station file of the run. Raises `ConfigError` when this version does not know it."""
    try:
        return StationConfig.model_validate(yaml.safe_load(info.config_yaml))
    except ValidationError as fault:
        raise ConfigError(
            f"The run was recorded by version {info.software}, with a station file that this version does not "
            f"take: {fault.error_count()} faults.",
            do="Use the version that recorded it.",
        ) from fault
