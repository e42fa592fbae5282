"""The user's pictures, and what is known of them: a folder in MVTec's layout, any folder, or a CSV file.

product/test/good/7.png                        good
product/test/crack/3.png                       defective: crack
product/ground_truth/crack/3_mask.png          where; any value above 0 is defect
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.camera.image_file import MASK_FOLDERS, image_files, read_image
from edge.errors import ConfigError, FrameError, OperateError
from edge.messages import Frame

GOOD_FOLDER = "good"
DEFECTIVE_OF_LABEL = {"normal": False, "good": False, "error": True, "defective": True, "": None}


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file. `name` is its path below what the user gave; `defective` is None when nobody knows.

    `mask` is the file that marks the defect, None when there is none.
    """

    path: Path
    name: str
    defective: bool | None = None
    defect: str = ""
    mask: Path | None = None

    @property
    def truth(self) -> str:
        """What is known, in a word."""
        return {None: "", False: "good", True: self.defect or "defective"}[self.defective]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A picture in memory. `mask` is (h, w) bool on the raw frame, all false for a good part, None unknown."""

    picture: Picture
    frame: Frame
    mask: NDArray[np.bool_] | None


def find_pictures(source: Path) -> tuple[Picture, ...]:
    """The pictures of a folder, or of a CSV file with the columns path, label, defect and mask_path.

    In a folder, what lies in a folder named good is good, and what lies beside that folder in another one is
    defective by that one's name; anything else is unlabelled. Raises `ConfigError` when there is no picture or
    the CSV file cannot be understood.
    """
    if source.is_file():
        return _from_csv(source)
    files = image_files(source)
    labelled = {file.parent.parent for file in files if file.parent.name == GOOD_FOLDER}
    return tuple(_from_folder(source, file, labelled) for file in files)


def read_subject(picture: Picture, part_id: int) -> Subject:
    """Read a picture and its mask. Raises `FrameError`, naming the file, when either cannot be used."""
    try:
        return _read(picture, part_id)
    except OperateError as fault:
        raise FrameError(fault.what, do=fault.do) from fault


def _read(picture: Picture, part_id: int) -> Subject:
    image, pixel_format = read_image(picture.path)
    frame = Frame(part_id, part_id, 0, 0, image, pixel_format, source=picture.name)
    if picture.mask is not None:
        return Subject(picture, frame, _mask(picture.mask, image.shape[:2]))
    return Subject(picture, frame, np.zeros(image.shape[:2], bool) if picture.defective is False else None)


def _mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    values, _ = read_image(path)
    mask = np.asarray(values > 0 if values.ndim == 2 else (values > 0).any(axis=2))
    if mask.shape != shape:
        raise OperateError(
            f"The mask {path} has {mask.shape[1]} x {mask.shape[0]} pixels, its picture {shape[1]} x {shape[0]}.",
            do="Restore the mask that belongs to the picture.",
        )
    if not mask.any():
        raise OperateError(
            f"The mask {path} marks nothing, yet its picture is labelled defective.",
            do="Correct the label, or remove the mask if nobody knows where the defect is.",
        )
    return mask


def _from_folder(root: Path, file: Path, labelled: set[Path]) -> Picture:
    name, folder = file.relative_to(root).as_posix(), file.parent
    if folder.name == GOOD_FOLDER:
        return Picture(file, name, False)
    if folder.parent not in labelled:
        return Picture(file, name)
    return Picture(file, name, True, folder.name, _mask_of(file))


def _mask_of(file: Path) -> Path | None:
    """Beside the folder of the defects, as in MVTec's sets, or one level further up from `test`."""
    defect, level = file.parent.name, file.parent.parent
    for above in (level, level.parent):
        for folder in MASK_FOLDERS:
            for name in (f"{file.stem}_mask.png", f"{file.stem}.png"):
                if (above / folder / defect / name).is_file():
                    return above / folder / defect / name
    return None


def _from_csv(source: Path) -> tuple[Picture, ...]:
    try:
        reader = csv.DictReader(io.StringIO(source.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise ConfigError(
            f"{source} cannot be read as CSV: {fault}.", do="Give a folder of pictures or a CSV file."
        ) from fault
    if "path" not in (reader.fieldnames or ()):
        raise ConfigError(
            f"{source} has no column path.", do="Write a header: path, and label, defect, mask_path if known."
        )
    if not rows:
        raise ConfigError(f"{source} names no picture.", do="Add one row for each picture.")
    return tuple(_from_row(f"{source}, line {line}", source.parent, row) for line, row in rows)


def _from_row(where: str, folder: Path, row: Mapping[str, str | None]) -> Picture:
    path, label, defect, mask = (
        (row.get(name) or "").strip() for name in ("path", "label", "defect", "mask_path")
    )
    if label not in DEFECTIVE_OF_LABEL or not path:
        raise ConfigError(
            f"{where}: the label '{label}' of '{path}' is not known.",
            do=f"Write a path, and {', '.join(name for name in DEFECTIVE_OF_LABEL if name)} or nothing.",
        )
    defective = DEFECTIVE_OF_LABEL[label]
    return Picture(folder / path, path, defective, defect, folder / mask if mask and defective else None)
