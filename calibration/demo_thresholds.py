"""Thresholds for the simulated line: one calibration file for each product, set on seeds of their own.

Part of `make demo-model`. Run as `python -m calibration.demo_thresholds`; writes `models/demo-thresholds`.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
from rich.console import Console
from rich.progress import track

from calibration.threshold import conformal_threshold
from edge.bundle import open_bundle
from edge.calibration_file import CalibrationFile, calibration_text
from edge.camera.scene import PRODUCTS, Line, part_roi_px
from edge.config import OnnxRuntimeConfig
from edge.errors import EdgeError
from edge.inspection import Inspector, effective_preprocessing
from edge.messages import Frame, PixelFormat
from edge.runner import open_runner

MODELS = Path(__file__).resolve().parent.parent / "models"
BUNDLE = MODELS / "demo"
THRESHOLDS = MODELS / "demo-thresholds"

SEED = 2_000_001
"""Seeds from 2 000 000 on belong to these thresholds: neither the training nor a demo draws from them."""
GOOD_PARTS, BAD_PARTS = 800, 80
PARTS_OF_ONE_SEED = 40
"""Parts of one seed share their texture, as parts of one batch do; the thresholds must hold for other batches."""
OVERKILL_OF_EACH_RULE = 0.005
"""Two rules, score and map, each with this rate: at most 1 % together."""
FRAME_PX = (2048, 1080)


@dataclass(frozen=True, slots=True)
class Job:
    """One rendered part to score."""

    product: str
    seed: int
    defect_share: float
    index: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Image score and largest value of the smoothed map of one part."""

    defective: bool
    score: float
    peak: float


def main() -> int:
    """Set and write all thresholds. Returns 0, or 2 after an error that a person can mend."""
    console = Console()
    try:
        THRESHOLDS.mkdir(exist_ok=True)
        with multiprocessing.get_context("spawn").Pool(os.cpu_count(), _one_thread) as pool:
            for product in sorted(PRODUCTS):
                scored = list(
                    track(
                        pool.imap(_score, _jobs(product), chunksize=8),
                        description=f"thresholds of {product}",
                        total=GOOD_PARTS + BAD_PARTS,
                        console=console,
                    )
                )
                content = calibrate(product, scored)
                path = THRESHOLDS / f"{product}.yaml"
                _replace(path, calibration_text(content))
                console.print(f"{product}: {_what_it_does(content)}", highlight=False, soft_wrap=True)
    except EdgeError as error:
        console.print(f"{error.what} {error.do}", style="red")
        return 2
    return 0


def calibrate(product: str, scored: list[Scored]) -> CalibrationFile:
    """Thresholds for one product from its scored parts. Raises `ConfigError` when there are too few."""
    good = [part for part in scored if not part.defective]
    bad = [part for part in scored if part.defective]
    bundle = open_bundle(BUNDLE)
    preprocessing = effective_preprocessing(bundle, part_roi_px(*FRAME_PX))
    return CalibrationFile(
        bundle_id=bundle.bundle_id,
        preprocessing_id=preprocessing.identity(),
        product=product,
        method=(
            f"split conformal on {len(good)} good rendered parts of {GOOD_PARTS // PARTS_OF_ONE_SEED} seeds, "
            f"overkill at most "
            f"{OVERKILL_OF_EACH_RULE:.2%} for the score and {OVERKILL_OF_EACH_RULE:.2%} for the map"
        ),
        score=conformal_threshold([part.score for part in good], OVERKILL_OF_EACH_RULE),
        map=conformal_threshold([part.peak for part in good], OVERKILL_OF_EACH_RULE),
        good_scores=tuple(part.score for part in good),
        bad_scores=tuple(part.score for part in bad),
        good_peaks=tuple(part.peak for part in good),
        bad_peaks=tuple(part.peak for part in bad),
    )


def _jobs(product: str) -> Iterator[Job]:
    for defect_share, parts in ((0.0, GOOD_PARTS), (1.0, BAD_PARTS)):
        for number in range(parts):
            yield Job(product, SEED + number // PARTS_OF_ONE_SEED, defect_share, number + 1)


def _score(job: Job) -> Scored:
    part = _line(job.product, job.seed, job.defect_share).part(job.index)
    frame = Frame(job.index, job.index, 0, 0, part.image, PixelFormat.BAYER_RG8)
    inspection = _inspector().inspect(frame)
    return Scored(part.defect is not None, inspection.score, float(inspection.anomaly_map.max()))


@lru_cache(maxsize=2)
def _line(product: str, seed: int, defect_share: float) -> Line:
    width, height = FRAME_PX
    return Line(PRODUCTS[product], seed=seed, defect_share=defect_share, width=width, height=height)


@lru_cache(maxsize=1)
def _inspector() -> Inspector:
    bundle = open_bundle(BUNDLE)
    preprocessing = effective_preprocessing(bundle, part_roi_px(*FRAME_PX))
    runner = open_runner(bundle, OnnxRuntimeConfig(threads=1))
    return Inspector(bundle, runner, preprocessing, time.monotonic_ns)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _what_it_does(content: CalibrationFile) -> str:
    pairs = zip(content.bad_scores, content.bad_peaks, strict=True)
    assert content.map is not None
    found = sum(score >= content.score or peak >= content.map for score, peak in pairs)
    return (
        f"score {content.score:.4f}, map {content.map:.4f}; rejects {found} of {len(content.bad_scores)} "
        "defective parts of the calibration"
    )


def _replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
