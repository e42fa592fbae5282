"""The calibration file: thresholds with the score samples that made them, and what they belong to.

A threshold is valid for one {bundle, preprocessing} only. When either changed, the station is not ready.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field

from edge.config import DecisionConfig
from edge.decide import Thresholds
from edge.errors import ConfigError
from edge.manifest import BundleManifest, Finite, Preprocessing, Sha256
from edge.strict_model import Strict
from edge.yaml_file import load_model


class CalibrationFile(Strict):
    """Content of a calibration file.

    `good_scores` and `bad_scores` are the image scores that the thresholds were set on, `good_peaks` and
    `bad_peaks` the largest value of each smoothed map; kept so that the choice can be checked and repeated.
    """

    schema_version: Literal[1] = 1
    bundle_id: Sha256
    preprocessing_id: Sha256
    method: str
    score: Finite
    recheck_score: Finite | None = None
    map: Finite | None = None
    min_area_px: Annotated[float, Field(ge=0)] = 0.0
    product: str = ""
    good_scores: tuple[float, ...] = ()
    bad_scores: tuple[float, ...] = ()
    good_peaks: tuple[float, ...] = ()
    bad_peaks: tuple[float, ...] = ()


def thresholds_in_force(
    decision: DecisionConfig, bundle_id: str, preprocessing: Preprocessing, mm_per_px: float | None
) -> Thresholds:
    """The thresholds that `decision` names.

    Raises `ConfigError` when the calibration file cannot be read or belongs to another bundle or another
    preprocessing.
    """
    if decision.calibration is None:
        return Thresholds(
            decision.score, decision.recheck_score, decision.map, decision.min_area_px, mm_per_px
        )
    found = load_model(decision.calibration, CalibrationFile)
    _check_belongs(found.bundle_id == bundle_id, decision.calibration, "bundle")
    _check_belongs(found.preprocessing_id == preprocessing.identity(), decision.calibration, "preprocessing")
    return Thresholds(found.score, found.recheck_score, found.map, found.min_area_px, mm_per_px)


def check_reachable(thresholds: Thresholds, manifest: BundleManifest) -> None:
    """Raise `ConfigError` when a score threshold lies where no score of this bundle can: the rule would be off
    without saying so."""
    if manifest.score_range is None:
        return
    low, high = manifest.score_range
    for name, value in (("score", thresholds.score), ("recheck_score", thresholds.recheck_score)):
        if value is not None and not low <= value <= high:
            raise ConfigError(
                f"decision.{name} is {value:g}, and every score of this bundle lies in {low:g} to {high:g}.",
                do="Correct the threshold, or calibrate again.",
            )


def calibration_text(content: CalibrationFile) -> str:
    """YAML of a calibration file."""
    return yaml.safe_dump(
        content.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=110
    )


def _check_belongs(same: bool, path: Path, what: str) -> None:
    if not same:
        raise ConfigError(
            f"The thresholds in {path} were set for another {what}.",
            do="Calibrate again for this station, or go back to what they belong to.",
        )
