"""A computed camera bench: camera, lens, lamp, targets and the hand that places them, with the truth known.

    target ─▶ lens: pose, distortion, blur ─▶ lamp and vignetting ─▶ sensor ─▶ raw picture
               ▲ turn_focus                     ▲ simulated time       ▲ exposure, gains

It answers to exposure, gain, white balance, focus, lamp, time and target. It does not model: motion of the part,
a camera that is not square to the belt, height of the part or the thickness of the board, reflection and shine,
stray and ambient light, colour shading and lateral colour, field curvature, tangential distortion, a change of
scale with focus, dark current, row noise, any non-linearity but saturation, Poisson statistics of few electrons
(shot noise is normal), a strobe, transfer errors, or anything that a driver does.
"""

from __future__ import annotations

import math

import numpy as np

from calibration.camera.bench import Identity, Ranges, Settings, Target
from calibration.camera.raw_levels import full_scale
from calibration.camera.simulated_board import SimulatedBoard, board_pose
from calibration.camera.simulated_lamp import SimulatedClock, SimulatedLamp
from calibration.camera.simulated_lens import SimulatedLens
from calibration.camera.simulated_part import PartKind, belt_sheet, part_sheet
from calibration.camera.simulated_sensor import SimulatedSensor, expose, make_pixels, mosaic
from calibration.camera.simulated_sheet import Map, Pose
from calibration.camera.simulated_truth import Truth
from edge.errors import ConfigError, OperateError
from edge.messages import PixelFormat, RawImage

RANGES = Ranges(exposure_us=(20.0, 200_000.0), gain_db=(0.0, 47.0), colour_gain=(0.25, 4.0))
READOUT_S = 0.012
LEAST_PERIOD_S = 1 / 42
_STEP = {"exposure_us": 0.5, "gain_db": 0.01, "red_gain": 1 / 1024, "blue_gain": 1 / 1024}
_GREY = 0.6
_COLD_C, _WARM_C = 32.0, 47.0


