"""Who sees every part of a demo: remembers what the report needs, and joins it with what is true."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.results import PartResult
from calibration.truth import Truth
from edge.camera.synthetic import SyntheticCamera
from edge.manifest import Preprocessing
from edge.messages import Frame, Inspection, Outcome, Verdict
from edge.overlay import mask_on_map, thumbnail
from edge.pipeline import Settled


class Witness:
    """An `Observer`. Keeps each part's map, and a thumbnail of those that a report shows."""

    camera: SyntheticCamera

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing
        self._inspections: dict[int, Inspection] = {}
        self._settled: list[Settled] = []

    def decided(self, frame: Frame, inspection: Inspection | None, verdict: Verdict) -> None:
        """See `Observer.decided`."""
        if inspection is not None:
            self._inspections[frame.part_id] = inspection

    def settled(self, settled: Settled) -> None:
        """See `Observer.settled`. The frame itself is kept only where a picture will be shown."""
        if not self._shown(settled):
            settled = replace(settled, frame=None)
        self._settled.append(settled)

    def parts(self) -> list[PartResult]:
        """All parts that left the line, in that order, with the truth about them."""
        return [self._part(settled) for settled in self._settled]

    def _part(self, settled: Settled) -> PartResult:
        part_id, verdict = settled.trigger.part_id, settled.verdict
        truth = self._truth(part_id)
        inspection = self._inspections.get(part_id)
        decided_ns = settled.decided_ns
        return PartResult(
            part_id=part_id,
            outcome=verdict.outcome,
            reasons=verdict.reasons,
            score=verdict.score,
            threshold=verdict.threshold,
            latency_ms=math.nan if decided_ns is None else (decided_ns - settled.trigger.triggered_ns) / 1e6,
            margin_ms=settled.action.margin_ms,
            truth=truth,
            anomaly_map=None if inspection is None else inspection.anomaly_map,
            mask=self._mask(truth, inspection),
            thumbnail=None if settled.frame is None else thumbnail(settled.frame, self._preprocessing),
        )

    def _shown(self, settled: Settled) -> bool:
        defective = self.camera.truth(settled.trigger.part_id) is not None
        return defective or settled.verdict.outcome is not Outcome.PASS

    def _truth(self, part_id: int) -> Truth:
        found = self.camera.truth(part_id)
        if found is None:
            return Truth(defective=False)
        defect, mask = found
        return Truth(defective=True, defect=defect.value, mask=mask)

    def _mask(self, truth: Truth, inspection: Inspection | None) -> NDArray[np.bool_] | None:
        if truth.mask is None or inspection is None:
            return None
        return mask_on_map(truth.mask, inspection.roi_px, inspection.anomaly_map.shape)
