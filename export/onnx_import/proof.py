"""The proof that the cut graph says what the file says, on the golden frames, both in ONNX Runtime.

The raw values are tapped inside the file as extra outputs. Where the file normalises (anomalib 2.x), its own
score is compared as well, through the limits that were read from it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edge.bundle import Golden
from edge.errors import BundleError
from edge.manifest import Preprocessing, ReferenceLimits
from edge.messages import PixelFormat
from edge.preprocess import input_tensor
from edge.reference_limits import reference_judgement
from export.golden_frames import golden_frames
from export.onnx_import.network import Network
from export.onnx_import.onnx_session import Array, Session
from export.onnx_import.source import Source

RELATIVE_TOLERANCE = 1e-4
"""Of the largest value over all golden frames; the bundle's tolerance on every device as well. Adding in another
order, which is all that two runs in FP32 may differ by, moved the models of anomalib by 3e-6 at most."""

SMALLEST_SCALE = 1e-6
"""A network that returns next to nothing is not held to less than this."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Largest absolute differences between the file and the cut graph over all golden frames.

    Scales are the largest absolute raw values. `normalised_score_error` is between the file's own normalised
    score and ours by the limits read from it; None for a file that does not normalise.
    """

    frames: int
    score_error: float
    map_error: float
    normalised_score_error: float | None
    score_scale: float
    map_scale: float

    @property
    def passed(self) -> bool:
        """Whether all lie within `RELATIVE_TOLERANCE`; one that is not a number does not."""
        normalised = self.normalised_score_error
        return (
            self.score_error <= RELATIVE_TOLERANCE * self.score_scale
            and self.map_error <= RELATIVE_TOLERANCE * self.map_scale
            and (normalised is None or normalised <= RELATIVE_TOLERANCE)
        )

    def figures(self) -> dict[str, object]:
        """For `parity.json`."""
        return {**asdict(self), "relative_tolerance": RELATIVE_TOLERANCE, "passed": self.passed}


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """One picture. `normalised` is the file's own score where it normalises."""

    score: float
    grid_map: NDArray[np.float32]
    normalised: float | None = None


def prove_against_file(source: Source, network: Network) -> tuple[Agreement, Golden]:
    """Run both, and the golden outputs that the bundle keeps: the file's.

    A file that is fixed to another size than its own resize makes cannot be run on the bundle's input. It is run
    at its size, the cut graph on what comes out of its resize, and the bundle keeps what the cut graph, so
    proven, says. Raises `BundleError` when they differ by more than the tolerance, or a value is no number.
    """
    cut = Session(ir.to_proto(network.model))
    frames = golden_frames()
    own_size = network.input.file_size_px in (None, network.input.size_px)
    if own_size:
        tensors = [_tensor(frame, network.preprocessing) for frame in frames]
        wanted = _file_answers(source, network, tensors)
    else:
        wanted, tensors = _at_the_files_size(source, network, frames)
    found = [_cut_answer(cut, tensor) for tensor in tensors]
    agreement = _compared(wanted, found, network.reference)
    if not agreement.passed:
        raise _refused(agreement)
    if own_size:
        return agreement, _golden(frames, wanted)
    return agreement, _golden(frames, [_cut_answer(cut, _tensor(f, network.preprocessing)) for f in frames])


def _at_the_files_size(
    source: Source, network: Network, frames: tuple[NDArray[np.uint8], ...]
) -> tuple[list[_Answer], list[NDArray[np.float32]]]:
    height, width = network.input.file_size_px or network.input.size_px
    spec = network.preprocessing.model_copy(update={"height_px": height, "width_px": width})
    tensors = [_tensor(frame, spec) for frame in frames]
    session, names = _tapped(source, [network.input.resize_output])
    resized = [session.run(tensor, names)[0] for tensor in tensors]
    return _file_answers(source, network, tensors), resized


