"""How a machined face looks under the station's bar light.

The highlight follows an anisotropic Gaussian of surface slopes (G. J. Ward, "Measuring and modeling
anisotropic reflection", SIGGRAPH 1992): a point shines as far as its roughness contains the slope that
would mirror the bar into the camera. Over the small field that slope is taken as linear in position, and
the bar's length as a range of slopes that all mirror some point of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.camera.scene.pose import Pose
from edge.camera.scene.products import Colour, Finish, Lay, Product
from edge.camera.scene.raster import PATCH_PX, FloatImage, blur, look_up, roi_grid, warp
from edge.camera.scene.texture import BANK_PX, Banks, correlated_noise, cut, standardised

_SLOPE_PER_ROI = 0.9  # mirror slope that a shift by one ROI side asks for
_BAR_HALF_LENGTH = 0.18  # of the bar light, as a range of slopes
_CUTTER_RADIUS = 0.40  # of the face mill, in ROI units
_CUTTER_PASS = 0.34  # width of one pass of it
_PASS_OFFSET = 0.37  # by which its neighbour's marks are shifted, so that passes do not repeat
_CLOUD = 0.02  # deviation of tone over a face, relative
_FALLOFF = 0.16  # relative loss of light per ROI side away from the bar
_BLEED_PX = 1.0  # optical blur of the lens, in patch pixels


@dataclass(frozen=True, slots=True)
class Light:
    """The bar light over the belt: the direction towards it in the image, where its mirror image lies, its
    strength.
    """

    azimuth: float  # radians from x towards y
    offset: float  # of the highlight along the azimuth, in slope
    strength: float


def draw_light(rng: np.random.Generator) -> Light:
    """The station's light with the small play of its bracket and its driver."""
    azimuth = math.radians(-125) + rng.normal(0, math.radians(1.2))
    return Light(float(azimuth), float(0.03 + rng.normal(0, 0.012)), float(1 + rng.normal(0, 0.01)))


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """What is fixed about a product's face, as (512, 512) float32 patches in the part's axes."""

    distance: FloatImage  # signed, to the nearest edge, in ROI units
    facet: FloatImage  # share of chamfer or step, 0 to 1
    normal_u: FloatImage  # direction the facet faces
    normal_v: FloatImage
    tangent_u: FloatImage  # direction of the tool marks
    tangent_v: FloatImage
    column: FloatImage  # place in the bank of tool marks
    row: FloatImage
    marks: FloatImage  # (1024, 1024), that bank


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A part lying in the ROI before it is damaged: (512, 512) float32 patches in the ROI's axes."""

    tone: FloatImage  # luminance signal at nominal exposure, 1 being full scale; defined off the part, too
    distance: FloatImage  # signed, to the nearest edge, in ROI units
    presence: FloatImage  # share of each pixel that is metal, 0 to 1
    tint: Colour  # reflectance in R, G, B relative to luminance


def make_face(product: Product, rng: np.random.Generator) -> Face:
    u, v = roi_grid()
    distance = product.shape.distance(u, v)
    facet, normal_u, normal_v = _facets(product, u, v, distance)
    tangent_u, tangent_v, column, row = _lay(product.finish.lay, u, v)
    marks = _marks(product.finish, rng)
    return Face(distance, facet, normal_u, normal_v, tangent_u, tangent_v, column, row, marks)


def _facets(
    product: Product, u: FloatImage, v: FloatImage, distance: FloatImage
) -> tuple[FloatImage, FloatImage, FloatImage]:
    """Coverage and direction of the broken edges and of the steps in the face."""
    facet = _band(distance + product.chamfer / 2, product.chamfer / 2)
    normal_v, normal_u = np.gradient(distance)
    for outline in product.shape.steps:
        to_step = outline.distance(u, v)
        band = _band(to_step, product.chamfer / 2)
        step_v, step_u = np.gradient(to_step)
        normal_u, normal_v = np.where(band > 0, (step_u, step_v), (normal_u, normal_v))
        facet = np.maximum(facet, band)
    length = np.sqrt(normal_u**2 + normal_v**2) + 1e-9
    return facet, (normal_u / length).astype(np.float32), (normal_v / length).astype(np.float32)


def _band(distance: FloatImage, half_width: float) -> FloatImage:
    """1 where |distance| < half_width, with a smooth edge of one patch pixel."""
    return np.clip((half_width - np.abs(distance)) * PATCH_PX + 0.5, 0, 1).astype(np.float32)


def _lay(lay: Lay, u: FloatImage, v: FloatImage) -> tuple[FloatImage, FloatImage, FloatImage, FloatImage]:
    """Direction of the marks at every point, and the bank's column (along them) and row (across them)."""
    if lay is Lay.CONCENTRIC:
        radius = np.hypot(u, v) + np.float32(1e-6)
        turns = np.arctan2(v, u) / np.float32(2 * np.pi)
        return _float32(-v / radius, u / radius, turns * BANK_PX, radius * PATCH_PX)
    if lay is Lay.ARCS:
        # Passes side by side; in each, the cutter's circle is copied along u at every feed step.
        passes = np.rint(v / _CUTTER_PASS)
        inside = v - _CUTTER_PASS * passes
        rise = np.sqrt(_CUTTER_RADIUS**2 - inside**2)
        swing = np.arctan2(inside, rise) * _CUTTER_RADIUS
        step = u - rise + _PASS_OFFSET * passes
        return _float32(-inside / _CUTTER_RADIUS, rise / _CUTTER_RADIUS, swing * PATCH_PX, step * PATCH_PX)
    return _float32(np.ones_like(u), np.zeros_like(u), u * PATCH_PX, v * PATCH_PX)


