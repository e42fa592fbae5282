"""`adclip records report`: a recorded run joined with what is true of its pictures.

Scores and verdicts are the recorded ones. Maps are not kept in the records; they are computed again from the
stored frames, with the run's own bundle and preprocessing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from calibration.print_summary import print_summary
from calibration.report import write_report
from calibration.results import PartResult, RunIdentity, RunResult, run_result
from calibration.summary import summary_text
from calibration.truth import Manifest, ManifestRow, Truth, read_manifest, read_truth
from edge.account import Counts
from edge.decide import Thresholds
from edge.errors import ConfigError
from edge.inspection import Inspector
from edge.messages import Frame, Outcome
from edge.overlay import mask_on_map, thumbnail
from edge.recorded import recorded_inspector
from edge.records import PartRecord, RecordReader, Run, RunInfo, open_records

MOST_MAP_PX = 200_000_000
"""Map pixels held for the pixel figures, 4 bytes each and twice; beyond that, every n-th map is taken."""
MOST_PICTURES_OF_A_KIND = 48
"""Thumbnails kept of escapes, of overkill, and of rejected parts of one kind of defect."""
SCORE_TOLERANCE = 2e-5
"""Between the recorded score and the one computed again; runners differ in the last digits."""


def report_run(
    directory: Path,
    truth: Path,
    *,
    run: int | None,
    report_dir: Path | None,
    console: Console,
    as_json: bool,
    bundle: Path | None = None,
) -> RunResult:
    """Judge run number `run` (None: the last) of a records directory against a manifest, and say so.

    Prints a table, or `summary.json` with `as_json`, on `console`; progress goes to stderr. Writes the report
    when `report_dir` is given. `bundle` says where the run's bundle is now, if it moved. Raises `ConfigError`,
    `BundleError`, `OpenError` or `OperateError`.
    """
    manifest = read_manifest(truth)
    with open_records(directory) as reader:
        found = reader.run(run)
        records = list(reader.parts(found.number))
        rows = _matched(manifest, records, found)
        with recorded_inspector(found.info, bundle) as inspector:
            witness = _Witness(reader, inspector, rows, _every(records, inspector))
            parts = [witness.part(record) for record in _watched(records, inspector)]
            notes = (*_run_notes(found), *witness.notes(found.info))
    result = run_result(parts, _counts(found, records), _identity(found, notes))
    if report_dir is not None:
        write_report(result, report_dir)
    if as_json:
        console.out(summary_text(result), end="", highlight=False)
    else:
        print_summary(console, result)
    return result


@dataclass(slots=True)
class _Witness:
    """Sees the stored frames of a run again, one part at a time, keeping only what the report will show."""

    reader: RecordReader
    inspector: Inspector
    rows: Mapping[str, ManifestRow]
    every: int
    _seen: int = 0
    _kept: Counter[str] = field(default_factory=Counter)
    _moved: int = 0

    def part(self, record: PartRecord) -> PartResult:
        """The record joined with its truth, its map and its picture, as far as they are there."""
        row = self.rows.get(record.source)
        truth = None if row is None else read_truth(row)
        part = _without_pictures(record, truth)
        frame = self.reader.frame(record)
        if frame is None or frame.image is None:
            return part
        if self._is_shown(part):
            part = replace(part, thumbnail=thumbnail(frame, self.inspector.preprocessing))
        if record.outcome is Outcome.FAULT or truth is None:
            return part
        self._seen += 1
        return part if self._seen % self.every else self._with_map(part, frame, truth)

    def notes(self, info: RunInfo) -> Iterator[str]:
        """What a reader must know about the maps."""
        runner = self.inspector.runner.description
        if runner != info.runner:
            yield f"maps computed again with {runner}, recorded with {info.runner}"
        if self._moved:
            yield f"{self._moved} scores came out differently when the maps were computed again"
        if self.every > 1:
            yield f"pixel figures from every {self.every}. map, for lack of memory"

    def _with_map(self, part: PartResult, frame: Frame, truth: Truth) -> PartResult:
        inspection = self.inspector.inspect(frame)
        if not abs(inspection.score - part.score) <= SCORE_TOLERANCE:
            self._moved += 1
        mask = None
        if truth.mask is not None:
            _check_size(truth, frame, part.source)
            mask = mask_on_map(truth.mask, inspection.roi_px, inspection.anomaly_map.shape)
        return replace(part, anomaly_map=inspection.anomaly_map, mask=mask)

    def _is_shown(self, part: PartResult) -> bool:
        """Whether the report may show the part; long runs hold more rejected parts than it can."""
        if part.passed and not part.escaped:
            return False
        kind = "overkill" if part.overkilled else f"{part.passed} {part.truth.defect if part.truth else ''}"
        self._kept[kind] += 1
        return self._kept[kind] <= MOST_PICTURES_OF_A_KIND


def _without_pictures(record: PartRecord, truth: Truth | None) -> PartResult:
    decided_ns = record.decided_ns
    return PartResult(
        part_id=record.part_id,
        outcome=record.outcome,
        reasons=record.reasons,
        score=record.score,
        threshold=record.threshold,
        latency_ms=float("nan") if decided_ns is None else (decided_ns - record.triggered_ns) / 1e6,
        margin_ms=record.margin_ms,
        truth=None if truth is None else replace(truth, mask=None),
        source=record.source,
    )


def _matched(manifest: Manifest, records: Sequence[PartRecord], run: Run) -> Mapping[str, ManifestRow]:
    sources = {record.source: None for record in records if record.source}
    if not sources:
        raise ConfigError(
            f"No part of run {run.number} was replayed from a picture file, so no manifest can say what is "
            "true of it.",
            do="Name a run of the replay camera; 'adclip demo --report' reports the simulated line.",
        )
    return manifest.match(sources)


def _watched(records: Sequence[PartRecord], inspector: Inspector) -> Iterator[PartRecord]:
    """The records, with a progress bar on a terminal and one line in a pipe."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(
            f"computing the maps of {len(records)} parts with {inspector.runner.description}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    yield from track(records, "computing maps", console=console, disable=not console.is_terminal)


