"""`adclip infer`: image files through the same path as the parts of a line."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from edge.bundle import open_bundle
from edge.calibration_file import thresholds_in_force
from edge.camera.image_file import image_files, read_image
from edge.commands.options import BOX
from edge.config import DecisionConfig, OnnxRuntimeConfig
from edge.decide import FrameLimits, Thresholds
from edge.errors import ConfigError, EdgeError, OpenError, OperateError
from edge.inspection import Inspector, Judge, effective_preprocessing
from edge.manifest import Precision, ReferenceLimits
from edge.messages import Box, Frame, Inspection, Outcome, Region, Verdict
from edge.reference_limits import reference_judgement
from edge.runner import open_runner

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("bundle", type=PATH)
@click.argument("images", type=PATH, nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each image, on stdout.")
@click.option("--save-maps", type=PATH, help="Folder for NAME.npz with image_score and anomaly_map.")
@click.option("--calibration", type=PATH, help="Calibration file with the thresholds.")
@click.option("--score-threshold", type=float, help="Reject at this image score or above.")
@click.option("--map-threshold", type=float, help="Reject a region of the map at this value or above.")
@click.option("--min-area-px", type=float, default=0.0, help="Smallest region that rejects, in image pixels.")
@click.option("--roi", type=BOX, help="Region of the image to inspect: X,Y,WIDTH,HEIGHT in pixels.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="Which graph of the bundle.",
)
@click.option("--threads", type=int, default=2, show_default=True, help="Threads of the runner.")
def infer(
    bundle: Path,
    images: tuple[Path, ...],
    as_json: bool,
    save_maps: Path | None,
    calibration: Path | None,
    score_threshold: float | None,
    map_threshold: float | None,
    min_area_px: float,
    roi: Box | None,
    precision: Precision,
    threads: int,
) -> int:
    """Inspect IMAGES (files or folders) with BUNDLE.

    Without a threshold no image can pass: the verdict is then 'recheck'. An image that cannot be read is
    reported, the others still run, and the exit code is 1.
    """
    by_hand = _by_hand(calibration, score_threshold, map_threshold, min_area_px)
    opened = open_bundle(bundle)
    preprocessing = effective_preprocessing(opened, roi)
    thresholds = (
        by_hand
        if calibration is None
        else thresholds_in_force(
            DecisionConfig(calibration=calibration), opened.bundle_id, preprocessing, None
        )
    )
    paths = _files(images)
    folder = _map_folder(save_maps, paths)
    runner = open_runner(opened, OnnxRuntimeConfig(threads=threads, precision=precision))
    inspector = Inspector(opened, runner, preprocessing, time.monotonic_ns)
    judge = Judge(inspector, thresholds, FrameLimits(), _raise)
    reference = opened.manifest.reference
    printer = _JsonPrinter(reference) if as_json else _TablePrinter(reference)
    failed = 0
    for part_id, path in enumerate(paths, start=1):
        try:
            verdict, inspection = judge.judge(_frame(path, part_id))
            if folder is not None and inspection is not None:
                _save_map(folder / f"{path.stem}.npz", inspection)
        except EdgeError as error:
            failed += 1
            printer.failed(path, error)
        else:
            printer.judged(path, verdict)
    printer.end()
    return 1 if failed else 0


class _JsonPrinter:
    """One object a line on stdout; a file that failed has a null score, the verdict 'fault' and an error.

    `reference` is what the network's own library would say, null when the bundle holds no limits of it.
    """

    def __init__(self, reference: ReferenceLimits | None) -> None:
        self._reference = reference

    def judged(self, path: Path, verdict: Verdict) -> None:
        timings = verdict.timings
        self._line(
            path=str(path),
            score=_or_none(verdict.score),
            threshold=_or_none(verdict.threshold),
            verdict=verdict.outcome.value,
            reasons=[reason.value for reason in verdict.reasons],
            regions=[region_as_dict(region) for region in verdict.regions],
            timings_ms={
                "preprocess": timings.preprocess_ms,
                "runner": timings.runner_ms,
                "anomaly_map": timings.anomaly_map_ms,
                "decide": timings.decide_ms,
            }
            if timings
            else {},
            reference=self._judged_by_reference(verdict.score),
            bundle_id=verdict.bundle_id,
        )

    def _judged_by_reference(self, score: float) -> dict[str, Any] | None:
        found = reference_judgement(self._reference, score)
        if found is None or self._reference is None:
            return None
        return {"source": self._reference.source, "score": found.score, "bad": found.bad}

    def failed(self, path: Path, error: EdgeError) -> None:
        _complain(path, error)
        self._line(
            path=str(path),
            score=None,
            threshold=None,
            verdict=Outcome.FAULT.value,
            reasons=[],
            regions=[],
            timings_ms={},
            error=str(error),
        )

    def end(self) -> None:
        """Nothing to add: every line is out."""

    def _line(self, **content: Any) -> None:
        click.echo(json.dumps(content, allow_nan=False))


class _TablePrinter:
    """A table for people, when all images are through."""

    def __init__(self, reference: ReferenceLimits | None) -> None:
        self._reference = reference
        own = [] if reference is None else [reference.source]
        self._table = Table("image", "score", "verdict", "why", "regions", "ms", *own)

    def judged(self, path: Path, verdict: Verdict) -> None:
        timings = verdict.timings
        total = (
            timings.preprocess_ms + timings.runner_ms + timings.anomaly_map_ms + timings.decide_ms
            if timings
            else math.nan
        )
        why = ", ".join(reason.value for reason in verdict.reasons)
        self._table.add_row(
            str(path),
            f"{verdict.score:.4f}",
            verdict.outcome.value.upper(),
            why,
            str(len(verdict.regions)),
            f"{total:.0f}",
            *self._by_reference(verdict.score),
        )

    def _by_reference(self, score: float) -> list[str]:
        if self._reference is None:
            return []
        found = reference_judgement(self._reference, score)
        return ["-" if found is None else f"{found.score:.3f} {'bad' if found.bad else 'good'}"]

    def failed(self, path: Path, error: EdgeError) -> None:
        _complain(path, error)
        self._table.add_row(
            str(path), "-", "FAULT", "cannot be read", "-", "-", *(["-"] if self._reference else [])
        )

    def end(self) -> None:
        Console().print(self._table)


def region_as_dict(region: Region) -> dict[str, Any]:
    """A region for JSON; the box is [x, y, width, height] in pixels of the image."""
    return {
        "box_px": list(region.box_px),
        "area_px": region.area_px,
        "area_mm2": region.area_mm2,
        "peak": region.peak,
    }


def _by_hand(
    calibration: Path | None, score: float | None, map_value: float | None, min_area_px: float
) -> Thresholds:
    if calibration is not None and (score is not None or map_value is not None):
        raise ConfigError(
            "Both a calibration file and thresholds by hand were given.", do="Give one of the two."
        )
    return Thresholds(score=score, map=map_value, min_area_px=min_area_px)


def _files(images: tuple[Path, ...]) -> list[Path]:
    """Folders opened; a file named by hand is kept as it is, so that its own fault is reported."""
    return [path for given in images for path in (image_files(given) if given.is_dir() else [given])]


def _map_folder(folder: Path | None, paths: list[Path]) -> Path | None:
    if folder is None:
        return None
    stems: dict[str, Path] = {}
    for path in paths:
        other = stems.setdefault(path.stem, path)
        if other != path:
            raise ConfigError(
                f"{other} and {path} would both be saved as {path.stem}.npz.",
                do="Give them in two calls with two folders.",
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OpenError(f"{folder} cannot be made: {fault.strerror}.", do="Choose another folder.") from fault
    return folder


def _frame(path: Path, part_id: int) -> Frame:
    image, pixel_format = read_image(path)
    return Frame(part_id, part_id, 0, 0, image, pixel_format, source=str(path))


def _save_map(path: Path, inspection: Inspection) -> None:
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            np.savez(file, image_score=np.float32(inspection.score), anomaly_map=inspection.anomaly_map)
        part.replace(path)
    except OSError as fault:
        part.unlink(missing_ok=True)
        raise OperateError(
            f"{path} cannot be written: {fault.strerror}.", do="Make room or choose another folder."
        ) from fault


def _raise(_frame: Frame, error: OperateError) -> None:
    raise error


def _complain(path: Path, error: EdgeError) -> None:
    text = str(error) if str(path) in str(error) else f"{path}: {error}"
    click.echo(text, err=True)


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
