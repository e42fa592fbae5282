"""The catalogue of parts the simulated line can make.

A product fixes geometry, finish, material and the statistics of its texture. Position, rotation, light,
exposure and the piece of texture vary from part to part; see `line`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from edge.camera.scene.shape import Circle, Gear, Polygon, Rectangle, Shape, Slot, bolt_circle

Colour = tuple[float, float, float]  # red, green, blue

DEFAULT_PRODUCT = "turned-ring"


class Lay(str, Enum):
    """Direction of the marks a process leaves on a face (the drawing's word for it)."""

    CONCENTRIC = "concentric"
    STRAIGHT = "straight"
    ARCS = "arcs"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Finish:
    """How a machined face returns light, and the grain of its marks.

    Roughness is the deviation of the face's slope: small along the marks and large across them, which is what
    draws a highlight out into a bow tie or a band.
    """

    name: str
    lay: Lay
    roughness_along: float
    roughness_across: float
    diffuse: float  # signal of the face outside the highlight at nominal exposure, 0 to 1
    gloss: float  # what the highlight adds at its peak, 0 to 1
    tone_variation: float  # deviation of brightness from the marks, relative
    slope_variation: float  # deviation of slope from the marks
    grain_along_px: float  # correlation of the marks, in patch pixels
    grain_across_px: float
    feed_px: float = 0.0  # distance of the tool's passes, in patch pixels; 0 for none
    feed_share: float = 0.0  # weight of that regular pattern against the random one


@dataclass(frozen=True, slots=True)
class Product:
    name: str
    title: str
    shape: Shape
    finish: Finish
    tint: Colour  # reflectance of the metal in R, G, B relative to its luminance
    chamfer: float  # width of the broken edges, in ROI units


TURNED = Finish("turned", Lay.CONCENTRIC, 0.095, 0.55, 0.25, 0.46, 0.050, 0.10, 160, 0.9, 8.0, 0.7)
BRUSHED = Finish("brushed", Lay.STRAIGHT, 0.15, 0.50, 0.26, 0.36, 0.055, 0.10, 38, 0.8)
BLASTED = Finish("blasted", Lay.NONE, 0.36, 0.36, 0.32, 0.24, 0.050, 0.05, 1.1, 1.1)
MILLED = Finish("milled", Lay.ARCS, 0.14, 0.45, 0.27, 0.38, 0.050, 0.10, 110, 1.0, 10.0, 1.0)

STEEL = (0.97, 1.00, 1.05)
STAINLESS = (1.02, 1.00, 0.96)
ALUMINIUM = (1.00, 1.00, 1.01)
BRASS = (1.16, 1.00, 0.62)
BRONZE = (1.20, 0.97, 0.72)


def _plate_holes(half_width: float, half_height: float, radius: float) -> tuple[Circle, ...]:
    return tuple(Circle(radius, x, y) for x in (-half_width, half_width) for y in (-half_height, half_height))


_CATALOGUE = (
    Product("turned-ring", "Turned steel ring", Shape(Circle(0.39), (Circle(0.185),)), TURNED, STEEL, 0.008),
    Product(
        "turned-disc",
        "Turned brass disc with bore",
        Shape(Circle(0.37), (Circle(0.055),), (Circle(0.15),)),
        TURNED,
        BRASS,
        0.007,
    ),
    Product(
        "turned-flange",
        "Turned stainless flange",
        Shape(Circle(0.40), (Circle(0.12), *bolt_circle(6, 0.31, 0.034)), (Circle(0.215),)),
        TURNED,
        STAINLESS,
        0.007,
    ),
    Product(
        "brushed-plate",
        "Brushed stainless cover plate",
        Shape(Rectangle(0.335, 0.225, 0.04), _plate_holes(0.275, 0.165, 0.028)),
        BRUSHED,
        STAINLESS,
        0.007,
    ),
    Product(
        "brushed-link",
        "Brushed aluminium link",
        Shape(Slot(0.20, 0.195), (Circle(0.085, -0.20), Circle(0.085, 0.20))),
        BRUSHED,
        ALUMINIUM,
        0.008,
    ),
    Product(
        "brushed-hexagon",
        "Brushed steel hexagon",
        Shape(Polygon(6, 0.335, 0.03), (Circle(0.13),), (Circle(0.19),)),
        BRUSHED,
        STEEL,
        0.008,
    ),
    Product(
        "blasted-plate",
        "Bead-blasted aluminium plate with slots",
        Shape(
            Rectangle(0.31, 0.26, 0.05),
            (Slot(0.07, 0.03, u=-0.20, angle=math.pi / 2), Slot(0.07, 0.03, u=0.20, angle=math.pi / 2)),
        ),
        BLASTED,
        ALUMINIUM,
        0.007,
    ),
    Product(
        "blasted-gear",
        "Bead-blasted steel gear",
        Shape(Gear(20, 0.325, 0.39), (Circle(0.115),), (Circle(0.19),)),
        BLASTED,
        STEEL,
        0.006,
    ),
    Product(
        "blasted-ring",
        "Bead-blasted bronze ring",
        Shape(Circle(0.385), (Circle(0.20), *bolt_circle(3, 0.295, 0.025))),
        BLASTED,
        BRONZE,
        0.008,
    ),
    Product(
        "milled-flange",
        "Face-milled steel flange",
        Shape(Circle(0.395), (Circle(0.15), *bolt_circle(4, 0.285, 0.042, math.pi / 4))),
        MILLED,
        STEEL,
        0.007,
    ),
    Product(
        "milled-block",
        "Face-milled aluminium block",
        Shape(Rectangle(0.29, 0.29, 0.03), (Circle(0.10), *_plate_holes(0.21, 0.21, 0.032))),
        MILLED,
        ALUMINIUM,
        0.007,
    ),
    Product(
        "milled-slotted-disc",
        "Face-milled brass disc with slots",
        Shape(
            Circle(0.385),
            (
                Circle(0.075),
                *(
                    Slot(0.065, 0.032, 0.235 * math.cos(a), 0.235 * math.sin(a), a)
                    for a in (math.pi / 2, math.pi * 7 / 6, math.pi * 11 / 6)
                ),
            ),
        ),
        MILLED,
        BRASS,
        0.007,
    ),
)

PRODUCTS: Mapping[str, Product] = MappingProxyType({product.name: product for product in _CATALOGUE})