def _every(records: Sequence[PartRecord], inspector: Inspector) -> int:
    """Take every n-th map so that all fit in memory."""
    stored = sum(record.image_path is not None for record in records)
    return max(1, -(-stored * math.prod(inspector.bundle.manifest.preprocessing.size_px) // MOST_MAP_PX))


def _counts(run: Run, records: Sequence[PartRecord]) -> Counts:
    """The line's final counts; counted from the records for a run that never ended."""
    if run.counters is not None:
        known = {item.name for item in fields(Counts)}
        return Counts(**{name: int(value) for name, value in run.counters.items() if name in known})
    counts = Counts(triggers=len(records), frames=sum(record.captured_ns is not None for record in records))
    for record in records:
        counts = counts.settled(record.outcome, record.action)
    return counts


def _run_notes(run: Run) -> Iterator[str]:
    if run.counters is None:
        yield "the run did not end cleanly; its counts were made from its records"


def _identity(run: Run, notes: tuple[str, ...]) -> RunIdentity:
    info = run.info
    return RunIdentity(
        bundle_id=info.bundle_id,
        config_id=info.config_id,
        thresholds=Thresholds(**info.thresholds),
        title=f"Run {run.number} of {info.station}",
        station=info.station,
        started_utc=info.started_utc,
        notes=notes,
    )


def _check_size(truth: Truth, frame: Frame, source: str) -> None:
    if truth.mask is None or frame.image is None:
        return
    height, width = frame.image.shape[:2]
    if truth.mask.shape != (height, width):
        raise ConfigError(
            f"The mask of {source} is {truth.mask.shape[1]} x {truth.mask.shape[0]} px, its picture {width} x "
            f"{height} px.",
            do="Draw the mask on the picture as it is.",
        )
