"""What is really true of a part, and where it is written down.

A truth comes from the simulated line, which knows what it drew, or from a manifest: one CSV row per picture,
with paths relative to the manifest's folder.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.errors import ConfigError

REQUIRED_COLUMNS = ("path", "label")
DEFECTIVE_OF_LABEL = {"normal": False, "good": False, "error": True, "defective": True}
NAMED_AT_MOST = 3
"""How many pictures an error message names before it only counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is true of one part.

    `defect` is the kind of defect, empty for a good part. `mask` is (h, w) bool, true on the defect, on the
    grid of the raw picture; None when it is not known (or when the part is good). `group` names the physical
    item or place that several pictures share, empty when there is no such thing.
    """

    defective: bool
    defect: str = ""
    mask: NDArray[np.bool_] | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One picture of a manifest. `mask` is inside the manifest's folder; None when the row names none."""

    path: PurePosixPath
    defective: bool
    defect: str
    group: str
    mask: Path | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest in memory; masks are read when they are asked for."""

    file: Path
    rows: tuple[ManifestRow, ...]

    def match(self, sources: Iterable[str]) -> Mapping[str, ManifestRow]:
        """The row of each source, a picture's path relative to whatever folder was replayed.

        A source belongs to the row whose path is equal to it or ends with it, folder by folder: `crack/x.jpg`
        is `COMP_1/magnetic_tile/test/crack/x.jpg`. Raises `ConfigError`, naming the pictures and how many,
        when one has no row or more than one.
        """
        by_name: dict[str, list[ManifestRow]] = defaultdict(list)
        for row in self.rows:
            by_name[row.path.name].append(row)
        found = {source: _rows_ending_with(by_name, source) for source in sources}
        self._refuse({source: rows for source, rows in found.items() if len(rows) != 1})
        return {source: rows[0] for source, rows in found.items()}

    def _refuse(self, faults: Mapping[str, list[ManifestRow]]) -> None:
        absent = [source for source, rows in faults.items() if not rows]
        if absent:
            raise ConfigError(
                f"{self.file} has no row for {len(absent)} of the pictures ({_some(absent)}).",
                do="Give the manifest of the folder that was replayed, or add the missing rows.",
            )
        if faults:
            claims = [f"{source}: {len(rows)} rows" for source, rows in faults.items()]
            raise ConfigError(
                f"{self.file} does not tell {len(claims)} of the pictures apart ({_some(claims)}).",
                do="Replay from a folder further up, so that the recorded path holds the part that differs.",
            )


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.csv: UTF-8, a header line, `path`, `label`; `defect`, `group`, `mask_path` if known.

    `label` is normal or good, error or defective. Other columns are ignored. Raises `ConfigError` with the
    line and the fix when the file cannot be read, a column or a value is missing, a path comes twice, or a
    mask would lie outside the manifest's folder.
    """
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        lines = [(reader.line_num, line) for line in reader]
    except csv.Error as fault:
        raise ConfigError(
            f"{path}, line {reader.line_num}, is not CSV: {fault}.", do="Correct that line."
        ) from fault
    _check_columns(path, reader.fieldnames or ())
    folder = path.resolve().parent
    rows = tuple(_row(f"{path}, line {number}", line, folder) for number, line in lines)
    _refuse_repeated(path, rows)
    return Manifest(path, rows)


def read_truth(row: ManifestRow) -> Truth:
    """The truth of one picture, its mask read from disk: any value above 0 is defect.

    Raises `ConfigError` when the mask cannot be read or marks nothing although the part is defective.
    """
    if not row.defective or row.mask is None:
        return Truth(row.defective, row.defect, None, row.group)
    try:
        with Image.open(row.mask) as picture:
            mask = np.asarray(picture.convert("L")) > 0
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as fault:  # what Pillow raises
        raise ConfigError(
            f"The mask {row.mask} cannot be read: {fault}.", do="Restore the mask, or empty its mask_path."
        ) from fault
    if not mask.any():
        raise ConfigError(
            f"The mask {row.mask} marks no pixel, but {row.path} is labelled defective.",
            do="Correct the label, restore the mask, or empty its mask_path if nobody knows where it is.",
        )
    return Truth(True, row.defect, mask, row.group)


def _rows_ending_with(by_name: Mapping[str, list[ManifestRow]], source: str) -> list[ManifestRow]:
    tail = PurePosixPath(source.replace("\\", "/")).parts
    return [row for row in by_name.get(tail[-1] if tail else "", ()) if row.path.parts[-len(tail) :] == tail]


def _some(names: list[str]) -> str:
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.", do="Check the path of the manifest.") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(
            f"{path} cannot be read: {fault}.", do="Check that it is a readable UTF-8 CSV file."
        ) from fault


def _check_columns(path: Path, columns: Iterable[str]) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        raise ConfigError(
            f"{path} has no column {' and no column '.join(missing)}.",
            do="Write a header line with at least path and label; defect, group and mask_path when known.",
        )


def _row(where: str, line: Mapping[str | None, str | None], folder: Path) -> ManifestRow:
    values = {
        name: (line.get(name) or "").strip() for name in ("path", "label", "defect", "group", "mask_path")
    }
    if None in line or not values["path"]:
        raise ConfigError(f"{where}, does not have the columns of the header.", do="Correct that line.")
    defective = DEFECTIVE_OF_LABEL.get(values["label"])
    if defective is None:
        raise ConfigError(
            f"{where}: the label '{values['label']}' is not known.",
            do=f"Write one of {', '.join(DEFECTIVE_OF_LABEL)}.",
        )
    defect = (values["defect"] or "unnamed") if defective else ""
    mask = _inside(where, folder, values["mask_path"]) if values["mask_path"] else None
    return ManifestRow(_posix(values["path"]), defective, defect, values["group"], mask)


def _posix(path: str) -> PurePosixPath:
    return PurePosixPath(path.replace("\\", "/"))


def _inside(where: str, folder: Path, relative: str) -> Path:
    found = (folder / _posix(relative)).resolve()
    if not found.is_relative_to(folder):
        raise ConfigError(
            f"{where}: the mask {relative} lies outside {folder}.",
            do="Keep the masks below the manifest's folder and write their paths relative to it.",
        )
    return found


def _refuse_repeated(path: Path, rows: Iterable[ManifestRow]) -> None:
    seen: set[PurePosixPath] = set()
    for row in rows:
        if row.path in seen:
            raise ConfigError(f"{path} has two rows for {row.path}.", do="Keep the one that is right.")
        seen.add(row.path)
