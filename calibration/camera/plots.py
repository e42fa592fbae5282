"""Curves and pictures as inline SVG: no script, no font, no file besides. Colours come from the page's style
sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from calibration.charts import ticks

_LEFT, _RIGHT, _TOP, _FOOT = 62.0, 16.0, 14.0, 46.0
WIDE_PX, NARROW_PX, HEIGHT_PX = 960.0, 470.0, 250.0
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, y) in order; `style` is a class of the style sheet: good, bad or plain."""

    label: str
    points: Sequence[Point]
    style: str = "good"
    joined: bool = True
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """A range of x or y that is wanted."""

    low: float
    high: float
    label: str
    along_x: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """A labelled line across, at a value of x."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class _Frame:
    low: Point
    high: Point
    width: float
    height: float

    @property
    def foot(self) -> float:
        return self.height - _FOOT

    @property
    def end(self) -> float:
        return self.width - _RIGHT

    def x(self, value: float) -> float:
        return _LEFT + (value - self.low[0]) / (self.high[0] - self.low[0]) * (self.end - _LEFT)

    def y(self, value: float) -> float:
        return self.foot - (value - self.low[1]) / (self.high[1] - self.low[1]) * (self.foot - _TOP)


def plot(
    title: str,
    x_label: str,
    y_label: str,
    curves: Sequence[Curve],
    *,
    bands: Sequence[Band] = (),
    lines: Sequence[Line] = (),
    x_range: Point | None = None,
    y_range: Point | None = None,
    wide: bool = False,
) -> str:
    """One diagram with its axes. Values that are not finite are left out."""
    width = WIDE_PX if wide else NARROW_PX
    points = [p for curve in curves for p in curve.points if all(map(math.isfinite, p))]
    shown_x = x_range or _range([p[0] for p in points] + [line.x for line in lines])
    shown_y = y_range or _range([p[1] for p in points])
    frame = _Frame((shown_x[0], shown_y[0]), (shown_x[1], shown_y[1]), width, HEIGHT_PX)
    drawn = [
        *(_band(band, frame) for band in bands),
        _axes(frame, x_label, y_label),
        *(_curve(curve, frame) for curve in curves),
        *(_line(line, frame, number) for number, line in enumerate(lines)),
        _legend(curves, frame),
    ]
    return svg(width, HEIGHT_PX, title, "".join(drawn))


def svg(width: float, height: float, title: str, content: str) -> str:
    """A drawing with its name for readers that do not see it."""
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{content}</svg>"
    )


def text(style: str, x: float, y: float, content: str, anchor: str = "start") -> str:
    """A word in a drawing."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _range(values: Sequence[float]) -> Point:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05 * max(abs(high), 1.0)
    return low - pad, high + pad


def _axes(frame: _Frame, x_label: str, y_label: str) -> str:
    marks = [f'<path class="axis" d="M{_LEFT:.1f} {_TOP:.1f}V{frame.foot:.1f}H{frame.end:.1f}"/>']
    for value in ticks(frame.low[0], frame.high[0]):
        x = frame.x(value)
        marks.append(f'<path class="axis" d="M{x:.1f} {frame.foot:.1f}v4"/>')
        marks.append(text("tick", x, frame.foot + 17, f"{value:.6g}", "middle"))
    for value in ticks(frame.low[1], frame.high[1], 5):
        y = frame.y(value)
        marks.append(f'<path class="grid" d="M{_LEFT:.1f} {y:.1f}H{frame.end:.1f}"/>')
        marks.append(text("tick", _LEFT - 6, y + 4, f"{value:.6g}", "end"))
    marks.append(text("tick", frame.end, frame.height - 8, x_label, "end"))
    marks.append(text("tick", _LEFT + 6, _TOP + 8, y_label))
    return "".join(marks)


def _curve(curve: Curve, frame: _Frame) -> str:
    at = [(frame.x(x), frame.y(y)) for x, y in curve.points if math.isfinite(x) and math.isfinite(y)]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    line = f'<polyline class="curve {curve.style}" points="{joined}"/>' if curve.joined and at else ""
    dots = "".join(f'<circle class="{curve.style}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>' for x, y in at)
    return line + (dots if curve.dots else "")


def _band(band: Band, frame: _Frame) -> str:
    if band.along_x:
        left, right = sorted((frame.x(band.low), frame.x(band.high)))
        box = f'x="{left:.1f}" y="{_TOP:.1f}" width="{right - left:.1f}" height="{frame.foot - _TOP:.1f}"'
        where = text("band", (left + right) / 2, _TOP + 8, band.label, "middle")
    else:
        top, bottom = sorted((frame.y(band.high), frame.y(band.low)))
        box = f'x="{_LEFT:.1f}" y="{top:.1f}" width="{frame.end - _LEFT:.1f}" height="{bottom - top:.1f}"'
        where = text("band", frame.end - 4, bottom - 5, band.label, "end")
    return f'<rect class="band" {box}/>{where}'


def _line(line: Line, frame: _Frame, number: int) -> str:
    x = frame.x(line.x)
    right = x > 0.6 * frame.width
    label = text(
        "marker", x + (-5 if right else 5), _TOP + 24 + 16 * number, line.label, "end" if right else "start"
    )
    return f'<path class="marker" d="M{x:.1f} {_TOP:.1f}V{frame.foot:.1f}"/>{label}'


def _legend(curves: Sequence[Curve], frame: _Frame) -> str:
    named = [curve for curve in curves if curve.label]
    if len(named) < 2:
        return ""
    drawn, y = [], frame.foot + 38
    x = _LEFT
    for curve in named:
        drawn.append(f'<rect class="{curve.style}" x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10"/>')
        drawn.append(text("tick", x + 15, y, curve.label))
        x += 26 + 6.2 * len(curve.label)
    return "".join(drawn)
