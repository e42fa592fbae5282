"""`adclip calibrate camera`, `geometry` and `light`: setting up a station's camera, measured step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from calibration.camera.bench_options import BenchOptions, bench_options
from edge.commands.options import BOX
from edge.messages import Box

if TYPE_CHECKING:
    from calibration.camera.session import Step

STEPS = ("warm_up", "focus", "exposure", "white_balance", "dark", "flat", "noise")


@click.group("calibrate")
def calibrate_command() -> None:
    """Set up a station: camera, geometry and light."""


class StepsType(click.ParamType[tuple[str, ...]]):
    """Names of steps with commas between them."""

    name = "step,step"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Known names, each once."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip().replace("-", "_") for name in str(value).split(","))
        for name in names:
            if name not in STEPS:
                self.fail(f"{name!r} is no step: there are {', '.join(STEPS)}.", param, ctx)
        return names


@calibrate_command.command()
@bench_options
@click.option("--steps", type=StepsType(), default=STEPS, show_default="all", help=f"Of {', '.join(STEPS)}.")
@click.option("--resume", is_flag=True, help="Go on where the last run for this folder ended.")
@click.option(
    "--line-speed-mm-s", type=click.FloatRange(0, min_open=True), help="Bounds the exposure by motion."
)
@click.option(
    "--mm-per-px", type=click.FloatRange(0, min_open=True), help="Scale on the belt, if not calibrated."
)
@click.option("--most-blur-px", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--area", type=BOX, help="Where the part lies; the station file's roi_px when left out.")
@click.option(
    "--frames", type=click.IntRange(32, 1024), default=32, show_default=True, help="Dark and flat, each."
)
def camera(
    options: BenchOptions,
    steps: tuple[str, ...],
    resume: bool,
    line_speed_mm_s: float | None,
    mm_per_px: float | None,
    most_blur_px: float,
    area: Box | None,
    frames: int,
) -> int:
    """Warm-up, focus, exposure, white balance, dark and flat field, noise.

    Writes a calibration folder with a report. A step that refuses ends the run with exit code 2 and says what
    to change on the machine; `--resume` goes on from there.
    """
    from calibration.camera.camera_run import CameraOptions, run_camera
    from calibration.camera.session import Step

    chosen: tuple[Step, ...] = tuple(step for step in Step if step.value in steps)
    run_camera(options, CameraOptions(chosen, resume, line_speed_mm_s, mm_per_px, most_blur_px, area, frames))
    return 0


class BoardType(click.ParamType[tuple[int, int]]):
    """COLUMNSxROWS."""

    name = "columns x rows"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Two whole numbers."""
        if isinstance(value, tuple):
            return value
        try:
            columns, rows = (int(number) for number in str(value).lower().split("x"))
        except ValueError:
            self.fail(f"{value!r} is not COLUMNSxROWS, as in 12x9.", param, ctx)
        return columns, rows


@calibrate_command.command()
@bench_options
@click.option(
    "--board", type=BoardType(), default="12x9", show_default=True, help="Squares of the ChArUco board."
)
@click.option("--square-mm", type=float, default=20.0, show_default=True, help="Measured with calipers.")
@click.option("--marker-mm", type=float, default=15.0, show_default=True)
@click.option("--dictionary", default="DICT_4X4_100", show_default=True, help="OpenCV's name of the markers.")
@click.option(
    "--thickness-mm", type=float, default=0.0, show_default=True, help="Of the board, above the belt."
)
@click.option("--views", type=click.IntRange(12, 60), default=20, show_default=True)
def geometry(
    options: BenchOptions,
    board: tuple[int, int],
    square_mm: float,
    marker_mm: float,
    dictionary: str,
    thickness_mm: float,
    views: int,
) -> int:
    """Lens distortion, and millimetres per pixel on the belt, from a ChArUco board."""
    from calibration.camera.board import BoardSpec
    from calibration.camera.geometry import GeometryLimits
    from calibration.camera.station_runs import run_geometry

    spec = BoardSpec(*board, square_mm, marker_mm, dictionary, thickness_mm)
    run_geometry(options, spec, GeometryLimits(views=views))
    return 0


@calibrate_command.command()
@bench_options
@click.option("--patch", type=BOX, help="Reference patch of the raw frame that no part ever covers.")
@click.option("--frames", type=click.IntRange(16, 10_000), default=64, show_default=True)
def light(options: BenchOptions, patch: Box | None, frames: int) -> int:
    """How good frames are lit, so that the line notices when they no longer are."""
    from calibration.camera.light import LightLimits
    from calibration.camera.station_runs import run_light

    run_light(options, patch, LightLimits(frames=frames))
    return 0
