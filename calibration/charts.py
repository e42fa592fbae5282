"""Histograms as inline SVG: no script, no font, no file besides. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

_LEFT, _RIGHT = 44.0, 14.0
_LINE, _LABEL, _PANEL, _GAP, _FOOT = 16.0, 22.0, 92.0, 10.0, 40.0
_BINS = 48
_LEAST_BAR = 1.5
"""Height in px of the lowest bar, so that a single part is never invisible beside hundreds."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One histogram; `style` is the class of its bars in the style sheet."""

    label: str
    values: Sequence[float]
    style: str


@dataclass(frozen=True, slots=True)
class Marker:
    """A labelled vertical line through all panels."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    width: float

    @property
    def end(self) -> float:
        return self.width - _RIGHT

    def x(self, value: float) -> float:
        return _LEFT + (value - self.low) / (self.high - self.low) * (self.end - _LEFT)


def histogram(
    panels: Sequence[Panel], markers: Sequence[Marker], unit: str, title: str, width_px: float
) -> str:
    """Panels above each other over one axis, `width_px` wide where the page leaves it so.

    Values that are not finite are left out, markers likewise.
    """
    values = [[value for value in panel.values if math.isfinite(value)] for panel in panels]
    markers = [marker for marker in markers if math.isfinite(marker.value)]
    axis = _axis([*(v for some in values for v in some), *(marker.value for marker in markers)], width_px)
    head = _LINE * len(markers)
    bottom = head + len(panels) * (_LABEL + _PANEL) + (len(panels) - 1) * _GAP
    tops = [head + _LABEL + at * (_LABEL + _PANEL + _GAP) for at in range(len(panels))]
    drawn = [
        _panel(panel.style, some, axis, top) for panel, some, top in zip(panels, values, tops, strict=True)
    ]
    lines = [_marker(marker, axis, _LINE * at, bottom) for at, marker in enumerate(markers)]
    labels = [_text("label", _LEFT, top - 8, panel.label) for panel, top in zip(panels, tops, strict=True)]
    return (
        f'<svg viewBox="0 0 {width_px:.0f} {bottom + _FOOT:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join([*drawn, *lines, *labels])}"
        f"{_scale(axis, bottom, unit)}</svg>"
    )


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round values in [low, high], 1, 2 or 5 times a power of ten apart, at most some `about` of them."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _axis(values: Sequence[float], width_px: float) -> _Axis:
    if not values:
        return _Axis(0.0, 1.0, width_px)
    low, high = min(values), max(values)
    pad = 0.03 * (high - low) or 0.05 * max(abs(high), 1.0)
    return _Axis(low - pad, high + pad, width_px)


def _panel(style: str, values: Sequence[float], axis: _Axis, top: float) -> str:
    counts, edges = np.histogram(values, _BINS, (axis.low, axis.high))
    most, foot = int(counts.max()), top + _PANEL
    return (
        _text("tick", _LEFT - 6, top + 8, str(most) if most else "", "end")
        + _text("tick", _LEFT - 6, foot, "0", "end")
        + f'<g class="{escape(style)}">{_bars(edges, counts, axis, foot)}</g>'
        + f'<path class="axis" d="M{_LEFT:.0f} {foot:.1f}H{axis.end:.0f}"/>'
    )


def _bars(edges: NDArray[np.floating], counts: NDArray[np.integer], axis: _Axis, foot: float) -> str:
    width = axis.x(float(edges[1])) - axis.x(float(edges[0])) - 1
    drawn = []
    for left, count in zip(edges[:-1], counts, strict=True):
        height = max(count / counts.max() * _PANEL, _LEAST_BAR) if count else 0.0
        if height:
            drawn.append(
                f'<rect x="{axis.x(left):.1f}" y="{foot - height:.1f}" '
                f'width="{width:.1f}" height="{height:.1f}"/>'
            )
    return "".join(drawn)


def _marker(marker: Marker, axis: _Axis, top: float, bottom: float) -> str:
    x = axis.x(marker.value)
    left = x > 0.7 * axis.width
    label = _text("marker", x + (-5 if left else 5), top + 11, marker.label, "end" if left else "start")
    return f'<path class="marker" d="M{x:.1f} {top + 1:.1f}V{bottom:.1f}"/>{label}'


def _scale(axis: _Axis, bottom: float, unit: str) -> str:
    marks = [
        f'<path class="axis" d="M{axis.x(value):.1f} {bottom:.1f}v4"/>'
        + _text("tick", axis.x(value), bottom + 17, f"{value:.10g}", "middle")
        for value in ticks(axis.low, axis.high)
    ]
    return "".join(marks) + _text("tick", axis.end, bottom + 35, unit, "end")


def _text(style: str, x: float, y: float, content: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'
