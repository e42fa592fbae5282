"""The weight file that a user gives → named tensors, whatever it was saved by.

On top of the containers of `export.weights_file`: a model that was saved in several files with an index, and
what training programs put around a state dict. Both are undone only where there is one way to read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from edge.errors import ModelFileError
from export.weights_file import (
    Container,
    container_of,
    damaged,
    read_safetensors,
    read_saved,
    read_torchscript,
    tensor_entries,
    unreadable,
)

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which training programs keep the model beside epoch, optimiser and the like."""

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

LARGEST_INDEX_BYTES = 16 << 20
"""The index of a model with a thousand layers stays far below it."""


def files_of(path: Path) -> tuple[Path, ...]:
    """The file itself and, when it is an index, the files that it names, in the order of their names.

    Raises `ModelFileError` when the file is no weight file, or an index that is damaged or names a file that
    is not beside it.
    """
    if container_of(path) is not Container.INDEX:
        return (path,)
    return (path, *(path.parent / name for name in sorted(set(_weight_map(path).values()))))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors on the CPU, as they are stored, without what a training program put around them.

    Raises `ModelFileError` when the file is unreadable, damaged, of another kind or asks for code to be run.
    """
    if container_of(path) is Container.INDEX:
        return without_prefixes(_read_indexed(path))
    return without_prefixes(_read_file(path))


def unwrapped(saved: object, path: Path) -> object:
    """The state dict inside a training program's file; anything else is handed back as it is.

    Raises `ModelFileError` when there are several to choose from.
    """
    if not isinstance(saved, Mapping):
        return saved
    inside = [name for name in WRAPPERS if isinstance(saved.get(name), Mapping)]
    if len(inside) > 1:
        raise ModelFileError(
            f"{path} holds several models: {', '.join(inside)}.",
            do="Save the one that was used alone: torch.save(model.state_dict(), file).",
        )
    return saved[inside[0]] if inside else saved


def without_prefixes(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries without the prefixes of `PREFIXES`, each taken off only when every name has it."""
    names = list(entries)
    prefix = next((p for p in PREFIXES if names and all(name.startswith(p) for name in names)), None)
    if prefix is None:
        return dict(entries)
    return without_prefixes({name.removeprefix(prefix): tensor for name, tensor in entries.items()})


def _read_file(path: Path) -> dict[str, Tensor]:
    container = container_of(path)
    if container is Container.TORCHSCRIPT:
        return read_torchscript(path)
    if container is Container.SAFETENSORS:
        return read_safetensors(path)
    return tensor_entries(unwrapped(read_saved(path), path), path)


def _read_indexed(path: Path) -> dict[str, Tensor]:
    """The tensors of all files that an index names, each from the file where the index says it is."""
    weight_map = _weight_map(path)
    entries: dict[str, Tensor] = {}
    for part in files_of(path)[1:]:
        found = _read_file(part)
        expected = {name for name, file in weight_map.items() if file == part.name}
        if found.keys() != expected:
            raise ModelFileError(
                f"{part} does not hold what {path.name} says: {min(found.keys() ^ expected)} differs.",
                do="Copy the index and all files of the model again, from one place.",
            )
        entries |= found
    return entries


def _weight_map(path: Path) -> dict[str, str]:
    """Tensor names → file names, as an index tells them."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(LARGEST_INDEX_BYTES))
    except OSError as fault:
        raise unreadable(path, fault) from fault
    except (ValueError, RecursionError) as fault:
        raise damaged(path, "its index cannot be read") from fault
    weight_map = content.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise damaged(path, "its index has no weight_map")
    outside = [file for file in weight_map.values() if not _is_weight_file_name(file)]
    if outside:
        raise ModelFileError(
            f"{path} names {outside[0]!r}, which is not a weight file beside it.",
            do="Copy the index and all files of the model into one folder.",
        )
    return weight_map


def _is_weight_file_name(file: object) -> bool:
    """Whether this is a bare name, without any folder, of a file that can hold tensors."""
    return isinstance(file, str) and bool(re.fullmatch(r"[\w-][\w.-]*\.(safetensors|bin|pt|pth)", file))
