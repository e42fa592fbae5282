"""When a measurement must not be used: what is wrong with the picture, and what to change on the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from calibration.camera.bench import BenchCamera
from edge.errors import EdgeError, OperateError


class MeasurementRefused(OperateError):
    """The picture does not allow the step to be done; nothing was taken over from it.

    `do` says what to change on the machine: light, aperture, focus, target or speed.
    """


@contextmanager
def restored(camera: BenchCamera) -> Iterator[None]:
    """Whatever happens inside, the camera has its settings of before again afterwards."""
    before = asdict(camera.settings)
    try:
        yield
    finally:
        camera.set(**before)


@contextmanager
def restored_if_refused(camera: BenchCamera) -> Iterator[None]:
    """The camera has its settings of before again when the step inside does not succeed."""
    before = asdict(camera.settings)
    try:
        yield
    except EdgeError:
        camera.set(**before)
        raise
