"""Scratches, contamination and cracks: their geometry, and what each does to the light from the face.

Geometry is drawn in ROI units about a place on the metal; the mask is that same drawing. A defect is
described at full strength and scaled afterwards, so that how far it can be seen is chosen and not left to
chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from edge.camera.scene.products import Colour
from edge.camera.scene.raster import (
    PATCH_PX,
    BoolImage,
    FloatImage,
    blur,
    dilate,
    roi_grid,
    stroke,
    warp,
    without_specks,
)
from edge.camera.scene.surface import Light, Surface
from edge.camera.scene.texture import Banks, cut

Points = npt.NDArray[np.float64]
Path = tuple[Points, Points]  # points (n, 2) and the pen's widths (n - 1,), in ROI units

EDGE_MARGIN = 0.014  # defects keep this far from every edge, in ROI units
_FRINGE_PX = 4  # how far a defect's soft edge and lit flank reach past its mask, in patch pixels
_SMALLEST_PIECE_PX = 36  # of a defect cut into pieces by a hole, or a droplet: 9 px at the model's input
_COVERED = 0.35  # share of a patch pixel from which it belongs to the mask


class Defect(str, Enum):
    SCRATCH = "scratch"
    CONTAMINATION = "contamination"
    CRACK = "crack"


@dataclass(frozen=True, slots=True, eq=False)
class Flaw:
    """One drawn defect at full strength, as (512, 512) patches.

    The light of the face in channel c becomes face_c · (1 - cover · (1 - passes_c)) + added · colour_c.
    """

    extent: BoolImage
    cover: FloatImage  # 0 to 1
    passes: Colour  # 0 to 1
    added: FloatImage  # signal at nominal exposure; may be negative on a flank in shade
    colour: Colour


@dataclass(frozen=True, slots=True)
class Site:
    """Where a defect is drawn, and how much larger than usual it is made to be seen."""

    x: float
    y: float
    growth: float


def draw(
    kind: Defect, site: Site, surface: Surface, light: Light, banks: Banks, rng: np.random.Generator
) -> Flaw:
    """A defect of `kind` at `site`, clipped to the metal away from its edges."""
    if kind is Defect.SCRATCH:
        flaw = _scratch(site, surface, light, banks, rng)
    elif kind is Defect.CRACK:
        flaw = _crack(site, surface, light, rng)
    else:
        flaw = _contamination(site, surface, banks, rng)
    return _confined(flaw)


def _confined(flaw: Flaw) -> Flaw:
    """`flaw` without specks too small to be found or too faint for the mask: nothing changes away from it."""
    extent = without_specks(flaw.extent, _SMALLEST_PIECE_PX)
    near = dilate(extent, _FRINGE_PX)
    return replace(flaw, extent=extent, cover=flaw.cover * near, added=flaw.added * near)


def _on_face(extent: FloatImage, surface: Surface) -> FloatImage:
    """`extent` faded out towards the part's edges."""
    return extent * np.clip((-surface.distance - EDGE_MARGIN) * PATCH_PX + 0.5, 0, 1)


# Scratch


def _scratch(site: Site, surface: Surface, light: Light, banks: Banks, rng: np.random.Generator) -> Flaw:
    path = _scratch_path(site, rng)
    paths = [path]
    if rng.random() < 0.25:
        paths.append(_beside(path, rng))
    line = _on_face(blur(stroke(paths), 0.6), surface)
    extent = line > _COVERED
    uneven = np.clip(1 + 0.25 * cut(banks.lump, rng, (PATCH_PX, PATCH_PX)), 0.4, 1.5)
    lit = 0.16 * _lit_flank(line, light)
    # Burnished metal shines on a dull face; in a highlight it is the groove that looks dark.
    level = float(surface.tone[extent].mean()) if extent.any() else 0.0
    if level < 0.55 and rng.random() < 0.75:
        return Flaw(extent, 0.3 * line, (1, 1, 1), line * uneven * 0.55 + lit, surface.tint)
    return Flaw(extent, line * np.minimum(uneven, 1), (0.15, 0.15, 0.15), np.maximum(lit, 0), surface.tint)


