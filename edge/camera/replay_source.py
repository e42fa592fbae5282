"""Where replayed pictures come from: a folder of images, or a recorded run."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.camera.image_file import image_files, read_image
from edge.camera_config import ReplayCameraConfig
from edge.errors import ConfigError, EdgeError, OperateError
from edge.messages import Frame, FrameStatus, PixelFormat
from edge.records import DATABASE, PartRecord, open_records

LOG = logging.getLogger("adclip.camera")


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One picture to be replayed.

    `recorded_ns` is when it was triggered once, 0 when that is not known; only differences mean something.
    The times of `frame` mean nothing: the camera puts in its own.
    """

    frame: Frame
    recorded_ns: int = 0


class ReplaySource(Protocol):
    """Pictures in the order of their triggers."""

    @property
    def description(self) -> str:
        """What is replayed, for people."""

    def shots(self) -> Iterator[Shot]:
        """Each picture, read when it is asked for.

        One that cannot be read comes with the status INCOMPLETE and without an image.
        """

    def close(self) -> None:
        """Calling it twice is allowed."""


class FolderSource:
    """A folder of images, searched recursively; parts and frames are numbered from 1 in name order."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, image_files(folder)
        self.description = f"{len(self._files)} pictures in {folder}"

    def shots(self) -> Iterator[Shot]:
        """See `ReplaySource.shots`; `source` of a frame is its path in the folder."""
        for number, file in enumerate(self._files, start=1):
            yield Shot(self._frame(number, file))

    def close(self) -> None:
        """Nothing is held open."""

    def _frame(self, number: int, file: Path) -> Frame:
        source = file.relative_to(self._folder).as_posix()
        try:
            image, pixel_format = read_image(file)
        except OperateError as fault:
            LOG.warning("%s", fault)
            return _unreadable(number, number, PixelFormat.MONO8, source)
        return Frame(number, number, 0, 0, image, pixel_format, source=source)


class RunSource:
    """The stored frames of a recorded run, with their own numbers, settings and status.

    Parts whose picture was not kept, or was removed since, are left out, and so are those that never had
    one; `description` says how many are there.
    """

    def __init__(self, directory: Path, number: int | None) -> None:
        self._reader = open_records(directory)
        try:
            self._run = self._reader.run(number).number
            stored = self._reader.part_count(self._run, stored_only=True)
            total = self._reader.part_count(self._run)
            if stored == 0:
                raise ConfigError(
                    f"Run {self._run} in {directory} has no stored frame.",
                    do="Replay another run, or record one with records.keep_frames: all.",
                )
        except EdgeError:
            self._reader.close()
            raise
        self.description = f"run {self._run} in {directory}, {stored} of {total} frames stored"

    def shots(self) -> Iterator[Shot]:
        """See `ReplaySource.shots`."""
        for record in self._reader.parts(self._run, stored_only=True):
            frame = self._frame(record)
            if frame is not None:  # else it was removed a moment ago
                yield Shot(frame, record.triggered_ns)

    def close(self) -> None:
        """See `ReplaySource.close`."""
        self._reader.close()

    def _frame(self, record: PartRecord) -> Frame | None:
        try:
            return self._reader.frame(record)
        except OperateError as fault:
            LOG.warning("%s", fault)
            frame_id = record.part_id if record.frame_id is None else record.frame_id
            pixel_format = record.pixel_format or PixelFormat.MONO8
            return _unreadable(record.part_id, frame_id, pixel_format, record.source)


def open_source(config: ReplayCameraConfig) -> ReplaySource:
    """The source that the configuration names.

    Raises `ConfigError` when it holds no pictures or does not go with the rest, or `OpenError`.
    """
    if (config.source / DATABASE).is_file():
        return RunSource(config.source, config.run)
    if config.run is not None:
        raise ConfigError(
            f"{config.source} holds no {DATABASE}, so there is no run {config.run} to replay.",
            do="Leave camera.run out to replay a folder of images, or name a records directory.",
        )
    if config.timing == "recorded":
        raise ConfigError(
            f"{config.source} is a folder of images, which has no recorded times.",
            do="Set camera.timing to fast or rate.",
        )
    return FolderSource(config.source)


def _unreadable(part_id: int, frame_id: int, pixel_format: PixelFormat, source: str) -> Frame:
    return Frame(
        part_id, frame_id, 0, 0, None, pixel_format, math.nan, math.nan, FrameStatus.INCOMPLETE, source
    )
