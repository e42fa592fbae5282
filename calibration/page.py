"""The report as one HTML file: opens offline, needs no script, reads in light, in dark and on paper."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from PIL import Image

from calibration.charts import Marker, Panel, histogram
from calibration.meaning import meaning
from calibration.results import SIMULATED_NOTE, PartResult, Rate, RunResult
from calibration.sheet import pair, scale_of
from calibration.wording import (
    errors_of,
    figure,
    interval,
    milliseconds,
    percent,
    reason_words,
    score_words,
    truth_words,
)
from edge.messages import Outcome
from edge.overlay import MapScale

MOST_PICTURES = 48
"""Pictures in each of the two lists; the rest is counted."""
_SIDE = 224
_WIDE_PX, _NARROW_PX = 960, 460
_JPEG_QUALITY = 90


def report_page(result: RunResult, sheet_png: bytes) -> str:
    """The whole page, everything embedded; equal input gives equal text."""
    identity = result.identity
    notice = f'<p class="notice">{escape(SIMULATED_NOTE)}</p>' if identity.simulated else ""
    notes = "".join(f'<p class="alarm">{escape(note)}</p>' for note in identity.notes)
    lists = _wrong_parts(result)
    template = Template(files("calibration").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(identity.title),
        subtitle=escape(_subtitle(result)),
        notice=notice + notes,
        counts=_counts(result),
        alarms=_alarms(result),
        verdicts=_verdicts(result),
        rates=_rates(result),
        detection=_detection(result),
        ranking=_ranking(result),
        **_charts(result),
        escapes=lists[0],
        overkill=lists[1],
        sheet=_data_uri(sheet_png, "png"),
        sheet_alt="Rejected parts, escapes and overkill: each as seen, and with its anomaly map",
        sheet_caption="Left: the part as the model sees it. Right: the anomaly map over it, one colour scale "
        "for the whole run; the cyan outline is the true defect.",
        meaning="".join(f"<h3>{escape(name)}</h3><p>{_html(text)}</p>" for name, text in meaning(result)),
        identities=_identities(result),
    )


def _subtitle(result: RunResult) -> str:
    identity = result.identity
    seed = "" if identity.seed is None else f"seed {identity.seed}"
    station = f"station {identity.station}" if identity.station else ""
    return " · ".join(text for text in (station, identity.product, seed, identity.started_utc) if text)


def _counts(result: RunResult) -> str:
    passed = result.outcomes[Outcome.PASS]
    escapes, overkill = result.escapes.exact, result.overkill.exact
    cards = [
        ("", str(len(result.parts)), "parts"),
        ("", str(passed), "passed"),
        ("", str(len(result.parts) - passed), "physically rejected"),
        (_tone(escapes.errors), str(escapes.errors), f"escapes of {escapes.trials} defective"),
        (_tone(overkill.errors), str(overkill.errors), f"overkill of {overkill.trials} good"),
        (_tone(result.unaccounted), str(result.unaccounted), "unaccounted for"),
    ]
    return "".join(
        f'<div class="count {tone}"><b>{value}</b><span>{escape(label)}</span></div>'
        for tone, value, label in cards
    )


def _tone(errors: int) -> str:
    return "wrong" if errors else "fine"


def _alarms(result: RunResult) -> str:
    said = []
    if result.unaccounted:
        said.append(
            f"Triggers without an outcome: {result.unaccounted}. The accounting of this run is broken."
        )
    if result.counts.late_actions:
        said.append(
            f"Pulses that could no longer be given in time: {result.counts.late_actions}. Those parts went on, "
            "whatever their verdict says."
        )
    if result.unknown:
        said.append(f"Parts without a known truth: {result.unknown}. They enter no rate.")
    return "".join(f'<p class="alarm">{escape(text)}</p>' for text in said)


def _verdicts(result: RunResult) -> str:
    rows = []
    for name, wanted in (("good", False), ("defective", True), ("truth unknown", None)):
        parts = [part for part in result.parts if _is(part, wanted)]
        if parts:
            rows.append([name, *(_verdict_cell(parts, outcome, wanted) for outcome in Outcome), len(parts)])
    heads = ["", *(outcome.value.upper() for outcome in Outcome), "all"]
    return _table(heads, rows, numbers=True) + '<p class="quiet">! marks escapes and overkill.</p>'


def _is(part: PartResult, wanted: bool | None) -> bool:
    return (
        (part.truth is None)
        if wanted is None
        else (part.truth is not None and part.truth.defective is wanted)
    )


def _verdict_cell(parts: Sequence[PartResult], outcome: Outcome, defective: bool | None) -> str | int:
    count = sum(part.outcome is outcome for part in parts)
    wrong = defective is not None and (outcome is Outcome.PASS) is defective
    return _Html(f'<b class="wrong">{count} !</b>') if wrong and count else count


def _rates(result: RunResult) -> str:
    rows = [_rate_row("escape rate", result.escapes), _rate_row("overkill rate", result.overkill)]
    grouped = any(rate.by_group for rate in (result.escapes, result.overkill))
    heads = ["", "counted", "rate", "95 % interval", "95 % interval over items"]
    return _table(heads if grouped else heads[:-1], rows if grouped else [row[:-1] for row in rows])


def _rate_row(name: str, rate: Rate) -> list[str]:
    exact = rate.exact
    over = f"{interval(rate.by_group)} ({rate.by_group.groups} items)" if rate.by_group else "no shared items"
    return [name, errors_of(exact), percent(exact.rate), interval(exact), over]


def _detection(result: RunResult) -> str:
    rows = [
        [
            kind.defect,
            errors_of(kind.caught),
            percent(kind.caught.rate),
            interval(kind.caught),
            str(kind.faults),
        ]
        for kind in result.detection
    ]
    return _table(["defect", "not passed", "rate", "95 % interval", "of them faults"], rows) if rows else ""


def _ranking(result: RunResult) -> str:
    image, pixel = result.image, result.pixel
    best = f"{figure(image.f1_max)} at a threshold of {figure(image.f1_threshold, 3)}"
    rows = [
        ["image AUROC", figure(image.auroc), f"{image.parts} parts"],
        ["image average precision", figure(image.average_precision), f"{image.parts} parts"],
        ["image F1-max", best, f"{image.parts} parts"],
        ["pixel AUROC", figure(pixel.auroc), f"{pixel.parts} maps"],
        ["AUPRO to 0.3", figure(pixel.aupro_30), f"{pixel.parts} maps, {pixel.regions} defect regions"],
    ]
    return _table(["figure", "value", "over"], rows)


def _charts(result: RunResult) -> dict[str, str]:
    thresholds = sorted({part.threshold for part in result.parts if math.isfinite(part.threshold)})
    good = [part.score for part in result.parts if _is(part, False)]
    bad = [part.score for part in result.parts if _is(part, True)]
    unknown = [part.score for part in result.parts if _is(part, None)]
    panels = [
        Panel(f"good, {len(good)} parts", good, "good"),
        Panel(f"defective, {len(bad)} parts", bad, "bad"),
    ]
    if unknown:
        panels.append(Panel(f"truth unknown, {len(unknown)} parts", unknown, "plain"))
    lines = [Marker(value, f"threshold {value:.3f}") for value in thresholds]
    latency, margin = result.latency_ms, result.margin_ms
    return {
        "scores": histogram(
            panels, lines, "image score", "Image scores of good and defective parts", _WIDE_PX
        ),
        "scores_caption": "Image scores, each panel on its own scale of counts. "
        + ("At or above the threshold a part is rejected." if lines else "No score threshold was in force."),
        "latency": histogram(
            [Panel("trigger to verdict", [part.latency_ms for part in result.parts], "good")],
            [Marker(latency.p99, f"p99 {milliseconds(latency.p99)}")],
            "ms",
            "Latency from trigger to verdict",
            _NARROW_PX,
        ),
        "latency_caption": f"p50 {milliseconds(latency.p50)}, p99 {milliseconds(latency.p99)}, worst "
        f"{milliseconds(latency.maximum)}; {latency.parts} parts.",
        "margin": histogram(
            [Panel("verdict to deadline", [part.margin_ms for part in result.parts], "good")],
            [Marker(0.0, "deadline")],
            "ms",
            "Margin from verdict to deadline",
            _NARROW_PX,
        ),
        "margin_caption": f"least {milliseconds(margin.minimum)}, p1 {milliseconds(margin.p1)}, p50 "
        f"{milliseconds(margin.p50)}; {result.late} without a verdict in time.",
    }


def _wrong_parts(result: RunResult) -> tuple[str, str]:
    scale = scale_of(result)
    escapes = [part for part in result.parts if part.escaped]
    overkill = [part for part in result.parts if part.overkilled]
    return _tiles(escapes, scale, "No escape in this run."), _tiles(
        overkill, scale, "No overkill in this run."
    )


def _tiles(parts: Sequence[PartResult], scale: MapScale, none: str) -> str:
    if not parts:
        return f"<p>{escape(none)}</p>"
    shown = "".join(_tile(part, scale) for part in parts[:MOST_PICTURES])
    more = len(parts) - MOST_PICTURES
    rest = f'<p class="quiet">And {more} more, not pictured.</p>' if more > 0 else ""
    return f'<div class="tiles">{shown}</div>{rest}'


def _tile(part: PartResult, scale: MapScale) -> str:
    pictures = pair(part, scale, _SIDE)
    if pictures is None:
        drawn = '<div class="none">no picture</div>'
    else:
        coded = io.BytesIO()
        Image.fromarray(pictures).save(coded, "JPEG", quality=_JPEG_QUALITY)
        drawn = (
            f'<img src="{_data_uri(coded.getvalue(), "jpeg")}" alt="Part {part.part_id} and its anomaly map">'
        )
    why = "" if part.passed or not math.isfinite(part.score) else f" ({reason_words(part)})"
    source = f"<br>{escape(part.source)}" if part.source else ""
    return (
        f'<figure>{drawn}<figcaption><span class="outcome">{part.outcome.value}</span>'
        f"<b>Part {part.part_id}</b>, {escape(truth_words(part))}<br>{escape(score_words(part) + why)}"
        f"{source}</figcaption></figure>"
    )


def _identities(result: RunResult) -> str:
    identity, counts, thresholds = result.identity, result.counts, result.identity.thresholds
    rows = [
        ["bundle", _Html(f"<code>{escape(identity.bundle_id)}</code>")],
        ["configuration", _Html(f"<code>{escape(identity.config_id)}</code>")],
        ["score threshold", _threshold(thresholds.score)],
        ["recheck from", _threshold(thresholds.recheck_score)],
        [
            "map threshold",
            f"{_threshold(thresholds.map)}, least area {thresholds.min_area_px:g} px of the frame",
        ],
        ["triggers, frames, verdicts", f"{counts.triggers}, {counts.frames}, {counts.verdicts}"],
        ["pulses, late pulses", f"{counts.pulses}, {counts.late_actions}"],
        ["frames too many, late verdicts", f"{counts.extra_frames}, {counts.late_verdicts}"],
    ]
    return _table(["", ""], rows)


def _threshold(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


class _Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def _table(heads: Iterable[str], rows: Iterable[Sequence[str | int]], *, numbers: bool = False) -> str:
    """A table whose first column names the row; cells are escaped unless they are HTML already."""
    side = ' class="n"' if numbers else ""
    head = "".join(f"<th{side if at else ''}>{escape(name)}</th>" for at, name in enumerate(heads))
    body = "".join(
        f'<tr><th scope="row">{escape(str(row[0]))}</th>'
        + "".join(f"<td{side}>{_html(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _html(text: str | int) -> str:
    """Escaped, with a unit kept on the line of its number."""
    if isinstance(text, _Html):
        return text
    return escape(str(text)).replace(" %", "&nbsp;%").replace(" ms", "&nbsp;ms")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
