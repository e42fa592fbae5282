"""One set of pictures up the rungs: every rung on the path of the line, every pair measured."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.correction import Correction
from edge.decide import Thresholds, decide
from edge.inspection import Inspector
from edge.manifest import Preprocessing
from edge.messages import Frame, Inspection
from edge.overlay import Picture as Pixels
from edge.overlay import mask_on_map, thumbnail
from edge.runner import Prediction, Runner
from export.verify.differences import (
    Allowed,
    Difference,
    PairFigures,
    Reading,
    allowed_between,
    difference,
    map_margin,
    pair_figures,
    reading,
    score_margin,
)
from export.verify.labelled import Subject
from export.verify.ladder import Rung, pairs
from export.verify.reference import reference_map

WORST, NEAREST = 8, 4
"""Pictures kept of each pair: those with the largest errors, and those nearest to a threshold."""


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What is in force where the pictures come from; see `Inspector`."""

    preprocessing: Preprocessing
    thresholds: Thresholds
    correction: Correction | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One picture with the finished maps of two rungs, and the input of the first tile.

    `seen` is (h, w, 3) uint8 RGB like the maps; `mask` is None when it is not known.
    """

    difference: Difference
    truth: str
    seen: Pixels
    maps: tuple[NDArray[np.float32], NDArray[np.float32]]
    mask: NDArray[np.bool_] | None
    tensor: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PairResult:
    """One pair over one set: its figures, every difference, the cases worth a look, worst and nearest first."""

    figures: PairFigures
    differences: tuple[Difference, ...]
    labels: tuple[bool | None, ...]
    worst: tuple[Case, ...]
    nearest: tuple[Case, ...]


class _Top:
    """The few cases with the largest keys; of equal keys the earlier stays."""

    def __init__(self, most: int) -> None:
        self._most, self._order = most, count()
        self._heap: list[tuple[tuple[float, ...], int, Case]] = []

    def offer(self, key: tuple[float, ...], case: Callable[[], Case]) -> None:
        """Keep it if it is large enough; it is made only then."""
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, (key, -next(self._order), case()))
        elif key > self._heap[0][0]:
            heapq.heapreplace(self._heap, (key, -next(self._order), case()))

    def cases(self) -> tuple[Case, ...]:
        """Largest first."""
        return tuple(case for _, _, case in sorted(self._heap, reverse=True, key=lambda kept: kept[:2]))


class _Pair:
    """What is remembered of one pair while the pictures go by."""

    def __init__(self, first: Rung, second: Rung, allowed: Allowed, thresholds: Thresholds) -> None:
        self._names, self._allowed, self._thresholds = (first.name, second.name), allowed, thresholds
        self._differences: list[Difference] = []
        self._worst, self._nearest = _Top(WORST), _Top(NEAREST)

    def add(self, found: Difference, case: Callable[[], Case]) -> None:
        self._differences.append(found)
        self._worst.offer((float(found.flipped), self._allowed.used(found)), case)
        margin = min(
            score_margin(found, self._thresholds) / self._allowed.score,
            map_margin(found, self._thresholds) / self._allowed.map,
        )
        if math.isfinite(margin):
            self._nearest.offer((-margin,), case)

    def result(self, labels: Sequence[bool | None]) -> PairResult:
        return PairResult(
            pair_figures(self._names, self._differences, self._allowed, self._thresholds),
            tuple(self._differences),
            tuple(labels),
            self._worst.cases(),
            self._nearest.cases(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    inspection: Inspection
    grid_maps: NDArray[np.float32]
    reading: Reading
    tensor: NDArray[np.float32]


class Climber:
    """Takes pictures up the rungs of one set. The rungs come from top to bottom."""

    def __init__(self, bundle: Bundle, rungs: Sequence[Rung], setting: Setting) -> None:
        self._bundle, self._rungs, self._setting = bundle, rungs, setting
        self._pairs = {
            (a, b): _Pair(rungs[a], rungs[b], self._allowed((a, b)), setting.thresholds)
            for a, b in pairs(len(rungs))
        }
        self._labels: list[bool | None] = []

    def climb(self, subject: Subject) -> list[Inspection]:
        """Ask every rung about one picture and remember how they differ.

        Raises `FrameError` when the picture does not suit the preprocessing, `OperateError` when a rung fails.
        """
        answers = [self._ask(rung, subject.frame) for rung in self._rungs]
        self._labels.append(subject.picture.defective)
        for (a, b), pair in self._pairs.items():
            found = self._compare(subject, answers[a], answers[b])
            pair.add(found, partial(self._case, subject, answers[a], answers[b], found))
        return [answer.inspection for answer in answers]

    def results(self) -> tuple[PairResult, ...]:
        """The figures of every pair; empty when no picture went through."""
        if not self._labels:
            return ()
        return tuple(pair.result(self._labels) for pair in self._pairs.values())

    def _ask(self, rung: Rung, frame: Frame) -> _Answer:
        setting, listening = self._setting, _Listening(rung.runner)
        inspector = Inspector(
            self._bundle, listening, setting.preprocessing, time.perf_counter_ns, setting.correction
        )
        inspection = inspector.inspect(frame)
        if rung.stored:
            inspection = replace(inspection, anomaly_map=self._reference(listening.grid_maps[0]))
        outcome = decide(inspection, setting.thresholds, self._bundle.bundle_id).outcome
        return _Answer(
            inspection,
            np.stack(listening.grid_maps),
            reading(inspection, outcome, setting.thresholds),
            listening.tensors[0],
        )

    def _reference(self, grid_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """The finished map by other code than the shipped one, which is thus compared as well."""
        manifest = self._bundle.manifest
        return reference_map(grid_map, manifest.map, manifest.preprocessing.size_px).astype(np.float32)

    def _compare(self, subject: Subject, first: _Answer, second: _Answer) -> Difference:
        return difference(
            subject.picture.name,
            (first.reading, second.reading),
            (first.grid_maps, second.grid_maps),
            (first.inspection.anomaly_map, second.inspection.anomaly_map),
        )

    def _case(self, subject: Subject, first: _Answer, second: _Answer, found: Difference) -> Case:
        maps = (first.inspection.anomaly_map, second.inspection.anomaly_map)
        mask = None
        if subject.mask is not None:
            mask = mask_on_map(subject.mask, first.inspection.roi_px, maps[0].shape)
        seen = self._seen(subject.frame, maps[0].shape)
        return Case(found, subject.picture.truth, seen, maps, mask, first.tensor)

    def _seen(self, frame: Frame, shape: tuple[int, ...]) -> Pixels:
        seen = thumbnail(frame, self._setting.preprocessing)
        assert seen is not None  # the picture has just been inspected
        if seen.shape[:2] == shape:
            return seen
        return np.asarray(cv2.resize(seen, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)

    def _allowed(self, pair: tuple[int, int]) -> Allowed:
        manifest = self._bundle.manifest
        inexact = [self._rungs[at] for at in pair if at > 0 or not self._rungs[at].exact]
        return allowed_between(manifest, [manifest.tolerances.of(rung.runner.precision) for rung in inexact])


class _Listening:
    """A runner that remembers what it was asked and what it answered, for one picture of one or more tiles."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.description, self.precision = runner.description, runner.precision
        self.tensors: list[NDArray[np.float32]] = []
        self.grid_maps: list[NDArray[np.float32]] = []

    def infer(self, tensor: NDArray[np.float32]) -> Prediction:
        """See `Runner.infer`."""
        prediction = self._runner.infer(tensor)
        self.tensors.append(tensor)
        self.grid_maps.append(prediction.grid_map.copy())  # valid until the next answer only
        return prediction

    def close(self) -> None:
        """The runner belongs to the ladder."""
