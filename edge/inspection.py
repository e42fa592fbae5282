"""One frame through preprocess, runner, map and decision: the path that everything shares.

The daemon, `adclip infer`, `adclip replay`, the export proof and calibration all come through here, so a
score cannot depend on who asked for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.anomaly_map import full_map, image_score
from edge.bundle import Bundle
from edge.correction import Correction
from edge.decide import FrameLimits, Thresholds, decide, fault_verdict, frame_fault
from edge.errors import FrameError, OperateError
from edge.light import LightWatch
from edge.manifest import Preprocessing, Tiles
from edge.messages import Box, Frame, Inspection, PixelFormat, RawImage, Reason, StageTimings, Verdict
from edge.photometry import Assessment, Condition
from edge.preprocess import covered_box, cut_out, input_tensor
from edge.runner import FrameRunner, Prediction, Runner
from edge.tiles import stitched, tile_boxes


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What one tile says, and how long each stage took."""

    score: float
    anomaly_map: NDArray[np.float32]
    preprocess_ms: float
    runner_ms: float
    anomaly_map_ms: float


@dataclass(frozen=True, slots=True)
class Inspector:
    """A bundle, a runner for it, and the preprocessing in force at this station, with the `correction` that it
    names. With tiles the image score is the largest of theirs.

    `clock` gives nanoseconds and serves the stage timings alone.
    """

    bundle: Bundle
    runner: Runner
    preprocessing: Preprocessing
    clock: Callable[[], int]
    correction: Correction | None = None

    def inspect(self, frame: Frame) -> Inspection:
        """Score one frame. Raises `FrameError` when the frame does not allow it, `OperateError` when the
        runner fails."""
        if frame.image is None:
            raise FrameError(
                f"Part {frame.part_id} has no picture.", do="Look at the camera's own counters and cable."
            )
        region = covered_box(frame.image, self.preprocessing.roi_px)
        boxes = tile_boxes(region, self.preprocessing.tiles)
        views = [self._look(frame.image, frame.pixel_format, box) for box in boxes]
        begin = self.clock()
        anomaly_map = stitched([view.anomaly_map for view in views], boxes, region)
        timings = StageTimings(
            sum(view.preprocess_ms for view in views),
            sum(view.runner_ms for view in views),
            sum(view.anomaly_map_ms for view in views) + _ms(self.clock() - begin),
        )
        # numpy's maximum hands a NaN on, where the built-in one may swallow it.
        score = float(np.max([view.score for view in views]))
        return Inspection(frame.part_id, score, anomaly_map, region, self.bundle.bundle_id, timings)

    def _look(self, image: RawImage, pixel_format: PixelFormat, box: Box) -> _View:
        """Score one box of the frame."""
        manifest = self.bundle.manifest
        spec = self.preprocessing.model_copy(update={"roi_px": box})
        begin = self.clock()
        prediction, prepared = self._predict(image, pixel_format, spec)
        predicted = self.clock()
        anomaly_map = full_map(prediction.grid_map, manifest.map, manifest.preprocessing.size_px)
        score = image_score(prediction.score, anomaly_map, manifest.score)
        times = _ms(prepared - begin), _ms(predicted - prepared), _ms(self.clock() - predicted)
        return _View(score, anomaly_map, *times)

    def _predict(
        self, image: RawImage, pixel_format: PixelFormat, spec: Preprocessing
    ) -> tuple[Prediction, int]:
        """The prediction, and when preparing was over; a runner that resamples itself prepares less here."""
        if isinstance(self.runner, FrameRunner):
            cut = cut_out(image, pixel_format, spec, self.correction)
            prepared = self.clock()
            return self.runner.infer_cut(cut.image, cut.pixel_format, cut.red), prepared
        tensor = input_tensor(image, pixel_format, spec, self.correction)
        prepared = self.clock()
        return self.runner.infer(tensor), prepared


@dataclass(frozen=True, slots=True)
class Judge:
    """An inspector with the thresholds and limits in force: any frame → exactly one verdict.

    `on_light` is told how every frame was lit.
    """

    inspector: Inspector
    thresholds: Thresholds
    limits: FrameLimits
    on_error: Callable[[Frame, OperateError], None]
    light: LightWatch | None = None
    on_light: Callable[[Assessment], None] | None = None

    @property
    def bundle_id(self) -> str:
        """The bundle that the thresholds belong to."""
        return self.inspector.bundle.bundle_id

    def judge(self, frame: Frame) -> tuple[Verdict, Inspection | None]:
        """The verdict, and the inspection it rests on (None for a FAULT without one)."""
        fault = frame_fault(frame, self.limits)
        if fault is not None:
            return self.fault(frame, fault), None
        try:
            if self._badly_lit(frame):
                return self.fault(frame, Reason.LIGHT), None
            inspection = self.inspector.inspect(frame)
        except OperateError as error:
            self.on_error(frame, error)
            reason = Reason.BAD_FRAME if isinstance(error, FrameError) else Reason.RUNNER_ERROR
            return self.fault(frame, reason), None
        begin = self.inspector.clock()
        verdict = decide(inspection, self.thresholds, self.bundle_id)
        timings = replace(inspection.timings, decide_ms=_ms(self.inspector.clock() - begin))
        return replace(verdict, timings=timings), inspection

    def _badly_lit(self, frame: Frame) -> bool:
        """Raises `FrameError` when the region of interest does not lie in the frame."""
        if self.light is None or frame.image is None:
            return False
        region = covered_box(frame.image, self.inspector.preprocessing.roi_px)
        assessment = self.light.look(frame, region)
        if self.on_light is not None:
            self.on_light(assessment)
        return assessment.condition is Condition.FAULT

    def fault(self, frame: Frame, reason: Reason) -> Verdict:
        """The verdict on a frame that cannot be judged."""
        return fault_verdict(frame.part_id, reason, self.thresholds, self.bundle_id)


def effective_preprocessing(
    bundle: Bundle,
    roi_px: Box | None = None,
    tiles: Tiles | None = None,
    correction: Correction | None = None,
) -> Preprocessing:
    """The bundle's preprocessing with what the station declares: region of interest, tiles, correction."""
    declared = {
        "roi_px": roi_px,
        "tiles": tiles,
        "correction_id": None if correction is None else correction.correction_id,
    }
    kept = {name: value for name, value in declared.items() if value is not None}
    return bundle.manifest.preprocessing.model_copy(update=kept)


def _ms(nanoseconds: int) -> float:
    return nanoseconds / 1e6
