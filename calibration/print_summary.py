"""The figures of a run as a compact table for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from calibration.results import Rate, RunResult
from calibration.wording import errors_of, figure, interval, left_out_words, milliseconds, rate_words
from edge.messages import Outcome


def print_summary(console: Console, result: RunResult) -> None:
    """Print the figures of a run as one compact table, readable in a pipe too."""
    table = Table(
        title=result.identity.title, title_justify="left", show_header=False, box=None, pad_edge=False
    )
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _lines(result):
        table.add_row(name, text)
    console.print(table)
    if result.identity.note:
        console.print(result.identity.note, style="yellow", markup=False, highlight=False)


def _lines(result: RunResult) -> list[tuple[str, str]]:
    return [*_count_lines(result), *_figure_lines(result), *_time_lines(result)]


def _count_lines(result: RunResult) -> list[tuple[str, str]]:
    counts = result.counts
    outcomes = ", ".join(f"{result.outcomes[outcome]} {outcome.value}" for outcome in Outcome)
    caught = [(f"  {kind.defect}", f"{errors_of(kind.caught)} not passed") for kind in result.detection]
    late = f", late pulses: {counts.late_actions}" if counts.late_actions else ""
    flow = f"{counts.triggers} triggers, {counts.frames} frames, {counts.verdicts} verdicts"
    return [
        ("parts", f"{len(result.parts)}: {outcomes}"),
        ("accounting", f"{flow}; {result.unaccounted} unaccounted{late}"),
        ("escapes", rate_words(result.escapes, "defective")),
        *_over_items(result.escapes),
        *caught,
        ("overkill", rate_words(result.overkill, "good")),
        *_over_items(result.overkill),
    ]


def _over_items(rate: Rate) -> list[tuple[str, str]]:
    """The interval to quote where several pictures show the same item."""
    if rate.by_group is None:
        return []
    return [("  over items", f"95 %: {interval(rate.by_group)} ({rate.by_group.groups} items)")]


def _figure_lines(result: RunResult) -> list[tuple[str, str]]:
    image, pixel = result.image, result.pixel
    best = f"{figure(image.f1_max)} at threshold {figure(image.f1_threshold, 3)}"
    left_out = [("  left out", left_out_words(out)) for out in image.left_out]
    left_out_of_pixels = [("  left out", left_out_words(out)) for out in pixel.left_out]
    return [
        ("image", f"AUROC {figure(image.auroc)}, F1-max {best}, {image.parts} parts"),
        *left_out,
        ("pixel", f"AUROC {figure(pixel.auroc)}, AUPRO to 0.3 {figure(pixel.aupro_30)}, {pixel.parts} maps"),
        *left_out_of_pixels,
    ]


def _time_lines(result: RunResult) -> list[tuple[str, str]]:
    latency, margin = result.latency_ms, result.margin_ms
    return [
        (
            "latency",
            f"p50 {milliseconds(latency.p50)}, p99 {milliseconds(latency.p99)}, "
            f"worst {milliseconds(latency.maximum)}",
        ),
        (
            "margin",
            f"least {milliseconds(margin.minimum)}, p1 {milliseconds(margin.p1)}, "
            f"p50 {milliseconds(margin.p50)}; {result.late} late",
        ),
    ]
