"""The station's own camera as a bench: one picture for each software trigger, whatever triggers the line.

A driver takes its settings when it opens and gives them to nobody to change. So a change of them closes the
device and opens it again, as the line would: slower, and every value is written and read back the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from calibration.camera.bench import Identity, Ranges, Settings
from edge.camera.driver import Driver, Grabbed, open_driver
from edge.camera_config import AravisCameraConfig, SpinnakerCameraConfig, TriggerConfig, WhiteBalance
from edge.errors import ConfigError, EdgeError, OperateError
from edge.messages import PixelFormat, RawImage

DeviceConfig = AravisCameraConfig | SpinnakerCameraConfig
DriverOpener = Callable[[DeviceConfig], Driver]

USUAL_RANGES = Ranges(exposure_us=(20.0, 1_000_000.0), gain_db=(0.0, 47.0), colour_gain=(0.25, 4.0))
"""Of a Blackfly S; a driver does not tell its own. The camera has the last word: what it does not take is a
`ConfigError` all the same."""

LATE_MS = 1000.0
"""Time for readout and transfer of one picture, beside its exposure."""
TRIES = 2
"""A camera that has just been started may not be ready for its first trigger, and says nothing."""
COLOURLESS = (PixelFormat.MONO8, PixelFormat.MONO12)


class DriverBench:
    """A `BenchCamera` over a driver. `config` is the station's own: serial number, format, region, black level
    and gamma are kept, the trigger is not.

    Raises `OpenError` or `ConfigError` when the camera cannot be opened, `OperateError` when no picture comes.
    """

    def __init__(
        self, config: DeviceConfig, ranges: Ranges = USUAL_RANGES, opener: DriverOpener = open_driver
    ) -> None:
        self._config = _by_command(config)
        self._ranges, self._opener = ranges, opener
        self._driver: Driver | None = None
        self._settings = _settings(config)
        self._open(self._config)
        try:
            first = self._grab()
            self._identity = self._identify(first)
        except EdgeError:
            self.close()
            raise
        self._take_over(first)

    @property
    def identity(self) -> Identity:
        """See `BenchCamera.identity`."""
        return self._identity

    @property
    def ranges(self) -> Ranges:
        """See `BenchCamera.ranges`."""
        return self._ranges

    @property
    def settings(self) -> Settings:
        """See `BenchCamera.settings`; exposure and gain are those of the last picture."""
        return self._settings

    def set(
        self,
        *,
        exposure_us: float | None = None,
        gain_db: float | None = None,
        red_gain: float | None = None,
        blue_gain: float | None = None,
    ) -> Settings:
        """See `BenchCamera.set`. A value that the camera does not take leaves it with those of before."""
        now, ranges = self._settings, self._ranges
        wanted = Settings(
            _within("exposure", exposure_us, now.exposure_us, ranges.exposure_us),
            _within("gain", gain_db, now.gain_db, ranges.gain_db),
            _within("red gain", red_gain, now.red_gain, ranges.colour_gain),
            _within("blue gain", blue_gain, now.blue_gain, ranges.colour_gain),
        )
        if wanted == now:
            return now
        before, self._config = self._config, _with(self._config, wanted, self._identity.pixel_format)
        refusal = self._refusal_of(self._config)
        if refusal is not None:
            self._config = before
            self._open(before)
            raise refusal
        self._settings = wanted
        self._take_over(self._grab())
        return self._settings

    def grab(self, count: int) -> tuple[RawImage, ...]:
        """See `BenchCamera.grab`."""
        pictures = [self._grab() for _ in range(count)]
        return tuple(_whole(picture) for picture in pictures)

    def temperature_c(self) -> float | None:
        """See `BenchCamera.temperature_c`."""
        return self._opened().health().temperature_c

    def close(self) -> None:
        """See `BenchCamera.close`."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    def _open(self, config: DeviceConfig) -> None:
        self.close()
        self._driver = self._opener(config)
        self._driver.start()

    def _refusal_of(self, config: DeviceConfig) -> ConfigError | None:
        """Open with it; the error when the camera does not take it. It is a new one, for the traceback of the
        camera's own would hold the half-opened device, and nobody could open it again."""
        try:
            self._open(config)
        except ConfigError as fault:
            return ConfigError(fault.what, do=fault.do)
        return None

    def _opened(self) -> Driver:
        if self._driver is None:
            raise OperateError("The camera is closed.", do="Open it again.")
        return self._driver

    def _grab(self) -> Grabbed:
        driver = self._opened()
        for _ in range(TRIES):
            while driver.grab(0.0) is not None:
                pass  # one that came too late for its own trigger
            driver.fire()
            picture = driver.grab(LATE_MS + self._config.exposure_us / 1000)
            if picture is not None:
                _whole(picture)
                return picture
        raise OperateError(
            f"No picture came after {TRIES} software triggers.",
            do="Check the cable and that no other program holds the camera, then run 'adclip check'.",
        )

    def _identify(self, picture: Grabbed) -> Identity:
        device, image = self._opened().identity, _whole(picture)
        return Identity(
            model=device.model,
            serial=device.serial,
            firmware=device.firmware,
            pixel_format=picture.pixel_format,
            width_px=image.shape[1],
            height_px=image.shape[0],
        )

    def _take_over(self, picture: Grabbed) -> None:
        self._settings = replace(
            self._settings, exposure_us=float(picture.exposure_us), gain_db=float(picture.gain_db)
        )


def _whole(picture: Grabbed) -> RawImage:
    if picture.image is None or not picture.complete:
        raise OperateError(
            "A picture arrived incomplete.",
            do="Check cable, hub and bandwidth ('adclip check' names what to change), then try again.",
        )
    return picture.image


def _by_command(config: DeviceConfig) -> DeviceConfig:
    """With a software trigger as often as it is asked for."""
    trigger = TriggerConfig(mode="software", overlap=config.trigger.overlap)
    return _changed(config, trigger=trigger)


def _with(config: DeviceConfig, settings: Settings, pixel_format: PixelFormat) -> DeviceConfig:
    balance = None
    if pixel_format not in COLOURLESS and (settings.red_gain, settings.blue_gain) != (1.0, 1.0):
        balance = WhiteBalance(red=settings.red_gain, blue=settings.blue_gain)
    return _changed(config, exposure_us=settings.exposure_us, gain_db=settings.gain_db, white_balance=balance)


def _changed(config: DeviceConfig, **values: object) -> DeviceConfig:
    """A validated copy."""
    return type(config).model_validate({**dict(config), **values})


def _settings(config: DeviceConfig) -> Settings:
    balance = config.white_balance
    gains = (1.0, 1.0) if balance is None else (balance.red, balance.blue)
    return Settings(config.exposure_us, config.gain_db, *gains)


def _within(name: str, asked: float | None, now: float, bounds: tuple[float, float]) -> float:
    if asked is None:
        return now
    low, high = bounds
    if not low <= asked <= high:
        raise ConfigError(
            f"The camera cannot be set to a {name} of {asked:g}.",
            do=f"Choose a value from {low:g} to {high:g}.",
        )
    return float(asked)
