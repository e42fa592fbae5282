"""The report folder: `parity.json` and the page, beside the bundle and never inside it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from edge.errors import ConfigError, OpenError
from export.verify.differences import PairFigures
from export.verify.page import report_page
from export.verify.proof import Proof, SetResult

FIGURES, PAGE = "parity.json", "parity.html"


def default_folder(bundle: Path) -> Path:
    """`<BUNDLE>.parity` beside the bundle."""
    bundle = bundle.resolve()
    return bundle.with_name(f"{bundle.name}.parity")


def check_folder(folder: Path, bundle: Path) -> None:
    """Raise `ConfigError` unless the report may go there: a new or empty folder, or an earlier report."""
    if folder.resolve().is_relative_to(bundle.resolve()):
        raise ConfigError(
            f"{folder} lies in the bundle, which is sealed.", do="Give --report a folder outside it."
        )
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder.", do="Give --report a folder.")
    foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in (FIGURES, PAGE))
    if foreign:
        raise ConfigError(
            f"{folder} holds {foreign[0]}, which is not part of a parity report, so nothing is written there.",
            do="Give --report a new folder.",
        )


def write_report(proof: Proof, folder: Path, written_utc: str) -> tuple[Path, Path]:
    """Write both files, each replaced whole; returns their paths. Raises `OpenError` when that fails."""
    contents = {
        FIGURES: json.dumps(report_figures(proof, written_utc), indent=2, allow_nan=False) + "\n",
        PAGE: report_page(proof, written_utc),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            part = folder / f".{name}.part"
            part.write_text(content, encoding="utf-8")
            part.replace(folder / name)
    except OSError as fault:
        raise OpenError(
            f"The report cannot be written to {folder}: {fault.strerror or fault}.",
            do="Give a folder that can be written and has room, with --report.",
        ) from fault
    return folder / FIGURES, folder / PAGE


def report_figures(proof: Proof, written_utc: str) -> dict[str, Any]:
    """The content of `parity.json`; a value that is not a number is null."""
    limits = proof.thresholds
    figures = {
        "passed": proof.passed,
        "faults": proof.faults(),
        "where_it_starts": proof.starts or None,
        "bundle": str(proof.bundle.folder),
        "bundle_id": proof.bundle.bundle_id,
        "written_utc": written_utc,
        "thresholds": {
            "score": limits.score,
            "recheck_score": limits.recheck_score,
            "map": limits.map,
            "min_area_px": limits.min_area_px,
        },
        "run": [{"form": name, "by": what} for name, what in proof.rungs],
        "not_run": [{"form": one.name, "why": one.why} for one in proof.missing],
        "sets": [_set_figures(one) for one in proof.sets],
    }
    cleaned: dict[str, Any] = _without_nan(figures)
    return cleaned


def _set_figures(one: SetResult) -> dict[str, Any]:
    return {
        "name": one.name,
        "pictures": one.pictures,
        "unusable": [{"picture": name, "why": why} for name, why in one.bad],
        "pairs": [_pair_figures(pair.figures) for pair in one.pairs],
        "labels": {rung: asdict(ranking) for rung, ranking in one.rankings},
    }


def _pair_figures(figures: PairFigures) -> dict[str, Any]:
    """All fields; without a threshold, flips and guard band are null and not 0."""
    closeness = {"flips": None, "guard_band": None, "score_margin": None, "map_margin": None}
    if figures.closeness is not None:
        closeness = asdict(figures.closeness)
    values = {
        field.name: getattr(figures, field.name) for field in fields(figures) if field.name != "closeness"
    }
    spreads = {name: asdict(values[name]) for name in ("score", "grid", "map", "allowed")}
    return values | spreads | closeness | {"within_tolerance": figures.within, "passed": figures.passed}


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value
