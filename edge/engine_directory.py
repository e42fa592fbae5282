"""The directory of engines: graphs compiled for one GPU and one TensorRT, each beside the record of its proof.

    ENGINES/3f0c5d….engine      what TensorRT wrote
            3f0c5d….json        its record: what it fits, build figures, golden result
            timing-81ab….cache  measured kernels, so that the next build is short
            lock                held by every open runner, and alone by a build

An engine is active when its record says that the golden frames came out right on it. Nothing here imports
TensorRT or touches a GPU.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge.engine import EngineRecord, EngineTarget
from edge.errors import OpenError

LOCK = "lock"
NAME_DIGITS = 16

_PARTS = {
    "bundle_id": "bundle",
    "graph_sha256": "graph",
    "tensorrt": "TensorRT",
    "gpu": "GPU",
    "compute_capability": "compute capability",
    "platform": "platform",
}


@dataclass(frozen=True, slots=True)
class StoredEngine:
    """An engine in its directory."""

    directory: Path
    record: EngineRecord

    @property
    def name(self) -> str:
        """The stem of its files."""
        return self.record.key.identity()[:NAME_DIGITS]

    @property
    def path(self) -> Path:
        """The file that TensorRT wrote."""
        return self.directory / f"{self.name}.engine"

    def read(self) -> bytes:
        """The engine, hash checked now: TensorRT runs what it is given. Raises `OpenError`."""
        try:
            content = self.path.read_bytes()
        except OSError as fault:
            raise OpenError(
                f"The engine {self.path} cannot be read: {fault.strerror}.", do=build_again()
            ) from fault
        if hashlib.sha256(content).hexdigest() != self.record.engine_sha256:
            raise OpenError(
                f"The engine {self.path} is not the file that was built.", do=build_again("--force")
            )
        return content


def find_engine(directory: Path, target: EngineTarget) -> StoredEngine:
    """The proven engine for `target`; of several with different options, the one built last.

    Raises `OpenError` that tells why none fits: which part differs, or that the golden proof is missing.
    """
    engines = list_engines(directory)
    fitting = [engine for engine in engines if engine.record.key.target == target]
    proven = [engine for engine in fitting if engine.record.proven]
    if proven:
        return max(proven, key=lambda engine: engine.record.built_utc)
    if fitting:
        raise _unproven(fitting[-1])
    if engines:
        raise _unfit(directory, target, engines)
    raise OpenError(f"There is no engine in {directory}.", do=build_again())


def list_engines(directory: Path) -> list[StoredEngine]:
    """Every engine with a readable record, the one built last at the end; other files are left out."""
    records = (_read_record(path) for path in sorted(directory.glob("*.json")))
    engines = [StoredEngine(directory, record) for record in records if record is not None]
    return sorted(engines, key=lambda engine: engine.record.built_utc)


def write_record(engine: StoredEngine) -> None:
    """Write or replace the record. Raises `OpenError`."""
    text = engine.record.model_dump_json(indent=2) + "\n"
    write_whole(engine.directory / f"{engine.name}.json", text.encode())


def write_whole(path: Path, content: Any) -> None:
    """Write bytes, or anything with the buffer protocol, so that the file is there whole or not at all.

    Raises `OpenError` when the disk does not allow it.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as fault:
        raise OpenError(
            f"{path} cannot be written: {fault.strerror}.",
            do="Check the permissions and the free space of the engine directory.",
        ) from fault
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def use_of_engines(directory: Path, *, building: bool) -> Iterator[None]:
    """Hold the directory's lock: shared by those that run an engine, alone by the one that builds.

    A build needs nearly all memory of a small device, so neither may start while the other goes on. The
    lock ends with its process. Raises `OpenError` when it cannot be had.
    """
    try:
        lock = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC | (os.O_CREAT if building else 0), 0o644)
    except OSError as fault:
        raise OpenError(
            f"The engine directory {directory} cannot be used: {fault.strerror}.", do=build_again()
        ) from fault
    try:
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX if building else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as fault:
            raise _locked(directory, building=building) from fault
        yield
    finally:
        os.close(lock)


def _locked(directory: Path, *, building: bool) -> OpenError:
    if building:
        return OpenError(
            f"An engine of {directory} is in use, or another one is being built there.",
            do="Stop the daemon (sudo systemctl stop adclip-inspect) and every other adclip, then build.",
        )
    return OpenError(
        f"An engine is being built in {directory}.", do="Wait until the build has ended, then start again."
    )


def _read_record(path: Path) -> EngineRecord | None:
    """The record, None when the file holds none or belongs to another key."""
    try:
        record = EngineRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return record if record.key.identity().startswith(path.stem) else None


def _unproven(engine: StoredEngine) -> OpenError:
    golden = engine.record.golden
    if golden is None:
        return OpenError(
            f"The golden frames have not been run on the engine {engine.path}.", do=build_again("--force")
        )
    off = f"{_shown(golden.score_difference)} and the map by {_shown(golden.map_difference)}"
    return OpenError(
        f"The engine {engine.path} failed its golden frames: the score is off by {off}, allowed are "
        f"{golden.score_allowed:.2g} and {golden.map_allowed:.2g}.",
        do="Do not use it; 'adclip engine build --force' builds it again and says what may be wrong.",
    )


def _unfit(directory: Path, target: EngineTarget, engines: list[StoredEngine]) -> OpenError:
    nearest = min(engines, key=lambda engine: len(_differences(engine.record.key.target, target)))
    parts = "; ".join(_differences(nearest.record.key.target, target))
    return OpenError(
        f"No engine in {directory} fits. The nearest, {nearest.name}, has another {parts}.", do=build_again()
    )


def _differences(built: EngineTarget, here: EngineTarget) -> list[str]:
    """One phrase for each part that differs, the most general first."""
    found = []
    for part, label in _PARTS.items():
        of_engine, wanted = getattr(built, part), getattr(here, part)
        if of_engine != wanted:
            found.append(f"{label}: {_short(part, of_engine)} in place of {_short(part, wanted)}")
    return found


def _short(part: str, value: str) -> str:
    return value[:12] if part in {"bundle_id", "graph_sha256"} else value


def _shown(value: float | None) -> str:
    return "no finite number" if value is None else f"{value:.2g}"


def build_again(option: str = "") -> str:
    """The next step when an engine is missing or of no use."""
    command = " ".join(filter(None, ("adclip engine build BUNDLE", option)))
    return f"Run '{command}' on this device, with the engine directory of the station."
