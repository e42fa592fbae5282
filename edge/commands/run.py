"""`adclip run`: the daemon. What systemd starts, and what a person may start by hand."""

from __future__ import annotations

import logging
from pathlib import Path

import click
from rich.console import Console
from rich.logging import RichHandler

from edge.clock import MonotonicClock
from edge.config import load_station
from edge.messages import Frame, Inspection, Outcome, Verdict
from edge.pipeline import Settled
from edge.station import RunEnd, config_text, open_station, run_station, stop_on_signals

LOG = logging.getLogger("adclip.line")


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The station file.")
@click.option("--quiet", is_flag=True, help="Log alarms only, not every part that is not passed.")
def run(path: Path, quiet: bool) -> int:
    """The daemon: inspect parts until stopped, or until the camera has no more.

    SIGTERM or Ctrl-C ends it in order: no new part is taken, those on the belt still reach the gate, the
    outputs go to their stop level. Exit code 1 when a thread failed or a trigger is unaccounted for.
    """
    console = Console(stderr=True)
    log_to(console)
    config = load_station(path)
    console.print(config_text(config), markup=False, highlight=False, soft_wrap=True)
    with open_station(config) as station, stop_on_signals() as stop:
        LOG.info("ready: %s, %s", station.runner.description, path)
        end = run_station(station, MonotonicClock(), stop, () if quiet else (PartLog(),))
    report_end(end)
    return 0 if end.failed is None and end.accounted else 1


class PartLog:
    """An `Observer` that logs every part that is not passed."""

    def decided(self, frame: Frame, inspection: Inspection | None, verdict: Verdict) -> None:
        """See `Observer.decided`."""

    def settled(self, settled: Settled) -> None:
        """See `Observer.settled`."""
        verdict = settled.verdict
        if verdict.outcome is Outcome.PASS:
            return
        reasons = ", ".join(reason.value for reason in verdict.reasons)
        LOG.info("part %d %s: %s", verdict.part_id, verdict.outcome.value.upper(), reasons)


def log_to(console: Console) -> None:
    """Send the log to a console: coloured on a terminal, plain lines elsewhere; the journal adds the time."""
    handler: logging.Handler = logging.StreamHandler(console.file)
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False)
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def report_end(end: RunEnd) -> None:
    """Say how the run ended: the account, and every alarm."""
    counts = end.counts
    LOG.info(
        "run %d: %d triggers, %d frames, %d verdicts = %d passed + %d rejected + %d recheck + %d fault; "
        "%d unaccounted",
        end.run,
        counts.triggers,
        counts.frames,
        counts.verdicts,
        counts.passed,
        counts.rejected,
        counts.recheck,
        counts.fault,
        counts.unaccounted,
    )
    for alarm in end.alarms:
        LOG.warning("alarm %s, %d times, last: %s", alarm.name, alarm.count, alarm.detail)
    if end.failed is not None:
        LOG.error("the %s thread failed; the outputs have their declared level", end.failed)
    elif not end.accounted:
        LOG.error("the account does not close: camera %s, records %s", end.camera, end.records)
