"""Outlines, holes and steps of a part as signed distances.

A signed distance is negative inside, positive outside, in ROI units. u and v are the part's own axes, in
ROI units from the part's centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.camera.scene.raster import FloatImage


class Outline(Protocol):
    """A closed curve in the part's plane."""

    def distance(self, u: FloatImage, v: FloatImage) -> FloatImage:
        """Signed distance of every (u, v) to the curve, negative inside."""
        ...


@dataclass(frozen=True, slots=True)
class Circle:
    radius: float
    u: float = 0.0
    v: float = 0.0

    def distance(self, u: FloatImage, v: FloatImage) -> FloatImage:
        return _length(u - self.u, v - self.v) - self.radius


@dataclass(frozen=True, slots=True)
class Rectangle:
    half_width: float
    half_height: float
    corner: float

    def distance(self, u: FloatImage, v: FloatImage) -> FloatImage:
        across = np.abs(u) - (self.half_width - self.corner)
        down = np.abs(v) - (self.half_height - self.corner)
        outside = _length(np.maximum(across, 0), np.maximum(down, 0))
        inside = np.minimum(np.maximum(across, down), 0)
        return np.asarray(outside + inside - self.corner, np.float32)


@dataclass(frozen=True, slots=True)
class Slot:
    """Two half circles joined by straight sides; `angle` turns its long axis away from u."""

    half_length: float
    radius: float
    u: float = 0.0
    v: float = 0.0
    angle: float = 0.0

    def distance(self, u: FloatImage, v: FloatImage) -> FloatImage:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        along = (u - self.u) * cos + (v - self.v) * sin
        across = (v - self.v) * cos - (u - self.u) * sin
        return _length(np.maximum(np.abs(along) - self.half_length, 0), across) - self.radius


@dataclass(frozen=True, slots=True)
class Polygon:
    """A regular polygon given by the distance of its sides, with rounded corners."""

    sides: int
    apothem: float
    corner: float

    def distance(self, u: FloatImage, v: FloatImage) -> FloatImage:
        sector = 2 * math.pi / self.sides
        angle = np.arctan2(v, u)
        folded = angle - sector * np.rint(angle / sector)
        radius = _length(u, v)
        along, across = radius * np.cos(folded), np.abs(radius * np.sin(folded))
        reach = self.apothem - self.corner
        past_corner = np.maximum(across - reach * np.float32(math.tan(sector / 2)), 0)
        outside = _length(np.maximum(along - reach, 0), past_corner)
        return np.asarray(np.where(along > reach, outside, along - reach) - self.corner, np.float32)


@dataclass(frozen=True, slots=True)
class Gear:
    """A spur gear with straight-flanked teeth; the distance is approximate on the flanks."""

    teeth: int
    root_radius: float
    tip_radius: float
    tooth_share: float = 0.5

    def distance(self, u: FloatImage, v: FloatImage) -> FloatImage:
        sector = 2 * math.pi / self.teeth
        angle = np.arctan2(v, u)
        folded = np.abs(angle - sector * np.rint(angle / sector))
        radius = _length(u, v)
        pitch_radius = (self.root_radius + self.tip_radius) / 2
        taper = 0.35 * (radius - pitch_radius)
        half_tooth = self.tooth_share * sector / 2 * pitch_radius - taper
        flank = radius * np.sin(folded) - half_tooth
        tooth = np.maximum(flank, radius - self.tip_radius)
        return np.asarray(np.minimum(radius - self.root_radius, tooth), np.float32)


@dataclass(frozen=True, slots=True)
class Shape:
    """An outline, the holes cut through it, and the curves along which its face has a small step."""

    outline: Outline
    holes: tuple[Outline, ...] = ()
    steps: tuple[Outline, ...] = ()

    def distance(self, u: FloatImage, v: FloatImage) -> FloatImage:
        """Signed distance to the nearest edge, outer or of a hole: negative on metal."""
        distance = self.outline.distance(u, v)
        for hole in self.holes:
            distance = np.maximum(distance, -hole.distance(u, v))
        return np.asarray(distance, np.float32)


def bolt_circle(
    count: int, pitch_radius: float, hole_radius: float, start: float = 0.0
) -> tuple[Circle, ...]:
    """`count` equal holes evenly spaced on a circle, the first at angle `start`."""
    angles = [start + 2 * math.pi * k / count for k in range(count)]
    return tuple(Circle(hole_radius, pitch_radius * math.cos(a), pitch_radius * math.sin(a)) for a in angles)


def _length(a: FloatImage, b: FloatImage) -> FloatImage:
    return np.asarray(np.sqrt(a * a + b * b), np.float32)
