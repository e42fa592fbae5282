"""Inline SVG: how much of the tolerance is used, and score against score. Colours are the style sheet's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from export.verify.differences import Difference

BUDGET_WIDTH, SCATTER_WIDTH = 960.0, 470.0
_ROW, _HEAD, _LEFT, _RIGHT = 30.0, 34.0, 300.0, 36.0
_LOW, _HIGH = -5.0, 1.0
"""Powers of ten of the tolerance between which the budget is drawn."""
_SIDE, _AXIS, _TOP, _FOOT = 390.0, 62.0, 26.0, 52.0
_LEAST_BAND = 2.0
"""Width in px below which a guard band would not be seen."""
_MARKS = {
    "score": "M{x:.1f} {y:.1f}m-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "grid map": "M{x:.1f} {y:.1f}m-5 -5h10v10h-10z",
    "anomaly map": "M{x:.1f} {y:.1f}m0 -6l6 11h-12z",
}


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One pair: its largest errors as shares of what is allowed, by what they are of."""

    label: str
    used: dict[str, float]


@dataclass(frozen=True, slots=True)
class Dots:
    """Points of one kind; `style` is their class in the style sheet."""

    style: str
    found: Sequence[Difference]


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps `low`..`high` to `start`..`end` in px."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The place of a value, kept a little outside the ends where it lies beyond them."""
        place = self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
        least, most = sorted((self.start, self.end))
        return min(max(place, least - 4), most + 4)


def budget(rows: Sequence[BudgetRow]) -> str:
    """Every pair on one logarithmic axis: left of 100 % is allowed."""
    axis = Axis(_LOW, _HIGH, _LEFT, BUDGET_WIDTH - _RIGHT)
    bottom = _HEAD + _ROW * len(rows)
    limit = axis.at(0.0)
    parts = [
        f'<rect class="allowed" x="{_LEFT:.0f}" y="{_HEAD - 8:.0f}" width="{limit - _LEFT:.1f}" '
        f'height="{bottom - _HEAD + 8:.0f}"/>',
        f'<path class="marker" d="M{limit:.1f} {_HEAD - 14:.0f}V{bottom:.0f}"/>',
        text("marker", limit, _HEAD - 20, "100 % of what is allowed", "middle"),
    ]
    for number, row in enumerate(rows):
        parts.append(_budget_row(row, axis, _HEAD + _ROW * (number + 0.5)))
    for power in range(int(_LOW), int(_HIGH) + 1):
        parts.append(text("tick", axis.at(power), bottom + 18, _percent(power), "middle"))
    return _svg(BUDGET_WIDTH, bottom + 26, "How much of the tolerance is used", parts)


def score_scatter(
    dots: Sequence[Dots], names: tuple[str, str], thresholds: Sequence[float], band: float
) -> str:
    """Score against score, with every threshold and the band of `band` around it."""
    found = [one for some in dots for one in some.found if _finite(one)]
    values = [at.score for one in found for at in one.readings]
    low, high = _room([*values, *thresholds])
    x, y = _axes((low, high), (low, high))
    parts = [_bands(x, y, thresholds, band), _frame(x, y), _diagonal(x, y)]
    parts += [
        _dot(some.style, x.at(one.readings[0].score), y.at(one.readings[1].score), one)
        for some in dots
        for one in some.found
        if _finite(one)
    ]
    return _svg(
        SCATTER_WIDTH, _TOP + _SIDE + _FOOT, "Score against score", [*parts, *_titles(names[0], names[1])]
    )


def difference_scatter(
    dots: Sequence[Dots], names: tuple[str, str], thresholds: Sequence[float], band: float
) -> str:
    """What the second says more than the first, over the first's score; its scale is the largest difference."""
    found = [one for some in dots for one in some.found if _finite(one)]
    values = [one.readings[0].score for one in found]
    most = max((abs(_gain(one)) for one in found), default=0.0) or 1.0
    x, y = _axes(_room([*values, *thresholds]), (-1.25 * most, 1.25 * most))
    zero = f'<path class="diagonal" d="M{x.start:.1f} {y.at(0.0):.1f}H{x.end:.1f}"/>'
    parts = [_bands(x, None, thresholds, band), _frame(x, y), zero]
    parts += [
        _dot(some.style, x.at(one.readings[0].score), y.at(_gain(one)), one)
        for some in dots
        for one in some.found
        if _finite(one)
    ]
    return _svg(
        SCATTER_WIDTH,
        _TOP + _SIDE + _FOOT,
        "Difference of the scores",
        [*parts, *_titles(names[0], f"{names[1]} minus {names[0]}")],
    )


