"""The simulated conveyor line: metal parts under a bar light, as a colour camera sees them.

Everything is computed from a product, a seed and an index; nothing is recorded. It models geometry,
anisotropic reflection, tool marks, shadow, vignetting, shot and read noise, drift of exposure and the Bayer
mosaic. It does not model depth of field, lens distortion, motion blur, interreflection or the height of the
part.
"""

from __future__ import annotations

from edge.camera.scene.defects import Defect
from edge.camera.scene.line import Line, RenderedPart, part_roi_px
from edge.camera.scene.products import DEFAULT_PRODUCT, PRODUCTS, Product

PART_ROI_PX = (512, 28, 1024, 1024)  # of the default frame, 2048 x 1080; part_roi_px for others

__all__ = [
    "DEFAULT_PRODUCT",
    "PART_ROI_PX",
    "PRODUCTS",
    "Defect",
    "Line",
    "Product",
    "RenderedPart",
    "part_roi_px",
]
