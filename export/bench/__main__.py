"""Measure, print, and write `build/bench.json`.

    python -m export.bench [frames] [networks]

Without a name everything is measured; the networks take some minutes.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

# One core for the matrix products of NumPy, before it is loaded: so do the daemon's units.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from rich.console import Console

from edge.errors import EdgeError
from export.bench import frame_to_action, networks
from export.bench.rows import Row, table_of, write_rows

BENCH = Path(__file__).resolve().parents[2] / "build" / "bench.json"

PARTS: dict[str, tuple[str, Callable[[Console], list[Row]]]] = {
    "frames": ("a full frame, 4096 x 2160 BayerRG8", frame_to_action.measure),
    "networks": ("networks at 518 px, one picture", networks.measure),
}


def main(names: list[str]) -> int:
    """Measure the named parts. Returns 0, or 2 after an error that a person can mend."""
    console = Console()
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        console.print(f"There is no figure {unknown[0]}; there are {', '.join(PARTS)}.", style="red")
        return 2
    rows = []
    try:
        for name in names or PARTS:
            title, measure = PARTS[name]
            found = measure(console)
            where = f"{os.cpu_count()} cores of {platform.machine()}, without a GPU"
            console.print(table_of(f"{title}; {where}", found))
            rows += found
    except EdgeError as error:
        console.print(f"{error.what} {error.do}", style="red")
        return 2
    write_rows(BENCH, rows)
    console.print(f"written to {BENCH.relative_to(BENCH.parents[1])}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
