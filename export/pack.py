"""A bundle folder, written whole or not at all.

Everything is written to a folder beside the target, and that folder takes the target's name as the last step.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.manifest import GOLDEN, MANIFEST, MODEL_FP16, MODEL_FP32, PARITY, BundleManifest, manifest_text

BUNDLE_FILES = frozenset({MANIFEST, MODEL_FP32, MODEL_FP16, GOLDEN, PARITY})


def check_target(out: Path, *, force: bool) -> None:
    """Raise `BundleError` unless `out` is free, or is a bundle and may be replaced."""
    if not out.exists() and not out.is_symlink():
        return
    if out.is_symlink() or not out.is_dir() or not (out / MANIFEST).is_file():
        raise BundleError(
            f"{out} exists and is not a bundle, so it is not overwritten.",
            do="Give --out a path that does not exist.",
        )
    foreign = sorted(entry.name for entry in out.iterdir() if entry.name not in BUNDLE_FILES)
    if foreign:
        raise BundleError(
            f"{out} holds {foreign[0]}, which is not part of a bundle, so the folder is not overwritten.",
            do="Move that file away, or give --out another path.",
        )
    if not force:
        raise BundleError(
            f"The bundle {out} exists already.", do="Give --out another path, or --force to replace it."
        )


@contextmanager
def staging_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when the block ends without an error, and vanishes otherwise.

    Raises `BundleError` when `out` may not be written (see `check_target`) or the disk does not allow it.
    """
    check_target(out, force=force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        try:
            folder.chmod(0o755)
            yield folder
            check_target(out, force=force)
            _take_name(folder, out)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as fault:
        raise BundleError(
            f"The bundle {out} cannot be written: {fault.strerror or fault}.",
            do="Check the permissions and the free space of the folder, then export again.",
        ) from fault


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """An uncompressed `.npz`; equal arrays of numbers give equal bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)


def write_figures(path: Path, figures: Mapping[str, object]) -> None:
    """A JSON file for people and programs."""
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in the folder but the manifest, in hex, by name."""
    files = (entry for entry in sorted(folder.iterdir()) if entry.name != MANIFEST)
    return {entry.name: hashlib.sha256(entry.read_bytes()).hexdigest() for entry in files}


def write_manifest(folder: Path, manifest: BundleManifest) -> None:
    """Write `bundle.yaml`; the bundle can be opened from now on."""
    (folder / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")


def _take_name(folder: Path, out: Path) -> None:
    """Rename; a bundle that is in the way steps aside first and comes back if that fails."""
    if not out.exists():
        folder.rename(out)
        return
    retired = folder.with_suffix(".retired")
    out.rename(retired)
    try:
        folder.rename(out)
    except OSError:
        retired.rename(out)
        raise
    shutil.rmtree(retired)
