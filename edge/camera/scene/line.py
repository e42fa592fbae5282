"""The simulated line: one part in each frame, the same part for the same index."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from edge.camera.scene.belt import BELT_TINT, belt_signal
from edge.camera.scene.damage import Damage, Stage, channel_signal, damage, face_sites
from edge.camera.scene.defects import Defect
from edge.camera.scene.pose import draw_pose
from edge.camera.scene.products import Product
from edge.camera.scene.raster import BoolImage, FloatImage, area_resize, linear_resize, warp
from edge.camera.scene.sensor import NOMINAL_GAIN_DB, PLANES, Plane, make_sensor
from edge.camera.scene.surface import Light, Surface, draw_light, make_face, place, shadow
from edge.camera.scene.texture import make_banks
from edge.errors import ConfigError

NOMINAL_EXPOSURE_US = 400.0
_DRIFT = 0.08  # of the exposure, relative
_SMALLEST_SIDE = 256


class _Stream(IntEnum):
    """Independent sources of chance, so that one does not move when another is used more or less."""

    FACE = 0
    BANKS = 1
    SENSOR = 2
    DRIFT = 3
    VERDICT = 4
    POSE = 5
    LIGHT = 6
    TEXTURE = 7
    DEFECT = 8
    BELT = 9
    NOISE = 10


@dataclass(frozen=True, slots=True, eq=False)
class RenderedPart:
    """A frame of the line and the truth about the part in it."""

    image: npt.NDArray[np.uint8]  # (height, width) BayerRG8: pixel (0, 0) is red; read-only
    defect: Defect | None  # None for a good part
    mask: BoolImage  # (height, width), True on the defect; read-only
    contrast_to_noise: float  # of the defect at the model's input, see `visibility`; NaN for a good part
    exposure_us: float
    gain_db: float


def part_roi_px(width: int, height: int) -> tuple[int, int, int, int]:
    """The square of the frame in which the part lies whole: x, y, width, height in pixels.

    It is centred to within a mosaic cell, starts on a red pixel, and its side is the multiple of 8 next to
    0.948 of the height: (512, 28, 1024, 1024) in a frame of 2048 x 1080. Raises ConfigError for a frame
    with odd sides, or too small or too narrow to hold it.
    """
    side = round(0.948 * height / 8) * 8
    if width % 2 or height % 2 or side < _SMALLEST_SIDE or width < side:
        raise ConfigError(
            f"A simulated frame of {width} x {height} pixels cannot hold the part.",
            do="Choose an even width and height, at least 280 pixels high and no higher than wide.",
        )
    return (width - side) // 4 * 2, (height - side) // 4 * 2, side, side


class Line:
    """A line that makes one product.

    `part` depends on the product, the seed, the index, the defect share and the frame size, and on nothing
    else; a Line holds no state that changes, so it may be used from several threads and pickled into worker
    processes.
    """

    def __init__(
        self, product: Product, *, seed: int, defect_share: float = 0.1, width: int = 2048, height: int = 1080
    ) -> None:
        """`seed` is 0 or more, `defect_share` the probability of a defect, 0 to 1; ConfigError otherwise.

        Width and height are in pixels; see `part_roi_px` for what they must be.
        """
        if seed < 0 or not 0 <= defect_share <= 1:
            raise ConfigError(
                f"A simulated line cannot have seed {seed} and defect share {defect_share}.",
                do="Choose a seed of 0 or more and a defect share from 0 to 1.",
            )
        self._roi = part_roi_px(width, height)
        self._product = product
        self._seed = seed
        self._defect_share = defect_share
        self._face = make_face(product, self._rng(_Stream.FACE))
        self._sites = face_sites(self._face.distance)
        self._banks = make_banks(self._rng(_Stream.BANKS))
        self._sensor = make_sensor(width, height, self._rng(_Stream.SENSOR))

    def part(self, index: int) -> RenderedPart:
        """Part number `index`, 0 or more, in any order."""
        pose = draw_pose(self._rng(_Stream.POSE, index))
        light = draw_light(self._rng(_Stream.LIGHT, index))
        exposure = self._exposure(index)
        texture = self._rng(_Stream.TEXTURE, index)
        surface = place(self._face, self._product, pose, light, self._banks, texture)
        kind, done = self._defect(index), None
        if kind is not None:
            stage = Stage(surface, light, exposure, self._roi[2])
            done = damage(kind, self._sites, pose, stage, self._banks, self._rng(_Stream.DEFECT, index))
        image = self._frame(index, surface, light, exposure, done)
        mask = self._mask(done)
        image.flags.writeable = mask.flags.writeable = False
        ratio = math.nan if done is None else done.contrast_to_noise
        return RenderedPart(image, kind, mask, ratio, NOMINAL_EXPOSURE_US * exposure, NOMINAL_GAIN_DB)

    def _rng(self, stream: _Stream, index: int = 0) -> np.random.Generator:
        product = zlib.crc32(self._product.name.encode())
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self._seed, index, stream, product]))
        )

    def _defect(self, index: int) -> Defect | None:
        rng = self._rng(_Stream.VERDICT, index)
        if rng.random() >= self._defect_share:
            return None
        return tuple(Defect)[int(rng.integers(len(Defect)))]

    def _exposure(self, index: int) -> float:
        """Exposure relative to nominal: two slow waves that never leave ±8 %."""
        rng = self._rng(_Stream.DRIFT)
        slow, quick = rng.uniform(700, 1500), rng.uniform(180, 400)
        phase = rng.uniform(0, 2 * math.pi, 2)
        wave = 0.65 * math.sin(2 * math.pi * index / slow + phase[0])
        ripple = 0.35 * math.sin(2 * math.pi * index / quick + phase[1])
        return 1 + _DRIFT * (wave + ripple)

    def _frame(
        self, index: int, surface: Surface, light: Light, exposure: float, done: Damage | None
    ) -> npt.NDArray[np.uint8]:
        x, y, side, _ = self._roi
        size = (self._sensor.width // 2, self._sensor.height // 2)
        belt = belt_signal(self._banks, size, side // 2, self._rng(_Stream.BELT, index))
        window = np.s_[y // 2 : (y + side) // 2, x // 2 : (x + side) // 2]
        uncovered = (1 - surface.presence) * (1 - shadow(surface, light))
        planes = []
        for place_ in PLANES:
            channel = place_.channel
            part = surface.presence * channel_signal(surface, channel, done)
            plane = belt * np.float32(BELT_TINT[channel])
            plane[window] = plane[window] * sampled(uncovered, place_, side) + sampled(part, place_, side)
            planes.append(plane * np.float32(exposure))
        return self._sensor.expose(planes, NOMINAL_GAIN_DB, self._rng(_Stream.NOISE, index))

    def _mask(self, done: Damage | None) -> BoolImage:
        mask = np.zeros((self._sensor.height, self._sensor.width), np.bool_)
        if done is not None:
            x, y, side, _ = self._roi
            mask[y : y + side, x : x + side] = linear_resize(done.flaw.extent.astype(np.float32), side) >= 0.5
        return mask


def sampled(patch: FloatImage, plane: Plane, side: int) -> FloatImage:
    """The pixels of one mosaic plane over a ROI of `side` pixels: (side / 2, side / 2) float32 of a square
    patch.
    """
    if side < patch.shape[0]:
        patch = area_resize(patch, side)
    step = 2 * patch.shape[0] / side
    per_px = patch.shape[0] / side
    matrix = np.array(
        [[step, 0, (plane.column + 0.5) * per_px - 0.5], [0, step, (plane.row + 0.5) * per_px - 0.5]]
    )
    return warp(patch, matrix, (side // 2, side // 2))
