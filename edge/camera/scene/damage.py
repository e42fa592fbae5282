"""Puts a defect that can be seen on a part: draws, measures, and draws again until it can."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.camera.scene.defects import EDGE_MARGIN, Defect, Flaw, Site, draw
from edge.camera.scene.pose import Pose
from edge.camera.scene.raster import PATCH_PX, FloatImage
from edge.camera.scene.sensor import LUMINANCE
from edge.camera.scene.surface import Light, Surface
from edge.camera.scene.texture import Banks
from edge.camera.scene.visibility import visibility
from edge.errors import OperateError

_MOST_DRAWS = 60
_FAINTEST, _PLAINEST = 3.6, 11.0  # range of the contrast-to-noise ratio aimed at
_LEAST_STRENGTH = 0.45  # below it a crack no longer looks like one, however smooth the face


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What a defect is drawn on and judged against."""

    surface: Surface
    light: Light
    exposure: float  # relative to nominal
    roi_side_px: int


@dataclass(frozen=True, slots=True, eq=False)
class Damage:
    flaw: Flaw
    strength: float  # 0 to 1, of the flaw
    contrast_to_noise: float


def face_sites(distance: FloatImage) -> npt.NDArray[np.float64]:
    """(n, 2) places u, v on a product's face, in ROI units, about which a defect may be drawn."""
    row, column = np.nonzero(distance < -2.2 * EDGE_MARGIN)
    return (np.column_stack([column, row]) + 0.5) / PATCH_PX - 0.5


def damage(
    kind: Defect,
    sites: npt.NDArray[np.float64],
    pose: Pose,
    stage: Stage,
    banks: Banks,
    rng: np.random.Generator,
) -> Damage:
    """A defect of `kind` whose contrast-to-noise ratio and area suffice.

    Every new draw moves it, and after the first few makes it larger. Raises OperateError where no draw
    succeeds, which means that the product's face is too rough for its defects.
    """
    for attempt in range(_MOST_DRAWS):
        u, v = sites[int(rng.integers(len(sites)))]
        x, y = pose.to_roi(float(u), float(v))
        site = Site(x, y, 1 + 0.04 * max(0, attempt - 2))
        target = math.exp(rng.uniform(math.log(_FAINTEST), math.log(_PLAINEST)))
        flaw = draw(kind, site, stage.surface, stage.light, banks, rng)
        found = _at_strength_for(target, flaw, stage)
        if found is not None:
            return found
    raise OperateError(
        f"No visible {kind.value} could be drawn on the simulated part.",
        do="Lower the tone variation of the product's finish, or its gloss.",
    )


def _at_strength_for(target: float, flaw: Flaw, stage: Stage) -> Damage | None:
    """`flaw` weakened until its contrast-to-noise ratio comes near `target`; None if it cannot be seen."""
    if not flaw.extent.any():
        return None
    full = _contrast_to_noise(flaw, 1.0, stage)
    if full is None:
        return None
    strength = min(1.0, max(_LEAST_STRENGTH, target / full))
    reached = _contrast_to_noise(flaw, strength, stage)
    return None if reached is None else Damage(flaw, strength, reached)


def _contrast_to_noise(flaw: Flaw, strength: float, stage: Stage) -> float | None:
    """The ratio of `flaw` at `strength`; None below the limit of ratio or area."""
    clean, change = _luminance(flaw, stage)
    face = (stage.surface.distance < -EDGE_MARGIN).astype(np.float32)
    extent = flaw.extent.astype(np.float32)
    seen = visibility(clean, clean + np.float32(strength) * change, extent, face, stage.roi_side_px)
    return seen.contrast_to_noise if seen.sufficient else None


def _luminance(flaw: Flaw, stage: Stage) -> tuple[FloatImage, FloatImage]:
    """Luminance of the clean part, and what the flaw at full strength changes in it."""
    weights = np.array(LUMINANCE)
    tint, passes, colour = np.array(stage.surface.tint), np.array(flaw.passes), np.array(flaw.colour)
    tone = stage.surface.tone * np.float32(stage.exposure)
    lost = np.float32(weights @ (tint * (1 - passes)))
    added = np.float32((weights @ colour) * stage.exposure)
    clean: FloatImage = tone * np.float32(weights @ tint)
    return clean, np.asarray(flaw.added * added - flaw.cover * tone * lost, np.float32)


def channel_signal(surface: Surface, channel: int, done: Damage | None) -> FloatImage:
    """Signal of the part in one channel (0 red, 1 green, 2 blue) at nominal exposure: (512, 512) float32."""
    signal: FloatImage = surface.tone * np.float32(surface.tint[channel])
    if done is None:
        return signal
    flaw, strength = done.flaw, np.float32(done.strength)
    kept: FloatImage = 1 - strength * flaw.cover * np.float32(1 - flaw.passes[channel])
    return signal * kept + strength * flaw.added * np.float32(flaw.colour[channel])
