"""The ladder from torch down to the engine: every form of one network, each behind the runner contract.

    golden outputs ↔ PyTorch FP32 ↔ ONNX FP32 ↔ ONNX FP16 ↔ TensorRT engine

A rung that cannot be opened is named with its reason. It is never counted as proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.config import OnnxRuntimeConfig, TensorRtConfig
from edge.errors import BundleError, ConfigError, EdgeError, ModelFileError, OpenError, OperateError
from edge.manifest import AnomalyClipHead, Precision
from edge.messages import PixelFormat
from edge.preprocess import input_tensor
from edge.runner import Prediction, Runner, open_runner

if TYPE_CHECKING:
    from export.network import Network

GOLDEN_NAME = "golden outputs"
TORCH_NAME = "PyTorch FP32"
ENGINE_NAME = "TensorRT engine"
SOURCE_ROLES = ("clip", "checkpoint")
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sources:
    """The files that an AnomalyCLIP bundle was made from."""

    clip: Path
    checkpoint: Path


@dataclass(frozen=True, slots=True, eq=False)
class Rung:
    """One form of the network.

    `exact` is true for what torch computed: at the top of a ladder it is the reference itself. `stored` is
    true for the golden outputs, which no network computes here.
    """

    name: str
    runner: Runner
    exact: bool = False
    stored: bool = False


@dataclass(frozen=True, slots=True)
class NotRun:
    """A form of the network that could not be opened here, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Ladder:
    """The opened rungs from top to bottom, what is missing, and the torch module if it is there.

    `golden` is the rung of the stored outputs; it answers the golden frames alone.
    """

    golden: Rung
    rungs: tuple[Rung, ...]
    missing: tuple[NotRun, ...]
    network: Network | None = None


def pairs(count: int) -> list[tuple[int, int]]:
    """Which of `count` rungs are compared: neighbours, then the first with each of the others, the last last."""
    return [*pairwise(range(count)), *((0, lower) for lower in range(2, count))]


@contextmanager
def open_ladder(
    bundle: Bundle, sources: Sources | None, *, threads: int, engine_directory: Path | None = None
) -> Iterator[Ladder]:
    """Open every rung that there is; all are closed at the end.

    Raises `ModelFileError` when a source file is not the one that the bundle was made from, `OpenError` when
    torch is needed for it and absent, `BundleError` when a graph of the bundle does not load.
    """
    missing: list[NotRun] = []
    with ExitStack() as opened:
        rungs: list[Rung] = []
        network = None if sources is None else _network(bundle, sources)
        if network is None:
            missing.append(
                NotRun(
                    TORCH_NAME,
                    "No source files were given; on the golden frames the stored outputs stand for it.",
                )
            )
        else:
            rungs.append(Rung(TORCH_NAME, _torch_runner(bundle, network), exact=True))
        for precision in bundle.manifest.precisions:
            runner = open_runner(bundle, OnnxRuntimeConfig(threads=threads, precision=precision))
            opened.callback(runner.close)
            rungs.append(Rung(f"ONNX {precision.upper()}", runner))
        if "fp16" not in bundle.manifest.precisions:
            missing.append(NotRun("ONNX FP16", "The bundle has no FP16 graph."))
        try:
            engine = open_runner(bundle, _engine_config(engine_directory))
        except EdgeError as fault:
            missing.append(NotRun(ENGINE_NAME, fault.what))
        else:
            opened.callback(engine.close)
            rungs.append(Rung(ENGINE_NAME, engine))
        yield Ladder(_golden(bundle), tuple(rungs), tuple(missing), network)


class StoredOutputs:
    """The golden outputs behind the runner contract: answers the golden frames, each known by its tensor."""

    description = "stored in the bundle by the exporter"
    precision: Precision = "fp32"

    def __init__(self, bundle: Bundle) -> None:
        golden = bundle.golden()
        spec = bundle.manifest.preprocessing
        if golden.grid_map.shape[1:] != bundle.manifest.map.grid:
            raise BundleError(
                f"The golden outputs of {bundle.folder} do not have the grid that its manifest names.",
                do="Export the bundle again.",
            )
        self._stored = {
            input_tensor(image, PixelFormat.RGB8, spec).tobytes(): Prediction(float(score), grid_map)
            for image, score, grid_map in zip(golden.images, golden.image_score, golden.grid_map, strict=True)
        }

    def infer(self, tensor: NDArray[np.float32]) -> Prediction:
        """See `Runner.infer`."""
        found = self._stored.get(tensor.tobytes())
        if found is None:
            raise OperateError("This is not a golden frame of the bundle.", do="Run the network itself.")
        return found

    def close(self) -> None:
        """Nothing is held open."""


def _golden(bundle: Bundle) -> Rung:
    return Rung(GOLDEN_NAME, StoredOutputs(bundle), exact=True, stored=True)


def _engine_config(directory: Path | None) -> TensorRtConfig:
    if directory is None:
        return TensorRtConfig(backend="tensorrt")
    return TensorRtConfig(backend="tensorrt", engine_directory=directory)


def _network(bundle: Bundle, sources: Sources) -> Network:
    head, manifest = bundle.manifest.head, bundle.manifest
    if not isinstance(head, AnomalyClipHead):
        raise ConfigError(
            f"A bundle of the kind {head.kind} cannot be compared with torch from a CLIP file and a checkpoint.",
            do="Leave --clip and --checkpoint out; the golden outputs stand for torch.",
        )
    for role, path in zip(SOURCE_ROLES, (sources.clip, sources.checkpoint), strict=True):
        _check_hash(role, path, manifest.source.files.get(role))
    try:
        from export.anomalyclip import AnomalyClipSettings, build_graph
        from export.clip_file import read_clip_file
        from export.prompt_checkpoint import read_prompt_checkpoint
    except ImportError as fault:
        raise OpenError(
            f"Comparing with the source files needs {fault.name}, which is not installed here.",
            do="Install the export extra, or leave --clip and --checkpoint out.",
        ) from fault
    settings = AnomalyClipSettings(
        image_size=manifest.preprocessing.height_px,
        dpam=head.dpam,
        features=head.features,
        legacy_features=head.legacy_features,
        sigma=manifest.map.sigma_px,
        resample="fast" if manifest.preprocessing.interpolation.startswith("fast") else "pillow",
    )
    return build_graph(read_clip_file(sources.clip), read_prompt_checkpoint(sources.checkpoint), settings)


def _torch_runner(bundle: Bundle, network: Network) -> Runner:
    from export.verify.torch_runner import TorchRunner

    return TorchRunner(bundle, network)


def _check_hash(role: str, path: Path, expected: str | None) -> None:
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                found.update(piece)
    except OSError as fault:
        raise ModelFileError(f"{path} cannot be read: {fault.strerror}.", do="Check its path.") from fault
    if found.hexdigest() != expected:
        raise ModelFileError(
            f"{path} is not the {role} file that the bundle was made from: its SHA-256 is another one.",
            do="Give the file that was exported, or export again from this one.",
        )