class SimulatedBench:
    """`BenchCamera` and `Operator` at once; the same seed and the same calls give the same pictures.

    Time is `clock`'s: taking pictures and waiting on it let it pass. `focus_mm` is where the focus ring stands,
    None for best focus. `grey_tint` makes the grey target something else. View 0 of the board lies flat on the
    belt. Raises `ConfigError` for a format or a size that it cannot give.
    """

    def __init__(
        self,
        width_px: int = 1024,
        height_px: int = 540,
        seed: int = 1,
        pixel_format: PixelFormat = PixelFormat.BAYER_RG8,
        *,
        sensor: SimulatedSensor | None = None,
        lens: SimulatedLens | None = None,
        lamp: SimulatedLamp | None = None,
        board: SimulatedBoard | None = None,
        part: PartKind = "plate",
        grey_tint: tuple[float, float, float] = (1.0, 1.0, 1.0),
        focus_mm: float | None = None,
        clock: SimulatedClock | None = None,
    ) -> None:
        _check_size(width_px, height_px, pixel_format)
        self.clock = clock or SimulatedClock()
        self.board = board or SimulatedBoard()
        self._sensor, self._lens, self._lamp = (
            sensor or SimulatedSensor(),
            lens or SimulatedLens(),
            lamp or SimulatedLamp(),
        )
        self._seed, self._format, self._part, self._grey_tint = seed, pixel_format, part, grey_tint
        self._shape = height_px, width_px
        self._rays = self._lens.rays(width_px, height_px)
        self._vignetting = self._lens.vignetting(self._rays)
        self._pixels = make_pixels(self._sensor, self._shape, pixel_format, self._rng("pixels"))
        self._noise = self._rng("noise")
        self._opened_ns = self.clock.now_ns()
        self._settings = Settings(exposure_us=1000.0, gain_db=0.0)
        self._focus_mm = self._lens.best_focus_mm if focus_mm is None else focus_mm
        self._closed = False
        self._target, self._view = Target.AS_IT_IS, 0
        self._scene: Map | None = None
        self._light: Map | None = None

    # -- the camera

    @property
    def identity(self) -> Identity:
        """See `BenchCamera.identity`."""
        height_px, width_px = self._shape
        return Identity("Simulated bench", f"SIM{self._seed:05d}", "1.0", self._format, width_px, height_px)

    @property
    def ranges(self) -> Ranges:
        """See `BenchCamera.ranges`."""
        return RANGES

    @property
    def settings(self) -> Settings:
        """See `BenchCamera.settings`."""
        return self._settings

    def set(
        self,
        *,
        exposure_us: float | None = None,
        gain_db: float | None = None,
        red_gain: float | None = None,
        blue_gain: float | None = None,
    ) -> Settings:
        """See `BenchCamera.set`; values go in the camera's own steps."""
        now = self._settings
        self._settings = Settings(
            _stepped("exposure_us", exposure_us, now.exposure_us, RANGES.exposure_us),
            _stepped("gain_db", gain_db, now.gain_db, RANGES.gain_db),
            _stepped("red_gain", red_gain, now.red_gain, RANGES.colour_gain),
            _stepped("blue_gain", blue_gain, now.blue_gain, RANGES.colour_gain),
        )
        return self._settings

    def grab(self, count: int) -> tuple[RawImage, ...]:
        """See `BenchCamera.grab`."""
        return tuple(self._picture() for _ in range(count))

    def temperature_c(self) -> float:
        """See `BenchCamera.temperature_c`: it rises as the lamp falls."""
        cold = np.exp(-self._since_opened_s() / self._lamp.warm_up_s)
        return float(_WARM_C - (_WARM_C - _COLD_C) * cold)

    def close(self) -> None:
        """See `BenchCamera.close`."""
        self._closed = True

    # -- the hand

    def present(self, target: Target, what: str, view: int = 0) -> None:
        """See `Operator.present`; it is in place at once."""
        self._target, self._view, self._scene, self._light = target, view, None, None

    def turn_focus(self, by_mm: float) -> None:
        """Turn the focus ring so that the image plane moves by this much."""
        self._focus_mm += by_mm
        self._light = None

    # -- the truth

    @property
    def focus_mm(self) -> float:
        """Where the focus ring stands."""
        return self._focus_mm

    @property
    def truth(self) -> Truth:
        """See `Truth`."""
        height_px, width_px = self._shape
        sensor, lens = self._sensor, self._lens
        red, green, blue = (s * c for s, c in zip(sensor.sensitivity, self._lamp.colour, strict=True))
        black = sensor.black_dn(self._format)
        return Truth(
            mm_per_px=lens.mm_per_px(width_px),
            working_distance_mm=lens.working_distance_mm,
            camera_matrix=lens.camera_matrix(width_px, height_px),
            distortion=np.array([lens.k1, lens.k2, 0.0, 0.0, 0.0]),
            vignetting=self._vignetting,
            evenness=self._vignetting * self._lamp.field(width_px, height_px) * self._pixels.response,
            black_level_dn=black,
            black_dn=black + self._pixels.dark_dn,
            electrons_per_dn=sensor.electrons_per_dn(self._format),
            full_well_e=sensor.full_well_e,
            read_noise_e=sensor.read_noise_e,
            prnu_share=sensor.prnu_share,
            red_gain=green / red,
            blue_gain=green / blue,
            dead_px=np.concatenate([self._pixels.hot_px, self._pixels.faint_px]),
            best_focus_mm=lens.best_focus_mm,
            full_scale_dn=full_scale(self._format),
        )

    def board_pose(self, view: int) -> Pose:
        """The board's pose in a view, from the first corner of its first square."""
        return board_pose(self.board, view, self._lens.working_distance_mm, self._seed)

    def lamp_level(self) -> float:
        """The lamp's light now, without flicker, relative to the warm lamp."""
        return self._lamp.steady(self._since_opened_s())

    # -- one picture

    def _picture(self) -> RawImage:
        if self._closed:
            raise OperateError("The simulated camera is closed.", do="Open it again.")
        exposure_us = self._settings.exposure_us
        if self._light is None:
            self._light = self._rate()
        lamp = self._lamp.level(self._since_opened_s(), exposure_us)
        light_e = self._light * np.float32(lamp * exposure_us)
        self.clock.advance(max(LEAST_PERIOD_S, exposure_us * 1e-6 + READOUT_S))
        return expose(self._sensor, self._pixels, light_e, self._settings, self._format, self._noise)

    def _rate(self) -> Map:
        """(h, w) electrons in a microsecond of the warm lamp's light."""
        if self._target is Target.DARK:
            return np.zeros(self._shape, np.float32)
        colour = np.array(self._sensor.sensitivity) * self._lamp.colour * self._lamp.electrons_per_us
        if self._scene is None:
            self._scene = self._in_view()
        # An even target looks the same whatever the focus.
        seen = self._scene if self._target is Target.GREY else self._lens.blurred(self._scene, self._focus_mm)
        seen = mosaic(seen * colour.astype(np.float32), self._format)
        return seen * self._vignetting * self._lamp.field(self._shape[1], self._shape[0])

    def _in_view(self) -> Map:
        """(h, w, 3) reflectance that each pixel would see through a perfectly sharp lens."""
        if self._target is Target.GREY:
            return np.broadcast_to(
                np.array(self._grey_tint, np.float32) * np.float32(_GREY), (*self._shape, 3)
            )
        if self._target is Target.BOARD:
            return self._board_on_belt()
        sheet = part_sheet(self._part, *self._extent(), self._rng("part"))
        return sheet.seen(self._rays, self._belt_pose())[0]

    def _board_on_belt(self) -> Map:
        belt = belt_sheet(*self._extent(), self._rng("part")).seen(self._rays, self._belt_pose())[0]
        print_ = self.board.sheet(self._lens.mm_per_px(self._shape[1]))
        board, share = print_.seen(self._rays, self.board_pose(self._view))
        return np.asarray(belt + share[..., None] * (board - belt), np.float32)

    def _extent(self) -> tuple[tuple[float, float], float]:
        """Size in mm of the belt in view, corners included, and the scale of the camera there."""
        distance = self._lens.working_distance_mm
        far = np.abs(self._rays).max(axis=(0, 1)) * (2 * distance)
        return (float(far[0]), float(far[1])), self._lens.mm_per_px(self._shape[1])

    def _belt_pose(self) -> Pose:
        return Pose(np.zeros(3), np.array([0.0, 0.0, self._lens.working_distance_mm]))

    def _since_opened_s(self) -> float:
        return (self.clock.now_ns() - self._opened_ns) / 1e9

    def _rng(self, stream: str) -> np.random.Generator:
        return np.random.default_rng([self._seed, *stream.encode()])


def _check_size(width_px: int, height_px: int, pixel_format: PixelFormat) -> None:
    if pixel_format is PixelFormat.RGB8:
        raise ConfigError(
            "The simulated bench gives raw pictures, not RGB8.", do="Choose a Bayer or a Mono format."
        )
    if width_px % 2 or height_px % 2 or not (256 <= width_px <= 8192 and 128 <= height_px <= 8192):
        raise ConfigError(
            f"The simulated bench has no sensor of {width_px} x {height_px} pixels.",
            do="Choose even numbers, from 256 x 128 to 8192 x 8192.",
        )


def _stepped(name: str, asked: float | None, now: float, bounds: tuple[float, float]) -> float:
    if asked is None:
        return now
    low, high = bounds
    if not low <= asked <= high:
        raise ConfigError(
            f"The camera cannot set {name} to {asked:g}.", do=f"Choose a value from {low:g} to {high:g}."
        )
    # A camera takes the next lower of its steps.
    return min(high, max(low, math.floor(asked / _STEP[name] + 1e-6) * _STEP[name]))
