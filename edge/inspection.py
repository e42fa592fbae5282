"""One frame through preprocess, runner and map, with the time each took: the path that everything shares.

The daemon, `adclip infer`, `adclip replay`, the export proof and calibration all call `Inspector.inspect`,
so a score cannot depend on who asked for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.anomaly_map import smoothed_map
from edge.bundle import Bundle, Preprocessing
from edge.errors import OperateError
from edge.messages import Box, Frame, Inspection, StageTimings
from edge.preprocess import covered_box, input_tensor
from edge.runner import Runner


@dataclass(frozen=True, slots=True)
class Inspector:
    """A bundle, a runner for it, and the preprocessing in force at this station.

    `clock` gives nanoseconds and serves the stage timings alone.
    """

    bundle: Bundle
    runner: Runner
    preprocessing: Preprocessing
    clock: Callable[[], int]

    def inspect(self, frame: Frame) -> Inspection:
        """Score one intact frame. Raises `OperateError` when the frame or the runner does not allow it."""
        if frame.image is None:
            raise OperateError(
                f"Part {frame.part_id} has no picture.", do="Look at the camera's own counters and cable."
            )
        begin = self.clock()
        tensor = input_tensor(frame.image, frame.pixel_format, self.preprocessing)
        prepared = self.clock()
        prediction = self.runner.infer(tensor)
        predicted = self.clock()
        manifest = self.bundle.manifest
        anomaly_map = smoothed_map(prediction.grid_map, manifest.image_size, manifest.sigma)
        mapped = self.clock()
        timings = StageTimings(_ms(prepared - begin), _ms(predicted - prepared), _ms(mapped - predicted))
        roi = covered_box(frame.image, self.preprocessing.roi_px)
        return Inspection(frame.part_id, prediction.score, anomaly_map, roi, self.bundle.bundle_id, timings)


def effective_preprocessing(bundle: Bundle, roi_px: Box | None) -> Preprocessing:
    """The bundle's preprocessing with the station's region of interest, when it declares one."""
    if roi_px is None:
        return bundle.manifest.preprocessing
    return bundle.manifest.preprocessing.model_copy(update={"roi_px": roi_px})


def _ms(nanoseconds: int) -> float:
    return nanoseconds / 1e6
