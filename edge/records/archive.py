"""Raw frames as PNG files, kept by policy within a disk budget.

One file per part, `frames/RUN/PART.png`, without loss: one-channel frames (Mono8, and BayerRG8 as it came
from the sensor) as 8-bit grey, RGB8 as colour. The budget counts these files alone; when it is used up, the
oldest go first, over all runs.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np

from edge.config import Sample
from edge.errors import OperateError
from edge.messages import Outcome, RawImage
from edge.records.record import Picture

KeepPolicy = Literal["all", "rejects", "none"] | Sample
FileWriter = Callable[[Path, bytes], None]

FRAMES = "frames"
PART_SUFFIX = ".part"

# Sensor noise leaves little to gain, and the writer must keep up with the line; run lengths alone come out
# smaller on it than the full search, and no slower.
_PNG_OPTIONS = [
    cv2.IMWRITE_PNG_COMPRESSION,
    1,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
]
_LOOK_AHEAD = 64


class PictureIndex(Protocol):
    """Which pictures the archive has; the record store is one."""

    def picture_bytes(self) -> int:
        """Bytes of all pictures that are still there."""

    def oldest_pictures(self, after: int, limit: int) -> list[tuple[int, Picture]]:
        """The oldest pictures still there, with their sequence numbers, from beyond `after` on."""


def keeps(policy: KeepPolicy, part_id: int, outcome: Outcome) -> bool:
    """Whether the frame of a part is kept: `rejects` are all that were not passed, a sample adds to them."""
    if policy == "none":
        return False
    if policy == "all" or outcome is not Outcome.PASS:
        return True
    return isinstance(policy, Sample) and part_id % policy.sample == 0


def picture_path(run: int, part_id: int) -> str:
    """Where the picture of a part lies, from the records directory."""
    return f"{FRAMES}/{run}/{part_id}.png"


def encode_picture(image: RawImage) -> bytes:
    """(h, w) uint8 or uint16, or (h, w, 3) RGB uint8 → PNG, without loss. Raises `OperateError` for any other
    array."""
    colour = image.ndim == 3 and image.shape[2] == 3
    known = image.dtype == np.uint8 or (image.dtype == np.uint16 and not colour)
    if not known or image.size == 0 or not (colour or image.ndim == 2):
        raise OperateError(
            f"A frame of {image.dtype} {image.shape} cannot be kept as a picture.",
            do="Set the camera to one of the pixel formats that the station knows.",
        )
    try:
        stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if colour else image
        _, content = cv2.imencode(".png", stored, _PNG_OPTIONS)
    except cv2.error as fault:
        raise OperateError(
            f"A frame could not be coded as PNG: {fault}.", do="Check the memory of this machine."
        ) from fault
    return content.tobytes()


def decode_picture(content: bytes) -> RawImage:
    """What `encode_picture` was given, read-only. Raises `OperateError` when it is not such a PNG."""
    stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if stored is None or stored.dtype not in (np.uint8, np.uint16) or stored.ndim not in (2, 3):
        raise OperateError("A stored picture is not a whole PNG.", do="Restore the records from a backup.")
    rgb = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB) if stored.ndim == 3 else stored
    image: RawImage = np.asarray(rgb)  # type: ignore[assignment]
    image.flags.writeable = False
    return image


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: whoever looks finds all of it or nothing. Raises `OSError`."""
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # the first failure is the one to tell
            part.unlink()
        raise


class FrameArchive:
    """The picture files of one records directory. Used by the thread that uses the store.

    Removing a picture takes the file first; `removed` then holds it until `forget_removed`, so that the
    caller can write down what is gone in the same transaction as its next records.
    """

    def __init__(
        self,
        directory: Path,
        policy: KeepPolicy,
        budget_bytes: int,
        index: PictureIndex,
        write_file: FileWriter = write_whole,
    ) -> None:
        self.policy = policy
        self.kept_bytes = index.picture_bytes()
        self._directory, self._budget_bytes, self._index = directory, budget_bytes, index
        self._write_file = write_file
        self._oldest: deque[tuple[int, Picture]] = deque()
        self._passed_by = 0
        self._removed: list[Picture] = []

    @property
    def removed(self) -> tuple[Picture, ...]:
        """Pictures whose files are gone and whose removal is not written down yet."""
        return tuple(self._removed)

    def forget_removed(self, pictures: Iterable[Picture]) -> None:
        """The removal of these is written down."""
        written = {picture.path for picture in pictures}
        self._removed = [picture for picture in self._removed if picture.path not in written]

    def write(self, run: int, part_id: int, image: RawImage) -> Picture | None:
        """Keep one frame, removing the oldest ones first where the budget asks for it.

        None when the budget has no room for it even so. Raises `OSError` when the disk refuses, and
        `OperateError` when the image cannot be kept or the part already has a picture.
        """
        path = picture_path(run, part_id)
        target = self._directory / path
        content = encode_picture(image)
        if target.exists():
            raise OperateError(
                f"{target} is already there.", do="Look for the part id that was recorded twice in this run."
            )
        if not self._make_room(len(content)):
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        self._write_file(target, content)
        self.kept_bytes += len(content)
        return Picture(run, part_id, path, len(content), hashlib.sha256(content).hexdigest())

    def free(self, wanted_bytes: int) -> int:
        """Remove the oldest pictures up to that many bytes; how many bytes it was. Raises `OSError`."""
        before = self.kept_bytes
        while before - self.kept_bytes < wanted_bytes and self._remove_oldest():
            pass
        return before - self.kept_bytes

    def discard(self, picture: Picture) -> None:
        """Remove a picture that is in no record yet. Raises `OSError`."""
        self._unlink(picture)

    def _make_room(self, size_bytes: int) -> bool:
        if size_bytes > self._budget_bytes:
            return False
        while self.kept_bytes + size_bytes > self._budget_bytes:
            if not self._remove_oldest():
                return False
        return True

    def _remove_oldest(self) -> bool:
        if not self._oldest:
            self._oldest.extend(self._index.oldest_pictures(self._passed_by, _LOOK_AHEAD))
        if not self._oldest:
            return False
        sequence, picture = self._oldest[0]
        self._unlink(picture)
        self._oldest.popleft()
        self._passed_by = sequence
        self._removed.append(picture)
        return True

    def _unlink(self, picture: Picture) -> None:
        file = self._directory / picture_path(picture.run, picture.part_id)
        file.unlink(missing_ok=True)
        self.kept_bytes -= picture.size_bytes
        with contextlib.suppress(OSError):  # not empty yet
            file.parent.rmdir()
