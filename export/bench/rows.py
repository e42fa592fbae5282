"""Figures, how they are shown, and how they are kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `ratio` is value / baseline, None without a baseline."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None


def against(name: str, value: float, unit: str, baseline: float) -> Row:
    """A figure with what it is compared to."""
    return Row(name, value, unit, baseline, value / baseline)


def table_of(title: str, rows: Sequence[Row]) -> Table:
    """The rows for the terminal."""
    table = Table("figure", "value", "unit", "baseline", "ratio", title=title, title_justify="left")
    for row in rows:
        table.add_row(
            row.name,
            _shown(row.value),
            row.unit,
            "" if row.baseline is None else _shown(row.baseline),
            "" if row.ratio is None else f"{row.ratio:.2f}",
        )
    return table


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """All rows as a JSON list, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _shown(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
