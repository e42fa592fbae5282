"""Options that all `adclip calibrate` commands of the camera share, and the bench they open."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge.config import StationConfig, load_station
from edge.errors import ConfigError
from edge.messages import Box

if TYPE_CHECKING:
    from calibration.camera.bench import BenchCamera, Operator
    from calibration.camera.station_calibration import Signature
    from edge.clock import Clock

Command = TypeVar("Command", bound=Callable[..., Any])
DEFAULT_FOLDER = Path("camera-calibration")


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What was asked for on the command line."""

    config: Path | None
    simulated: bool
    seed: int
    out: Path
    yes: bool
    as_json: bool
    lens: str | None
    light_note: str | None
    operator: str | None

    def signature(self) -> Signature:
        """Who makes the calibration, and when."""
        from calibration.camera.station_calibration import Signature

        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Signature(now, self.operator or _user(), self.lens, self.light_note)


@dataclass(frozen=True, slots=True)
class OpenBench:
    """A camera ready to be calibrated. `hand` moves the targets of a simulated bench, None for a real one."""

    camera: BenchCamera
    clock: Clock
    station: StationConfig | None
    hand: Operator | None

    @property
    def region_px(self) -> Box | None:
        """The part of the sensor that is read out, as the station file names it."""
        return None if self.station is None else getattr(self.station.camera, "region_px", None)


def bench_options(command: Command) -> Command:
    """Add the shared options; the command takes a `BenchOptions` as `options`."""

    def gathered(**values: Any) -> Any:
        own = {name: values.pop(name) for name in BenchOptions.__dataclass_fields__}
        return command(options=BenchOptions(**own), **values)

    gathered.__name__, gathered.__doc__ = command.__name__, command.__doc__
    gathered.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]


@contextmanager
def open_bench(options: BenchOptions) -> Iterator[OpenBench]:
    """The bench that was asked for, closed again afterwards.

    Raises `ConfigError` when neither or both are named or the station's camera cannot be calibrated,
    `OpenError` when it cannot be opened.
    """
    if options.simulated == (options.config is not None):
        raise ConfigError(
            "Name one bench: the station's camera or the simulated one.",
            do="Give --config STATION.YAML, or --simulated to try it without hardware.",
        )
    bench = _simulated(options.seed) if options.config is None else _of_station(load_station(options.config))
    try:
        yield bench
    finally:
        bench.camera.close()


def _simulated(seed: int) -> OpenBench:
    from calibration.camera.simulated_bench import SimulatedBench

    bench = SimulatedBench(seed=seed)
    return OpenBench(bench, bench.clock, None, bench)


def _of_station(station: StationConfig) -> OpenBench:
    from calibration.camera.driver_bench import DriverBench
    from edge.camera_config import AravisCameraConfig, SpinnakerCameraConfig
    from edge.clock import MonotonicClock

    if not isinstance(station.camera, (AravisCameraConfig, SpinnakerCameraConfig)):
        raise ConfigError(
            f"The camera of this station is '{station.camera.backend}', which has nothing to calibrate.",
            do="Name a station file with a spinnaker or an aravis camera, or use --simulated.",
        )
    return OpenBench(DriverBench(station.camera), MonotonicClock(), station, None)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in a container
        return "unknown"


_FOLDER = click.Path(path_type=Path, file_okay=False)
_OPTIONS = (
    click.option(
        "--config", type=click.Path(path_type=Path), help="The station file: calibrates its camera."
    ),
    click.option("--simulated", is_flag=True, help="A simulated bench in place of a camera."),
    click.option(
        "--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the simulated bench."
    ),
    click.option(
        "--out", type=_FOLDER, default=DEFAULT_FOLDER, show_default=True, help="Calibration folder."
    ),
    click.option("--yes", is_flag=True, help="Ask nothing: all targets are in place when they are needed."),
    click.option("--json", "as_json", is_flag=True, help="The report as JSON on standard output."),
    click.option("--lens", help="Note on the lens: type, aperture, working distance."),
    click.option("--light-note", help="Note on the light: lamp, driver, setting."),
    click.option("--operator", metavar="NAME", help="Who calibrates; the account's name when left out."),
)
