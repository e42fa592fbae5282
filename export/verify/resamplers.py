"""The two resamplers on the user's pictures: what choosing the other one would change.

A bundle names its resampler, and the line uses that one. This is for choosing it: the same graph in FP32 behind
Pillow's resampler and behind the fast one. The differences are those of two pictures, not errors of a network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from rich.table import Table

from edge.bundle import Bundle
from edge.config import OnnxRuntimeConfig
from edge.decide import decide
from edge.errors import EdgeError, FrameError
from edge.inspection import Inspector
from edge.manifest import Interpolation, Preprocessing
from edge.messages import Frame, Inspection
from edge.runner import Runner, open_runner
from export.verify.climb import Setting
from export.verify.labelled import Picture, read_subject

OTHER: dict[Interpolation, Interpolation] = {
    "pil_bicubic_antialias": "fast_bicubic_antialias",
    "pil_bilinear_antialias": "fast_bilinear_antialias",
    "fast_bicubic_antialias": "pil_bicubic_antialias",
    "fast_bilinear_antialias": "pil_bilinear_antialias",
}


@dataclass(frozen=True, slots=True)
class ResamplerFigures:
    """Largest and mean absolute differences of image score and anomaly map, and verdicts that differ.

    `flips` is None when no threshold is in force, `unusable` counts pictures that could not be judged.
    """

    pictures: int
    unusable: int
    score: tuple[float, float]
    map: tuple[float, float]
    flips: int | None


def compare_resamplers(
    bundle: Bundle,
    setting: Setting,
    pictures: Iterable[Picture],
    threads: int,
    complain: Callable[[Picture, EdgeError], None],
) -> ResamplerFigures:
    """Judge every picture twice. Raises `OperateError` when the runner fails."""
    runner = open_runner(bundle, OnnxRuntimeConfig(threads=threads))
    try:
        return _compared(bundle, runner, setting, pictures, complain)
    finally:
        runner.close()


def figures_table(bundle: Bundle, found: ResamplerFigures) -> Table:
    """The figures for the terminal."""
    own = bundle.manifest.preprocessing.interpolation
    title = f"{own} ↔ {OTHER[own]}, ONNX FP32, {found.pictures} pictures"
    table = Table("", "largest", "mean", title=title, title_justify="left")
    for name, (largest, mean) in (("image score", found.score), ("anomaly map", found.map)):
        table.add_row(name, f"{largest:.2e}", f"{mean:.2e}")
    flips = "not counted: no threshold is in force" if found.flips is None else str(found.flips)
    table.add_row("verdicts that differ", flips, "")
    return table


def _compared(
    bundle: Bundle,
    runner: Runner,
    setting: Setting,
    pictures: Iterable[Picture],
    complain: Callable[[Picture, EdgeError], None],
) -> ResamplerFigures:
    settings = (setting, replace(setting, preprocessing=_with_the_other(setting.preprocessing)))
    scores, maps, flips, unusable = [], [], 0, 0
    for part_id, picture in enumerate(pictures, start=1):
        try:
            frame = read_subject(picture, part_id).frame
            first, second = (_inspected(bundle, runner, one, frame) for one in settings)
        except FrameError as fault:
            complain(picture, fault)
            unusable += 1
            continue
        scores.append(abs(first.score - second.score))
        maps.append(float(np.abs(first.anomaly_map - second.anomaly_map).max()))
        outcomes = {decide(one, setting.thresholds, bundle.bundle_id).outcome for one in (first, second)}
        flips += len(outcomes) - 1
    judged = setting.thresholds.score is not None or setting.thresholds.map is not None
    return ResamplerFigures(len(scores), unusable, _spread(scores), _spread(maps), flips if judged else None)


def _inspected(bundle: Bundle, runner: Runner, setting: Setting, frame: Frame) -> Inspection:
    inspector = Inspector(bundle, runner, setting.preprocessing, time.perf_counter_ns, setting.correction)
    return inspector.inspect(frame)


def _with_the_other(spec: Preprocessing) -> Preprocessing:
    return spec.model_copy(update={"interpolation": OTHER[spec.interpolation]})


def _spread(values: list[float]) -> tuple[float, float]:
    if not values:
        return (float("nan"), float("nan"))
    return (float(np.max(values)), float(np.mean(values)))
