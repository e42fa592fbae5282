"""`adclip replay`: re-decide the stored raw frames of a run; the verdicts must come out the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track

from edge.decide import FrameLimits, Thresholds
from edge.errors import OperateError
from edge.inspection import Inspector, Judge
from edge.messages import Frame, Reason, Verdict
from edge.recorded import recorded_config, recorded_inspector, recorded_light
from edge.records import PartRecord, RecordReader, Run, RunInfo, open_records

SCORE_TOLERANCE = 2e-5
"""For another runner than the recorded one; the same runner must repeat every bit."""

MADE_BY_TIME = {Reason.NO_VERDICT_IN_TIME, Reason.MISSING_FRAME, Reason.OVERFLOW, Reason.STOPPED}
"""Faults that lie in what happened on the line, not in the picture."""

LISTED = 50


@dataclass(slots=True)
class Comparison:
    """What a replay found."""

    same: int = 0
    without_frame: int = 0
    made_by_time: int = 0
    differences: list[str] = field(default_factory=list)


@click.command()
@click.argument("records", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--run", "number", type=click.IntRange(1), help="Number of the run; the last one if not given.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Where the run's bundle is now, if it moved.")
def replay(records: Path, number: int | None, bundle: Path | None) -> int:
    """Re-decide the stored frames of RUN (a records directory) and compare with the recorded verdicts.

    On the recorded runner, scores must be equal bit for bit. Any difference is listed and ends with exit
    code 1.
    """
    console = Console(stderr=True)
    with open_records(records) as reader:
        run = reader.run(number)
        with recorded_inspector(run.info, bundle) as inspector:
            found = _replayed(reader, run, inspector, console)
    for line in found.differences[:LISTED]:
        click.echo(line)
    if len(found.differences) > LISTED:
        click.echo(f"… and {len(found.differences) - LISTED} more")
    click.echo(
        f"run {run.number}: {found.same} parts decided the same, {len(found.differences)} differ; "
        f"{found.without_frame} without a stored frame, {found.made_by_time} faults of timing left out"
    )
    return 1 if found.differences else 0


def _replayed(reader: RecordReader, run: Run, inspector: Inspector, console: Console) -> Comparison:
    judge, runner = _judge_of(run.info, inspector), inspector.runner.description
    exact = runner == run.info.runner
    if not exact:
        console.print(
            f"Recorded with {run.info.runner}, replayed with {runner}: scores are compared within "
            f"{SCORE_TOLERANCE}.",
            highlight=False,
        )
    found = Comparison()
    parts, total = reader.parts(run.number), reader.part_count(run.number)
    for record in track(parts, description="replaying", total=total, console=console):
        _compare(record, reader, judge, exact, found)
    return found


def _compare(record: PartRecord, reader: RecordReader, judge: Judge, exact: bool, found: Comparison) -> None:
    if MADE_BY_TIME.intersection(record.reasons):
        found.made_by_time += 1
        return
    frame = reader.frame(record)
    if frame is None:
        found.without_frame += 1
        return
    verdict, _ = judge.judge(frame)
    differences = list(_differences(record, verdict, exact))
    if differences:
        found.differences.append(f"part {record.part_id}: " + "; ".join(differences))
    else:
        found.same += 1


def _differences(record: PartRecord, verdict: Verdict, exact: bool) -> Iterator[str]:
    if not _equal(record.score, verdict.score, exact):
        yield f"score {record.score!r} → {verdict.score!r}"
    if record.outcome is not verdict.outcome:
        yield f"{record.outcome.value} → {verdict.outcome.value}"
    if record.reasons != verdict.reasons:
        yield f"reasons {_names(record.reasons)} → {_names(verdict.reasons)}"
    if exact and record.regions != verdict.regions:
        yield f"regions {len(record.regions)} → {len(verdict.regions)} or moved"


def _equal(recorded: float, found: float, exact: bool) -> bool:
    if math.isnan(recorded) or math.isnan(found):
        return math.isnan(recorded) and math.isnan(found)
    return recorded == found if exact else abs(recorded - found) <= SCORE_TOLERANCE


def _names(reasons: tuple[Reason, ...]) -> str:
    return ", ".join(reason.value for reason in reasons) or "none"


def _judge_of(info: RunInfo, inspector: Inspector) -> Judge:
    limits = recorded_config(info).limits
    frame_limits = FrameLimits(limits.exposure_us, limits.gain_db)
    return Judge(inspector, Thresholds(**info.thresholds), frame_limits, _ignore, recorded_light(info))


def _ignore(_frame: Frame, _error: OperateError) -> None:
    """The verdict says FAULT; the comparison tells whether that is new."""