def _scratch_path(site: Site, rng: np.random.Generator) -> Path:
    """A gently bent line through the site, tapering at both ends."""
    length = rng.uniform(0.12, 0.42) * site.growth
    steps = max(8, round(length / 0.008))
    heading = rng.uniform(0, 2 * math.pi) + np.cumsum(
        rng.normal(0, 0.012, steps) + rng.normal(0, 0.6) / steps
    )
    points = _walk(heading, np.full(steps, length / steps))
    points += np.array([site.x, site.y]) - points[steps // 2]
    pen = rng.uniform(0.0050, 0.0085) * min(site.growth, 1.5)
    taper = np.sin(np.linspace(0.12, math.pi - 0.12, steps)) ** 0.4
    return points, pen * taper * (1 + rng.normal(0, 0.08, steps))


def _beside(path: Path, rng: np.random.Generator) -> Path:
    """A second, shorter and finer line next to the first, from the same stroke of the tool."""
    points, widths = path
    first = int(rng.integers(0, len(widths) // 3 + 1))
    last = int(rng.integers(2 * len(widths) // 3, len(widths)))
    direction = points[-1] - points[0]
    normal = np.array([-direction[1], direction[0]]) / (np.hypot(*direction) + 1e-9)
    return points[first : last + 1] + normal * rng.uniform(0.010, 0.022), widths[first:last] * 0.75


def _lit_flank(line: FloatImage, light: Light) -> FloatImage:
    """A line less its copy one and a half pixels away from the bar: positive on the flank facing it."""
    return line - _shifted(line, light, -1.5)


def _shifted(image: FloatImage, light: Light, distance_px: float) -> FloatImage:
    """`image` moved by `distance_px` towards the bar."""
    dx, dy = distance_px * math.cos(light.azimuth), distance_px * math.sin(light.azimuth)
    return warp(image, np.array([[1, 0, -dx], [0, 1, -dy]]), (PATCH_PX, PATCH_PX))


# Crack


def _crack(site: Site, surface: Surface, light: Light, rng: np.random.Generator) -> Flaw:
    gap = _on_face(blur(stroke(_crack_paths(site, rng)), 0.5), surface)
    lip = np.maximum(_shifted(gap, light, -2.2) - gap, 0)
    return Flaw(gap > _COVERED, gap, (0.10, 0.10, 0.10), _on_face(lip, surface) * 0.22, surface.tint)


def _crack_paths(site: Site, rng: np.random.Generator) -> list[Path]:
    """A ragged main crack through the site with a few finer branches."""
    pen = rng.uniform(0.0048, 0.0078) * min(site.growth, 1.5)
    steps = round(rng.integers(18, 38) * min(site.growth, 1.6))
    main = _ragged(rng.uniform(0, 2 * math.pi), steps, pen, rng)
    main = (main[0] + np.array([site.x, site.y]) - main[0][steps // 2], main[1])
    return [main, *(_branch(main, pen, rng) for _ in range(int(rng.integers(1, 4))))]


def _ragged(heading: float, steps: int, pen: float, rng: np.random.Generator) -> Path:
    # The heading wanders about its general direction; a free random walk would curl up into a knot.
    turns = rng.normal(0, 0.5, steps)
    for k in range(1, steps):
        turns[k] += 0.45 * turns[k - 1]
    points = _walk(heading + turns, rng.uniform(0.006, 0.012, steps))
    uneven = np.clip(1 + rng.normal(0, 0.15, steps), 0.6, 1.4)
    widths: npt.NDArray[np.float64] = pen * np.linspace(1, 0.45, steps) * uneven
    return points, widths


def _branch(main: Path, pen: float, rng: np.random.Generator) -> Path:
    points, _ = main
    start = int(rng.integers(2, max(3, len(points) - 4)))
    ahead = points[start + 1] - points[start]
    side = 1 if rng.random() < 0.5 else -1
    heading = math.atan2(ahead[1], ahead[0]) + side * rng.uniform(0.5, 1.1)
    branch, widths = _ragged(heading, max(5, len(points) // 3), pen * 0.75, rng)
    return branch + points[start], widths


def _walk(heading: npt.NDArray[np.float64], step: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The points of a walk from the origin: (n + 1, 2) for n headings and step lengths."""
    moves = np.column_stack([np.cos(heading), np.sin(heading)]) * step[:, None]
    return np.vstack([np.zeros(2), np.cumsum(moves, axis=0)])


# Contamination


@dataclass(frozen=True, slots=True)
class _Substance:
    passes: Colour  # share of the metal's light that comes through
    glow: float  # signal of its own diffuse light
    colour: Colour  # of that light
    unevenness: float  # deviation of its thickness, relative


_SUBSTANCES = (
    _Substance((0.40, 0.34, 0.24), 0.015, (1.00, 1.00, 1.00), 0.06),  # oil
    _Substance((0.16, 0.10, 0.06), 0.120, (1.75, 0.82, 0.40), 0.22),  # rust
    _Substance((0.30, 0.30, 0.30), 0.520, (1.00, 1.00, 0.93), 0.22),  # dried residue
)


def _contamination(site: Site, surface: Surface, banks: Banks, rng: np.random.Generator) -> Flaw:
    size = (PATCH_PX, PATCH_PX)
    substance = _SUBSTANCES[int(rng.integers(len(_SUBSTANCES)))]
    edge = cut(banks.lump, rng, size, scale=float(rng.uniform(0.8, 1.5)), angle=None)
    spots = _on_face(_spots(site, edge, rng), surface)
    lumps = cut(banks.lump, rng, size, scale=0.7, angle=None)
    thickness = np.clip(1 + np.float32(substance.unevenness) * lumps, 0.4, 1.4)
    cover = np.minimum(spots * thickness, 1)
    glow = cover * thickness * np.float32(substance.glow)
    return Flaw(spots > 0.5, cover, substance.passes, glow, substance.colour)


def _spots(site: Site, edge: FloatImage, rng: np.random.Generator) -> FloatImage:
    """One uneven blob at the site and sometimes a few droplets about it, as coverage."""
    radius = rng.uniform(0.022, 0.075) * min(site.growth, 1.8)
    spots = _blob(site.x, site.y, radius, edge, rng)
    droplets = int(rng.integers(1, 5)) if rng.random() < 0.4 else 0
    for _ in range(droplets):
        away, around = radius * rng.uniform(1.3, 2.2), rng.uniform(0, 2 * math.pi)
        x, y = site.x + away * math.cos(around), site.y + away * math.sin(around)
        spots = np.maximum(spots, _blob(x, y, radius * rng.uniform(0.15, 0.35), edge, rng))
    return spots


def _blob(x: float, y: float, radius: float, edge: FloatImage, rng: np.random.Generator) -> FloatImage:
    grid_x, grid_y = roi_grid()
    turn, flatness = rng.uniform(0, math.pi), rng.uniform(0.6, 1.0)
    cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    along = (grid_x - np.float32(x)) * cos + (grid_y - np.float32(y)) * sin
    across = ((grid_y - np.float32(y)) * cos - (grid_x - np.float32(x)) * sin) / np.float32(flatness)
    distance = np.sqrt(along * along + across * across) - np.float32(radius) * (1 + np.float32(0.22) * edge)
    softness = rng.uniform(1.2, 3.0) / PATCH_PX
    return np.asarray(np.clip(0.5 - distance / np.float32(2 * softness), 0, 1), np.float32)