def gauge(scores: tuple[float, float], thresholds: Sequence[float], band: float) -> str:
    """Where two scores of one picture lie against the nearest threshold, the guard band around it."""
    if not all(map(math.isfinite, scores)) or not thresholds:
        return ""
    limit = min(thresholds, key=lambda one: abs(one - scores[0]))
    width, height = 260.0, 44.0
    reach = max(abs(score - limit) for score in scores) * 1.2 or 1.0
    axis = Axis(limit - reach, limit + reach, 10.0, width - 10.0)
    guard = band / reach if math.isfinite(band) else 0.0
    wide = max(min(guard, 1.0) * (width - 20.0), _LEAST_BAND)
    parts = [
        f'<rect class="band" x="{axis.at(limit) - wide / 2:.1f}" y="12" width="{wide:.1f}" height="14"/>',
        f'<path class="axis" d="M10 19H{width - 10:.0f}"/>',
        f'<path class="marker" d="M{axis.at(limit):.1f} 8V30"/>',
        *(
            f'<circle class="{style}" cx="{axis.at(score):.1f}" cy="19" r="{radius}"/>'
            for style, score, radius in zip(("first", "second"), scores, (7, 4), strict=True)
        ),
        text("tick", axis.at(limit), 42, f"threshold {limit:.4g}", "middle"),
    ]
    return _svg(width, height, "Where the scores lie against the threshold", parts)


def text(style: str, x: float, y: float, content: str, anchor: str = "start") -> str:
    """A line of text at a place in px."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values in [low, high], 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _budget_row(row: BudgetRow, axis: Axis, y: float) -> str:
    marks = []
    for name, share in row.used.items():
        power = math.log10(share) if 0 < share < math.inf else (-math.inf if share == 0 else math.inf)
        x = axis.at(max(min(power, 2 * _HIGH), 2 * _LOW))
        style = "bad" if not share <= 1 else "good"
        shape = _MARKS[name].format(x=x, y=y)
        marks.append(
            f'<path class="{style} mark" d="{shape}"><title>{escape(name)}: {share:.3g}</title></path>'
        )
    line = f'<path class="hair" d="M{axis.start:.0f} {y:.1f}H{axis.end:.1f}"/>'
    return line + text("label", axis.start - 14, y + 4, row.label, "end") + "".join(marks)


def _percent(power: int) -> str:
    return f"{10.0 ** (power + 2):.10g} %"


def _axes(across: tuple[float, float], up: tuple[float, float]) -> tuple[Axis, Axis]:
    return Axis(*across, _AXIS, _AXIS + _SIDE), Axis(*up, _TOP + _SIDE, _TOP)


def _room(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05 * max(abs(high), 1.0)
    return low - pad, high + pad


def _finite(one: Difference) -> bool:
    return all(math.isfinite(at.score) for at in one.readings)


def _gain(one: Difference) -> float:
    return one.readings[1].score - one.readings[0].score


def _bands(x: Axis, y: Axis | None, thresholds: Sequence[float], band: float) -> str:
    parts = []
    reach = band if math.isfinite(band) else 0.0
    for limit in thresholds:
        left, wide = _stretch(x, limit, reach)
        parts.append(
            f'<rect class="band" x="{left:.1f}" y="{_TOP:.0f}" width="{wide:.1f}" height="{_SIDE:.0f}"/>'
            f'<path class="marker" d="M{x.at(limit):.1f} {_TOP:.0f}v{_SIDE:.0f}"/>'
            + text("marker", x.at(limit), _TOP - 9, f"threshold {limit:.4g}", "middle")
        )
        if y is not None:
            top, high = _stretch(y, limit, reach)
            parts.append(
                f'<rect class="band" x="{_AXIS:.0f}" y="{top:.1f}" width="{_SIDE:.0f}" height="{high:.1f}"/>'
                f'<path class="marker" d="M{_AXIS:.0f} {y.at(limit):.1f}h{_SIDE:.0f}"/>'
            )
    return "".join(parts)


def _stretch(axis: Axis, middle: float, reach: float) -> tuple[float, float]:
    """First place and length in px of what lies within `reach`, cut off at the ends, never too thin to see."""
    ends = sorted(axis.at(min(max(at, axis.low), axis.high)) for at in (middle - reach, middle + reach))
    missing = max(_LEAST_BAND - (ends[1] - ends[0]), 0.0)
    return ends[0] - missing / 2, ends[1] - ends[0] + missing


def _frame(x: Axis, y: Axis) -> str:
    parts = [f'<path class="axis" d="M{x.start:.1f} {_TOP:.0f}V{y.start:.1f}H{x.end:.1f}"/>']
    for value in ticks(x.low, x.high):
        parts.append(text("tick", x.at(value), y.start + 18, f"{value:.10g}", "middle"))
    for value in ticks(y.low, y.high):
        parts.append(text("tick", x.start - 8, y.at(value) + 4, f"{value:.6g}", "end"))
    return "".join(parts)


def _diagonal(x: Axis, y: Axis) -> str:
    return f'<path class="diagonal" d="M{x.start:.1f} {y.start:.1f}L{x.end:.1f} {y.end:.1f}"/>'


def _dot(style: str, x: float, y: float, one: Difference) -> str:
    title = escape(f"{one.name}: {one.readings[0].score:.5g} and {one.readings[1].score:.5g}")
    ring = f'<circle class="flip" cx="{x:.1f}" cy="{y:.1f}" r="9"/>' if one.flipped else ""
    return (
        f'{ring}<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{title}</title></circle>'
    )


def _titles(across: str, up: str) -> list[str]:
    middle = _TOP + _SIDE / 2
    return [
        text("tick", _AXIS + _SIDE, _TOP + _SIDE + 40, across, "end"),
        f'<g transform="rotate(-90 12 {middle:.0f})">{text("tick", 12, middle, up, "middle")}</g>',
    ]


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
