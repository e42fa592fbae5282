"""A run's report as files: picture sheet, page and summary in one folder."""

from __future__ import annotations

import io
from pathlib import Path

from calibration.page import report_page
from calibration.results import RunResult
from calibration.sheet import picture_sheet
from calibration.summary import summary_text
from edge.errors import OpenError

SHEET, PAGE, SUMMARY = "sheet.png", "report.html", "summary.json"


def write_report(result: RunResult, folder: Path) -> tuple[Path, ...]:
    """Write `sheet.png`, `report.html` and `summary.json` into `folder`, creating it; returns their paths.

    Each file is replaced whole. Raises `OpenError` when the folder cannot be written.
    """
    coded = io.BytesIO()
    picture_sheet(result).save(coded, "PNG")
    contents = {
        SHEET: coded.getvalue(),
        PAGE: report_page(result, coded.getvalue()).encode(),
        SUMMARY: summary_text(result).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(_replace(folder / name, content) for name, content in contents.items())
    except OSError as fault:
        raise OpenError(
            f"The report cannot be written to {folder}: {fault.strerror or fault}.",
            do="Give a folder that can be written and has room, with --report.",
        ) from fault


def _replace(path: Path, content: bytes) -> Path:
    """Write beside and rename, so that a reader finds the old file or the new one and never half of it."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
    return path
