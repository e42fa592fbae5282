"""The proof in the terminal: one row for each pair, and what could not be run."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from export.verify.differences import PairFigures
from export.verify.proof import Proof, SetResult
from export.verify.wording import RANKING_NAMES, change, error, margin, merit

PIPE_WIDTH = 150
"""Columns where the output is no terminal, so that no figure is cut."""


def result_console() -> Console:
    """On stdout; wide in a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def print_proof(proof: Proof, console: Console) -> None:
    """Tables, what was not run, and the answer."""
    console.print(_pairs_table(proof))
    for one in proof.sets:
        if one.rankings:
            console.print(_labels_table(one))
    for missing in proof.missing:
        console.print(f"{missing.name}: not run. {missing.why}", markup=False, soft_wrap=True)
    for gap in proof.gaps():
        console.print(gap, markup=False, soft_wrap=True)
    _print_answer(proof, console)


def _print_answer(proof: Proof, console: Console) -> None:
    if proof.passed:
        console.print(f"PROVEN on {proof.proven_on}.", style="bold green", soft_wrap=True)
        return
    console.print(f"NOT PROVEN on {proof.proven_on}.", style="bold red", soft_wrap=True)
    for fault in [*proof.faults(), proof.starts]:
        if fault:
            console.print(fault, markup=False, soft_wrap=True)


def _pairs_table(proof: Proof) -> Table:
    table = Table("", "forms", title_justify="left")
    for name in ("score error", "map error", "flips", "guard band", "smallest margin"):
        table.add_column(name, justify="right")
    table.add_column("")
    for one in proof.sets:
        for pair in one.pairs:
            table.add_row(one.counted, *_cells(pair.figures))
        table.add_section()
    return table


def _cells(figures: PairFigures) -> list[str]:
    allowed, close = figures.allowed, figures.closeness
    flips, guard, margins = "-", "-", "-"
    if close is not None:
        flips, guard = str(close.flips), str(close.guard_band)
        margins = f"score {margin(close.score_margin)}, map {margin(close.map_margin)}"
    return [
        escape(f"{figures.first} ↔ {figures.second}"),
        f"{error(figures.score.maximum)} of {error(allowed.score)}",
        f"{error(figures.map.maximum)} of {error(allowed.map)}",
        flips,
        guard,
        margins,
        "[green]ok[/]" if figures.passed else "[bold red]FAILS[/]",
    ]


def _labels_table(one: SetResult) -> Table:
    table = Table("against the labels")
    for name in RANKING_NAMES.values():
        table.add_column(name, justify="right")
    first = one.rankings[0][1]
    for at, (rung, ranking) in enumerate(one.rankings):
        cells = []
        for field in RANKING_NAMES:
            value = getattr(ranking, field)
            gained = change(getattr(first, field), value) if at else ""
            cells.append(f"{merit(value)} ({gained})" if gained else merit(value))
        table.add_row(escape(rung), *cells)
    return table
