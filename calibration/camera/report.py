"""A calibration run as it is reported: a page for people and the same as JSON."""

from __future__ import annotations

from typing import Any

from calibration.camera.findings import CalibrationReport
from calibration.camera.page import report_page


def report_files(report: CalibrationReport) -> dict[str, bytes]:
    """The page and its JSON twin, by file name."""
    return {
        f"{report.stem}.html": report_page(report).encode(),
        f"{report.stem}.json": (report_json(report) + "\n").encode(),
    }


def report_json(report: CalibrationReport) -> str:
    """All but the pictures, as JSON."""
    without: dict[str, Any] = {"steps": {"__all__": {"pictures"}}}
    return report.model_dump_json(indent=2, exclude=without)
