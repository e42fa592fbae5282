"""How figures are written for people: the same on the sheet, on the page and in the terminal."""

from __future__ import annotations

import math

from calibration.results import LeftOut, PartResult, Rate
from edge.metrics import ErrorRate, GroupedInterval

UNDEFINED = "not defined"
NAMED_AT_MOST = 12
"""Part ids written out before a list is cut short."""


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage: two decimals below 1 % and above 99 %, none where it is exact."""
    if not math.isfinite(share):
        return UNDEFINED
    value = 100 * share
    if value == round(value):
        return f"{value:.0f} %"
    return f"{value:.1f} %" if 1 <= value <= 99 else f"{value:.2f} %"


def interval(found: ErrorRate | GroupedInterval) -> str:
    """A two-sided interval in percent."""
    return f"{percent(found.low)} to {percent(found.high)}"


def errors_of(found: ErrorRate) -> str:
    """`errors of trials`."""
    return f"{found.errors} of {found.trials}"


def rate_words(rate: Rate, of: str) -> str:
    """A rate in one line, with its exact interval."""
    found = rate.exact
    if not found.trials:
        return f"{UNDEFINED}: no {of} part"
    return f"{errors_of(found)} {of}, {percent(found.rate)} (95 %: {interval(found)})"


def figure(value: float, digits: int = 4) -> str:
    """A figure of merit, or the word for a missing one."""
    return f"{value:.{digits}f}" if math.isfinite(value) else UNDEFINED


def milliseconds(value: float) -> str:
    """A time in milliseconds."""
    return f"{value:.1f} ms" if math.isfinite(value) else "none"


def left_out_words(left_out: LeftOut) -> str:
    """Why parts are missing from a figure, how many, and which."""
    ids = ", ".join(str(part_id) for part_id in left_out.part_ids[:NAMED_AT_MOST])
    more = len(left_out.part_ids) - NAMED_AT_MOST
    return f"{left_out.why}: {len(left_out.part_ids)} (part {ids}{f' and {more} more' if more > 0 else ''})"


def truth_words(part: PartResult) -> str:
    """What is true of the part, in a word."""
    if part.truth is None:
        return "truth unknown"
    return part.truth.defect.replace("_", " ") if part.truth.defective else "good part"


def reason_words(part: PartResult) -> str:
    """Why the part got its outcome."""
    return ", ".join(reason.value.replace("_", " ") for reason in part.reasons)


def score_words(part: PartResult) -> str:
    """Score against threshold, or why there is none."""
    if not math.isfinite(part.score):
        return reason_words(part) or "no score"
    against = f", threshold {part.threshold:.3f}" if math.isfinite(part.threshold) else ""
    return f"score {part.score:.3f}{against}"
