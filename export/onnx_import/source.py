"""Reading an ONNX file and the data files that belong to it, without trusting either."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx_ir.passes import common as passes

from edge.errors import ModelFileError

LARGEST_BYTES = 2**31 - 1
"""protobuf's limit for a message, and so for the one file that a bundle holds."""

ANOMALIB_EXPORT = (
    'engine.export(model, "onnx", input_size=(S, S), '
    'onnx_kwargs={"dynamic_axes": None, "external_data": False})'
)
"""What to ask of anomalib 2.7 for: one file, one picture at a time, S being the size of the training."""

_OTHER_FORMATS = {
    ".xml": "an OpenVINO model",
    ".bin": "the weights of an OpenVINO model",
    ".pt": "a pickled torch model, which runs code when it is loaded",
    ".pth": "a pickled torch model, which runs code when it is loaded",
    ".ckpt": "a Lightning checkpoint, which runs code when it is loaded",
    ".data": "the weights of an ONNX file",
    ".engine": "a TensorRT engine, which fits one device alone",
    ".plan": "a TensorRT engine, which fits one device alone",
    ".tflite": "a TensorFlow Lite model",
}


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A checked file with all its data in memory.

    `files` holds the SHA-256 of it ("onnx") and of each data file ("onnx data NAME").
    """

    path: Path
    files: dict[str, str]
    proto: Any

    def model(self) -> ir.Model:
        """The network, a new object at every call; local functions are inlined."""
        model: ir.Model = ir.from_proto(self.proto)
        passes.RemoveInitializersFromInputsPass()(model)
        passes.InlinePass()(model)
        return model


def read_source(path: Path) -> Source:
    """Check that `path` is an ONNX file, and take along the data that it names.

    Raises `ModelFileError` for another format, a damaged file, or data that is missing, cut short or outside of
    the file's own folder.
    """
    _check_format(path)
    content = _bytes_of(path)
    proto = _parsed(path, content)
    files = {"onnx": hashlib.sha256(content).hexdigest()}
    for name in _data_files(path, proto):
        files[f"onnx data {name}"] = hashlib.sha256(_bytes_of(path.parent / name)).hexdigest()
    return Source(path, files, _checked(path, proto))


def _check_format(path: Path) -> None:
    if path.is_dir():
        raise ModelFileError(
            f"{path} is a folder.", do="Give the .onnx file in it; anomalib writes weights/onnx/model.onnx."
        )
    kind = _OTHER_FORMATS.get(path.suffix.lower())
    if kind == _OTHER_FORMATS[".data"]:
        raise ModelFileError(f"{path} is {kind}.", do="Give the .onnx file that lies beside it.")
    if kind is not None:
        raise ModelFileError(
            f"{path} is {kind}; only ONNX is imported.",
            do=f"Export the model to ONNX; with anomalib: {ANOMALIB_EXPORT}.",
        )


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise ModelFileError(f"{path} cannot be read: {fault.strerror}.", do="Check the path.") from fault


def _parsed(path: Path, content: bytes) -> Any:
    try:
        proto = onnx.load_model_from_string(content)
    except DecodeError as fault:
        raise _damaged(path, "it is no ONNX message") from fault
    if not proto.graph.node:
        raise _damaged(path, "it holds no network")
    return proto


def _checked(path: Path, proto: Any) -> Any:
    """The message with its data in it, after ONNX's own checker has read it."""
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
        onnx.checker.check_model(proto)
        ir.from_proto(proto)
    except (onnx.checker.ValidationError, ValueError, KeyError, TypeError, RuntimeError, OSError) as fault:
        raise _damaged(path, str(fault).strip().splitlines()[0]) from fault
    return proto


def _data_files(path: Path, proto: Any) -> list[str]:
    """Names of the data files, each of them checked: in the folder, there, and long enough."""
    lengths: dict[str, int] = {}
    for tensor in _tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            end = _number(path, entries, "offset") + _number(path, entries, "length")
            name = entries.get("location", "")
            lengths[name] = max(lengths.get(name, 0), end)
    total = proto.ByteSize() + sum(_check_data(path, name, length) for name, length in lengths.items())
    if total >= LARGEST_BYTES:
        raise ModelFileError(
            f"{path} has {total} bytes of data, more than one ONNX file can hold.",
            do="Use a smaller backbone or memory bank.",
        )
    return sorted(lengths)


def _check_data(path: Path, name: str, length: int) -> int:
    """The size of a data file in bytes."""
    folder, data = path.parent.resolve(), (path.parent / name).resolve()
    if not name or folder not in data.parents:
        raise ModelFileError(
            f"{path} names the data file {name!r}, which does not lie in its folder.",
            do="Export it again; do not use a file that was made so on purpose.",
        )
    if not data.is_file():
        raise ModelFileError(
            f"{path} keeps its weights in {name}, which is not beside it.",
            do=f"Copy {name} from where {path.name} came from, or export one file: {ANOMALIB_EXPORT}.",
        )
    size = data.stat().st_size
    if size < length:
        raise ModelFileError(
            f"{path.parent / name} has {size} bytes and {path.name} needs {length}: it is cut short.",
            do="Copy both files again from one export.",
        )
    return size


def _number(path: Path, entries: dict[str, str], key: str) -> int:
    text = entries.get(key, "0")
    if not (text.isascii() and text.isdigit()):
        raise _damaged(path, f"the {key} of a data file is {text!r}")
    return int(text)


def _tensors(proto: Any) -> Iterator[Any]:
    """Every stored tensor: of the graph, of its subgraphs and of local functions."""
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Any) -> Iterator[Any]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("g"):
            yield from _graph_tensors(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)


def _damaged(path: Path, how: str) -> ModelFileError:
    return ModelFileError(
        f"{path} is truncated, damaged or of another kind: {how}.",
        do="Copy it again from where it was exported, or export it again.",
    )
