"""What the labels say of every rung: how well it ranks and how well it points, on the very same pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edge.messages import Inspection
from edge.metrics import auroc, average_precision, pool_pixels, pooled_aupro, pooled_auroc
from edge.overlay import mask_on_map
from export.verify.labelled import Subject


@dataclass(frozen=True, slots=True)
class Ranking:
    """Figures of merit of one rung, NaN where a class is absent; definitions in `edge.metrics`.

    `pictures` were labelled, `maps` of them have a known mask (a good part's is empty), `regions` are the
    defects in these.
    """

    image_auroc: float
    image_ap: float
    pixel_auroc: float
    aupro: float
    pictures: int
    maps: int
    regions: int


class RankingPool:
    """Collects labelled pictures, their maps in unnamed files on disk; freed when the block ends.

    A picture for which any rung gave a value that is not finite is left out for all of them, so that the rungs
    are always judged on the same pictures.
    """

    def __init__(self, rungs: Sequence[str]) -> None:
        self._rungs = tuple(rungs)
        self._labels: list[bool] = []
        self._scores: list[list[float]] = [[] for _ in rungs]
        self._masks: list[NDArray[np.bool_]] = []
        self._files: list[IO[bytes]] = []
        self._open = ExitStack()

    def __enter__(self) -> RankingPool:
        for _ in self._rungs:
            self._files.append(self._open.enter_context(tempfile.TemporaryFile()))
        return self

    def __exit__(self, *fault: object) -> None:
        self._open.close()

    def add(self, subject: Subject, inspections: Sequence[Inspection]) -> None:
        """Take one picture with the answer of every rung; one without a label counts nowhere."""
        defective = subject.picture.defective
        if defective is None or not all(_finite(one) for one in inspections):
            return
        self._labels.append(defective)
        for scores, inspection in zip(self._scores, inspections, strict=True):
            scores.append(inspection.score)
        if subject.mask is None:
            return
        self._masks.append(mask_on_map(subject.mask, inspections[0].roi_px, inspections[0].anomaly_map.shape))
        for file, inspection in zip(self._files, inspections, strict=True):
            file.write(np.ascontiguousarray(inspection.anomaly_map, np.float32).tobytes())

    def rankings(self) -> tuple[tuple[str, Ranking], ...]:
        """(rung, figures) from top to bottom; empty when no picture is labelled."""
        if not self._labels:
            return ()
        return tuple(
            (name, self._ranking(scores, file))
            for name, scores, file in zip(self._rungs, self._scores, self._files, strict=True)
        )

    def _ranking(self, scores: Sequence[float], file: IO[bytes]) -> Ranking:
        pool = pool_pixels(self._maps(file), self._masks)
        return Ranking(
            auroc(self._labels, scores),
            average_precision(self._labels, scores),
            pooled_auroc(pool),
            pooled_aupro(pool),
            len(self._labels),
            len(self._masks),
            pool.regions,
        )

    def _maps(self, file: IO[bytes]) -> list[NDArray[np.float32]]:
        """Every map has the shape of its mask; they stay on disk until they are read."""
        file.flush()
        ends = np.cumsum([mask.size for mask in self._masks])
        values = np.memmap(file, np.float32, "r") if self._masks else np.empty(0, np.float32)
        pieces = zip(np.split(values, ends[:-1]) if self._masks else (), self._masks, strict=True)
        return [piece.reshape(mask.shape) for piece, mask in pieces]


def _finite(inspection: Inspection) -> bool:
    return bool(np.isfinite(inspection.score) and np.isfinite(inspection.anomaly_map).all())
