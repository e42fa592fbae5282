"""Weight files on disk → tensors, without ever running what a file says.

Four containers are known: a TorchScript archive (what OpenAI publishes), a file of `torch.save` in its zip
format or the older one, a safetensors file, and the index of a model that was saved in several files. They are
told apart by their first bytes and the names inside the zip. Nothing is unpickled beyond tensors and plain
containers of them.
"""

from __future__ import annotations

import hashlib
import re
import warnings
import zipfile
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from edge.errors import ModelFileError

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80"
OLD_SAVE_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How `torch.save` began its files before it wrote zips: the pickle of a fixed number."""

SAFETENSORS_OPENING = b"\0\0\0{"
"""Bytes 5 to 8 of a safetensors file: the end of the header's length, far below 2^40, and its first brace."""

FLOATING = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
"""What weights may be stored as. Narrower numbers need scales that a plain weight file does not carry."""

SAVE_TENSORS = (
    "Do not open it elsewhere unless you trust its maker. Where it was made, save the tensors alone: "
    "torch.save(model.state_dict(), file)."
)


class Container(Enum):
    """How the tensors are stored."""

    TORCHSCRIPT = "TorchScript archive"
    STATE_DICT = "state dict"
    SAFETENSORS = "safetensors file"
    INDEX = "index of several files"


def sha256_of(*paths: Path) -> str:
    """SHA-256 of the files' bytes in a row, in hex. Raises `ModelFileError` when one cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError as fault:
            raise unreadable(path, fault) from fault
    return digest.hexdigest()


def container_of(path: Path) -> Container:
    """Tell the container without reading its content.

    Raises `ModelFileError` when the file cannot be read, is of no known kind, or is a zip without its end.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(OLD_SAVE_MAGIC))
        names = _names_in_zip(path) if head.startswith(ZIP_MAGIC) else None
    except OSError as fault:
        raise unreadable(path, fault) from fault
    if names is not None:
        return Container.TORCHSCRIPT if "constants.pkl" in names else Container.STATE_DICT
    if head == OLD_SAVE_MAGIC:
        return Container.STATE_DICT
    # before the pickle: a header's length may happen to begin with a pickle's first byte
    if head[5:9] == SAFETENSORS_OPENING or path.suffix == ".safetensors":
        return Container.SAFETENSORS
    if head.startswith(b"{") and path.name.endswith(".index.json"):
        return Container.INDEX
    if head.startswith(PICKLE_MAGIC):
        raise ModelFileError(
            f"{path} is a bare pickle, which can run code; it was not opened.", do=SAVE_TENSORS
        )
    raise damaged(path, "it is no TorchScript archive, no file of torch.save and no safetensors file")


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers of a TorchScript archive, on the CPU, by their dotted names."""
    try:
        with warnings.catch_warnings():
            # torch 2.13 announces the end of TorchScript; OpenAI's files stay what they are.
            warnings.filterwarnings("ignore", r"`torch\.jit\.load` is", DeprecationWarning)
            module = torch.jit.load(path, map_location="cpu")
        return {name: tensor.detach() for name, tensor in module.state_dict().items()}
    except Exception as fault:  # the reader of a damaged archive raises whatever it stumbles over
        raise damaged(path, "its TorchScript archive cannot be read") from fault


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU. The library checks the header against the file's size."""
    try:
        return load_file(path)
    except Exception as fault:  # the library's own error, and torch's for a dtype that torch lacks
        raise damaged(path, f"its tensors cannot be read ({fault})") from fault


def read_saved(path: Path) -> object:
    """What `torch.save` wrote, on the CPU, if it is made of tensors and plain containers.

    Raises `ModelFileError` for anything else, which is not executed.
    """
    try:
        with warnings.catch_warnings():
            # Whether a newer protocol can be read is seen from the result.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:  # the reader of a damaged file raises whatever it stumbles over
        forbidden = re.search(r"GLOBAL (\S+)", str(fault))
        if forbidden is None:
            raise damaged(path, "its tensors cannot be read") from fault
        raise ModelFileError(
            f"{path} asks for {forbidden.group(1)} to be run on loading; it was refused and nothing was run.",
            do=SAVE_TENSORS,
        ) from fault


def tensor_entries(saved: object, path: Path) -> dict[str, Tensor]:
    """Check that `saved` maps names to tensors. Raises `ModelFileError` when it does not."""
    if not isinstance(saved, Mapping) or not saved:
        raise ModelFileError(
            f"{path} holds a {type(saved).__name__} where named tensors belong.",
            do="Give a file that was saved as torch.save(model.state_dict(), file).",
        )
    other = [name for name, value in saved.items() if not isinstance(value, Tensor)]
    if other:
        raise ModelFileError(
            f"{path} holds entries that are not tensors, for example {other[0]!r}.",
            do="Give the state dict itself: torch.save(model.state_dict(), file).",
        )
    return {str(name): value.detach() for name, value in saved.items()}


def check_stored(entries: Mapping[str, Tensor], path: Path) -> None:
    """Raise `ModelFileError` unless every entry is a plain array of floating-point numbers on the CPU."""
    for name, tensor in entries.items():
        if tensor.dtype not in FLOATING:
            stored = str(tensor.dtype).removeprefix("torch.")
            raise ModelFileError(
                f"In {path}, {name} is stored as {stored}, not as floating-point numbers of 16 bits or more.",
                do="Give the weights from before they were quantised.",
            )
        if not _is_plain(tensor):
            raise ModelFileError(
                f"In {path}, {name} is no plain array: it is sparse, without values, or larger than them.",
                do="Where it was made, save the tensors alone: torch.save(model.state_dict(), file).",
            )


def check_finite(entries: Mapping[str, Tensor], path: Path) -> None:
    """Raise `ModelFileError` at the first entry with a value that is not a number or infinite."""
    for name, tensor in entries.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelFileError(
                f"{path} is damaged: {name} holds values that are infinite or not a number.",
                do="Fetch or save the file again; if a training run wrote it, take an earlier epoch.",
            )


def _is_plain(tensor: Tensor) -> bool:
    """Dense, in memory, and with a stored value for each of its elements."""
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _names_in_zip(path: Path) -> set[str]:
    """Names without the archive's own top folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.partition("/")[2] for name in archive.namelist()}
    except zipfile.BadZipFile as fault:
        raise damaged(path, "it begins as an archive and its end is missing") from fault


def unreadable(path: Path, fault: OSError) -> ModelFileError:
    """The error for a file that the system does not hand out."""
    return ModelFileError(
        f"{path} cannot be read: {fault.strerror or fault}.", do="Check the path and its permissions."
    )


def damaged(path: Path, how: str) -> ModelFileError:
    """The error for a file whose bytes do not make sense; `how` says what is wrong, in a clause."""
    return ModelFileError(
        f"{path} is truncated, damaged or of another kind: {how}.",
        do="Compare its size with the original's and copy or download it again.",
    )