def _float32(
    a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike, d: npt.ArrayLike
) -> tuple[FloatImage, FloatImage, FloatImage, FloatImage]:
    as_float = [np.asarray(values, np.float32) for values in (a, b, c, d)]
    return as_float[0], as_float[1], as_float[2], as_float[3]


def _marks(finish: Finish, rng: np.random.Generator) -> FloatImage:
    marks = correlated_noise(rng, finish.grain_along_px, finish.grain_across_px)
    if finish.feed_px:
        passes = round(BANK_PX / finish.feed_px)
        phase = np.arange(BANK_PX, dtype=np.float32) * np.float32(2 * np.pi * passes / BANK_PX)
        marks = marks + finish.feed_share * np.float32(math.sqrt(2)) * np.sin(phase)[:, None]
    return standardised(marks)


def place(
    face: Face, product: Product, pose: Pose, light: Light, banks: Banks, rng: np.random.Generator
) -> Surface:
    """The undamaged part at `pose` under `light`, with its own realisation of marks and clouds from `rng`."""
    size = (PATCH_PX, PATCH_PX)
    matrix, finish = pose.patch_to_part(), product.finish
    across, along = _mirror_slopes(light)
    column, row = rng.uniform(0, BANK_PX, 2)
    marks = look_up(face.marks, face.column + np.float32(column), face.row + np.float32(row))
    marks = warp(marks, matrix, size)
    cloud = cut(banks.cloud, rng, size, angle=None)
    distance = warp(face.distance, matrix, size) * np.float32(pose.scale)

    tangent = _in_light_axes(face.tangent_u, face.tangent_v, pose, light)
    highlight = finish.gloss * _highlight(finish, tangent, across, along, marks)
    body = finish.diffuse * (1 + finish.tone_variation * marks + np.float32(_CLOUD) * cloud)
    tone = (body + highlight) * (1 + np.float32(_FALLOFF / _SLOPE_PER_ROI) * across)

    facing = _in_light_axes(face.normal_u, face.normal_v, pose, light)[0]
    facet = warp(face.facet, matrix, size)
    tone += facet * (_facet_tone(facing) - tone)
    tone = blur(tone, _BLEED_PX) * np.float32(light.strength)
    presence = np.clip(0.5 - distance * PATCH_PX / 1.6, 0, 1)
    return Surface(tone, distance, presence, product.tint)


def _mirror_slopes(light: Light) -> tuple[FloatImage, FloatImage]:
    """The slope across and along the bar that would mirror it into the camera, at every patch pixel."""
    x, y = roi_grid()
    cos, sin = np.float32(math.cos(light.azimuth)), np.float32(math.sin(light.azimuth))
    across = np.float32(_SLOPE_PER_ROI) * (x * cos + y * sin) - np.float32(light.offset)
    along = np.float32(_SLOPE_PER_ROI) * (y * cos - x * sin)
    return across, along - np.clip(along, -_BAR_HALF_LENGTH, _BAR_HALF_LENGTH)


def _in_light_axes(u: FloatImage, v: FloatImage, pose: Pose, light: Light) -> tuple[FloatImage, FloatImage]:
    """Directions given in the part's axes, laid at `pose` and split into towards the bar and along it."""
    matrix, size = pose.patch_to_part(), (PATCH_PX, PATCH_PX)
    turn = pose.angle - light.azimuth
    cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    return warp(u * cos - v * sin, matrix, size), warp(u * sin + v * cos, matrix, size)


def _highlight(
    finish: Finish,
    tangent: tuple[FloatImage, FloatImage],
    across: FloatImage,
    along: FloatImage,
    marks: FloatImage,
) -> FloatImage:
    """Ward's lobe, 0 to 1: the chance of the mirror slope under the face's two roughnesses."""
    with_marks = across * tangent[0] + along * tangent[1]
    over_marks = along * tangent[0] - across * tangent[1] + np.float32(finish.slope_variation) * marks
    lobe = (with_marks / finish.roughness_along) ** 2 + (over_marks / finish.roughness_across) ** 2
    return np.asarray(np.exp(np.float32(-0.5) * lobe), np.float32)


def _facet_tone(facing: FloatImage) -> FloatImage:
    """Signal of a chamfer by how far it faces the bar: bright towards it, dim away from it."""
    return np.float32(0.13) + np.float32(0.62) * np.maximum(facing, 0) ** 2


def shadow(surface: Surface, light: Light) -> FloatImage:
    """Share of light the part takes from the belt around it and under its holes: (512, 512) float32, 0 to
    0.65.
    """
    reach = -0.014 * PATCH_PX
    shift = np.array([[1, 0, -reach * math.cos(light.azimuth)], [0, 1, -reach * math.sin(light.azimuth)]])
    cast = warp(surface.presence, shift, (PATCH_PX, PATCH_PX))
    return np.float32(0.65) * blur(np.maximum(cast, surface.presence), 5.0)
