"""What the figures of a run mean, in sentences: what they show, and what they cannot show."""

from __future__ import annotations

from calibration.results import AUPRO_LIMIT, Rate, RunResult
from calibration.wording import errors_of, interval, left_out_words, percent
from edge.messages import Outcome
from edge.metrics import ErrorRate, parts_needed

_CLAIM = 0.01
"""The rate for which the text says how many parts a claim takes."""
_FEW_GROUPS = 20
_SIMULATED = (
    "Parts, light, camera noise and defects of this run were computed, and a model that has learnt from "
    "pictures of the same making does better here than on real parts. Measure on your own parts before you "
    "believe any rate."
)


def meaning(result: RunResult) -> list[tuple[str, str]]:
    """(heading, text) for each figure that needs words; plain text."""
    said = [
        ("Escapes", _escapes(result)),
        ("Overkill", _overkill(result)),
        ("Intervals", _intervals(result)),
        ("Image AUROC, average precision, F1-max", _image(result)),
        ("Pixel AUROC, AUPRO", _pixel(result)),
        ("Latency and margin", _time(result)),
    ]
    if result.identity.simulated:
        said.insert(0, ("Simulated line", _SIMULATED))
    return said


def claim_words(found: ErrorRate) -> str:
    """What a rate proves, and what a stronger claim takes."""
    if not found.trials:
        return "There was no such part, so nothing can be said."
    if found.errors:
        return (
            f"{errors_of(found)} is {percent(found.rate)}; the true rate may lie anywhere from "
            f"{interval(found)}."
        )
    return (
        f"None in {found.trials} does not mean never: the true rate may be as high as {percent(found.high)}. "
        f"To claim at most {percent(_CLAIM)} takes {parts_needed(_CLAIM)} parts without an error."
    )


def _escapes(result: RunResult) -> str:
    return (
        "An escape is a defective part that passed. RECHECK and FAULT leave the line by the reject gate, so "
        f"a defective part with either has not escaped. {claim_words(result.escapes.exact)}"
    )


def _overkill(result: RunResult) -> str:
    return (
        "Overkill is a good part that did not pass. A good part with RECHECK or FAULT counts, because it was "
        f"physically rejected; faults in this run: {result.outcomes[Outcome.FAULT]}. "
        f"{claim_words(result.overkill.exact)}"
    )


def _intervals(result: RunResult) -> str:
    text = (
        "Intervals are two-sided at 95 % confidence, exact (Clopper-Pearson), and take every part as "
        "independent evidence."
    )
    groups = [rate.by_group.groups for rate in (result.escapes, result.overkill) if rate.by_group]
    if not groups:
        return text
    text += (
        " Here several pictures show the same item and resemble each other, so that overstates the evidence. "
        "The intervals over items take whole items as evidence and are the ones to quote: "
        f"for escapes {_method(result.escapes)}, for overkill {_method(result.overkill)}."
    )
    return text + (" With so few items even they are rough." if min(groups) < _FEW_GROUPS else "")


def _method(rate: Rate) -> str:
    if rate.by_group is None:
        return "no item was shared"
    if rate.by_group.method == "groups":
        return f"{rate.by_group.groups} items, exact, each item counted once"
    return f"{rate.by_group.groups} items, bootstrap, never narrower than the exact interval"


def _image(result: RunResult) -> str:
    figures = result.image
    text = (
        "AUROC is the chance that a defective part scores above a good one; it is blind to the threshold, "
        "and a perfect value can go with escapes. F1-max is the best balance that any threshold would have "
        "reached on these very parts: optimistic, and tied to this share of defective parts. "
        f"Over {figures.parts} parts."
    )
    return " ".join([text, *(f"Left out, {left_out_words(out)}." for out in figures.left_out)])


def _pixel(result: RunResult) -> str:
    figures = result.pixel
    text = (
        "Pixel AUROC compares every pixel of every map with the mask and is dominated by easy background. "
        "AUPRO is the mean share of each connected defect region that is found (8-neighbourhood), integrated "
        f"over the share of normal pixels wrongly marked from 0 to {AUPRO_LIMIT} and divided by it; every "
        "distinct value is a threshold. Masks are brought to the map's grid so that a map pixel counts as "
        "defect when any defect pixel lies in it: thin scratches must not vanish, and the rim this adds "
        f"makes the figures stricter. Over {figures.parts} parts with {figures.regions} defect regions."
    )
    return " ".join([text, *(f"Left out, {left_out_words(out)}." for out in figures.left_out)])


def _time(result: RunResult) -> str:
    late = f"{result.late} of {len(result.parts)} parts had no verdict in time and were rejected as faults."
    return (
        "Latency runs from the trigger to the verdict. Margin is the time left before the part's deadline, "
        f"the last moment at which its verdict could still move the gate. {late}"
    )