def _file_answers(source: Source, network: Network, tensors: list[NDArray[np.float32]]) -> list[_Answer]:
    """What the file, with its raw tensors tapped, says about each input."""
    normalises = network.reference is not None and network.origin.family == "anomalib 2.x"
    taps = [network.raw_score, network.raw_map, "pred_score" if normalises else None]
    session, names = _tapped(source, taps)
    return [
        _file_answer(dict(zip(names, session.run(tensor, names), strict=True)), taps) for tensor in tensors
    ]


def _file_answer(found: dict[str, Array], taps: list[str | None]) -> _Answer:
    score, grid_map, normalised = (None if tap is None else found[tap] for tap in taps)
    if grid_map is None:
        grid_map = score
    if grid_map is None:
        raise ValueError("a network has a score or a map")
    rows = grid_map.astype(np.float32).reshape(grid_map.shape[-2:] if grid_map.size > 1 else (1, 1))
    peak = rows.max() if score is None else score.reshape(-1)[0]
    return _Answer(float(peak), rows, None if normalised is None else float(normalised.reshape(-1)[0]))


def _tapped(source: Source, taps: list[str | None]) -> tuple[Session, list[str]]:
    """The file with these tensors as outputs, and the names of those that are there."""
    model = source.model()
    values = ir.convenience.create_value_mapping(model.graph)
    names = list(dict.fromkeys(tap for tap in taps if tap is not None))
    outputs = {value.name for value in model.graph.outputs}
    for name in names:
        if name not in values:
            raise BundleError(
                f"The tensor {name} was lost in folding, so the cut graph cannot be compared with the file.",
                do="Report it with the file.",
            )
        if name not in outputs:
            model.graph.outputs.append(values[name])
    return Session(ir.to_proto(model)), names


def _cut_answer(session: Session, tensor: NDArray[np.float32]) -> _Answer:
    score, grid_map = session.run(tensor)
    return _Answer(float(score[0]), grid_map[0])


def _compared(wanted: list[_Answer], found: list[_Answer], limits: ReferenceLimits | None) -> Agreement:
    pairs = list(zip(wanted, found, strict=True))
    return Agreement(
        len(pairs),
        score_error=float(np.max([abs(file.score - cut.score) for file, cut in pairs])),
        map_error=float(np.max([_difference(file.grid_map, cut.grid_map) for file, cut in pairs])),
        normalised_score_error=_normalised_error(pairs, limits),
        score_scale=max(SMALLEST_SCALE, float(np.max([abs(file.score) for file in wanted]))),
        map_scale=max(SMALLEST_SCALE, float(np.max([np.abs(file.grid_map).max() for file in wanted]))),
    )


def _difference(file: NDArray[np.float32], cut: NDArray[np.float32]) -> float:
    return float(np.abs(file - cut).max()) if file.shape == cut.shape else float("inf")


def _normalised_error(pairs: list[tuple[_Answer, _Answer]], limits: ReferenceLimits | None) -> float | None:
    errors = []
    for file, cut in pairs:
        judged = reference_judgement(limits, cut.score)
        if file.normalised is not None and judged is not None:
            errors.append(abs(file.normalised - judged.score))
    return float(np.max(errors)) if errors else None


def _golden(frames: tuple[NDArray[np.uint8], ...], answers: list[_Answer]) -> Golden:
    return Golden(
        frames,
        np.asarray([answer.score for answer in answers], np.float32),
        np.stack([answer.grid_map for answer in answers]),
    )


def _tensor(frame: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    return input_tensor(frame, PixelFormat.RGB8, spec)


def _refused(agreement: Agreement) -> BundleError:
    normalised = agreement.normalised_score_error
    told = "" if normalised is None else f", {normalised:.1e} of its normalised score"
    return BundleError(
        "The cut graph does not say what the file says: largest difference "
        f"{agreement.score_error:.1e} of the score (values up to {agreement.score_scale:.3g}), "
        f"{agreement.map_error:.1e} of the map (up to {agreement.map_scale:.3g}){told}; "
        f"{RELATIVE_TOLERANCE:g} of the value is allowed. No bundle was written.",
        do="Report it with the file.",
    )
