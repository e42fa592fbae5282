"""The camera's part of the station file: one class for each backend, chosen by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.messages import Box
from edge.strict_model import Name, NotNegative, PartIds, PositiveFloat, PositiveInt, Share, Strict


class SyntheticCameraConfig(Strict):
    """The simulated line: `parts` parts (0: endless) of one product, `rate_per_min` of them a minute."""

    backend: Literal["synthetic"]
    product: str = "turned-ring"
    seed: Annotated[int, Field(ge=0)] = 1
    parts: Annotated[int, Field(ge=0)] = 0
    rate_per_min: PositiveFloat = 240.0
    defect_share: Share = 0.1
    width_px: Annotated[int, Field(ge=512, le=8192, multiple_of=2)] = 2048
    height_px: Annotated[int, Field(ge=512, le=8192, multiple_of=2)] = 1080


class InjectedFaults(Strict):
    """Faults that the replay camera adds on purpose; part ids count from 1.

    missing: trigger without a frame · duplicated: the frame comes twice · truncated: the lower half did not
    arrive · late: the frame comes `late_ms` after its time.
    """

    missing: PartIds = ()
    duplicated: PartIds = ()
    truncated: PartIds = ()
    late: PartIds = ()
    late_ms: PositiveFloat = 2000.0


class ReplayCameraConfig(Strict):
    """Pictures from disk: a folder of images (searched recursively, in name order) or a recorded run.

    `timing: recorded` keeps the intervals of a recorded run, `fast` hands over each picture when the line is
    ready for it, `rate` brings `rate_per_min` of them a minute.
    """

    backend: Literal["replay"]
    source: Path
    run: PositiveInt | None = None
    timing: Literal["recorded", "fast", "rate"] = "fast"
    rate_per_min: PositiveFloat = 120.0
    parts: Annotated[int, Field(ge=0)] = 0
    faults: InjectedFaults = InjectedFaults()


class TriggerConfig(Strict):
    """What starts an exposure.

    hardware: an edge at the camera's own `line`, as from a photo-eye · software: the daemon, `rate_per_min`
    times a minute · free_run: the camera itself, `rate_per_min` times a minute; for setting up, not for a line.
    `debounce_us` is the camera's input filter. `overlap: readout` lets an exposure begin while the picture before
    is read out; with `off` such a trigger is lost.
    """

    mode: Literal["hardware", "software", "free_run"] = "hardware"
    line: Name = "Line0"
    edge: Literal["rising", "falling"] = "rising"
    delay_us: NotNegative = 0.0
    debounce_us: NotNegative | None = None
    overlap: Literal["off", "readout"] = "readout"
    rate_per_min: PositiveFloat = 120.0


class WhiteBalance(Strict):
    """Gains of red and blue against green, set in the camera."""

    red: Annotated[float, Field(ge=0.1, le=8)]
    blue: Annotated[float, Field(ge=0.1, le=8)]


class ReconnectConfig(Strict):
    """How long to wait before looking for a lost camera again: `first_ms`, doubled up to `longest_ms`."""

    first_ms: PositiveFloat = 500.0
    longest_ms: PositiveFloat = 10_000.0

    @model_validator(mode="after")
    def _ordered(self) -> ReconnectConfig:
        if self.first_ms > self.longest_ms:
            raise ValueError("first_ms must not be longer than longest_ms")
        return self


class GenICamConfig(Strict):
    """Settings of a GenICam camera. Each is written at every opening and read back: nothing that a user set or
    another program left in the camera counts. All automatic functions are switched off.

    `region_px` is the part of the sensor that is read out; for Bayer formats x and y are even, so that the phase
    stays. None leaves `black_level_percent`, `gamma` and `white_balance` at neutral values.
    """

    serial: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    pixel_format: Literal["BayerRG8", "Mono8", "RGB8", "BayerRG12p", "Mono12p"] = "BayerRG8"
    region_px: Box | None = None
    exposure_us: PositiveFloat
    gain_db: NotNegative = 0.0
    black_level_percent: NotNegative | None = None
    gamma: PositiveFloat | None = None
    white_balance: WhiteBalance | None = None
    trigger: TriggerConfig = TriggerConfig()
    buffers: Annotated[int, Field(ge=2, le=256)] = 10
    frame_timeout_ms: PositiveFloat = 500.0
    reconnect: ReconnectConfig = ReconnectConfig()

    @model_validator(mode="after")
    def _region_keeps_the_phase(self) -> GenICamConfig:
        if self.region_px is None:
            return self
        if min(self.region_px[:2]) < 0 or min(self.region_px[2:]) <= 0:
            raise ValueError("region_px is [x, y, width, height] with width and height above 0")
        if self.pixel_format.startswith("Bayer") and any(value % 2 for value in self.region_px):
            raise ValueError("region_px needs even numbers for a Bayer format, or the colours are swapped")
        return self


class AravisCameraConfig(GenICamConfig):
    """Any GenICam camera over USB3 Vision or GigE Vision, through Aravis. `packet_size` in bytes is
    for GigE alone; None lets Aravis find it."""

    backend: Literal["aravis"]
    packet_size: PositiveInt | None = None


class StrobeConfig(Strict):
    """The camera's own output that fires the light: while exposing, or `delay_us` after the trigger for
    `width_us`, from the camera's counter."""

    line: Name = "Line2"
    source: Literal["exposure_active", "counter"] = "exposure_active"
    inverted: bool = False
    delay_us: NotNegative = 0.0
    width_us: PositiveFloat | None = None

    @model_validator(mode="after")
    def _counter_has_its_width(self) -> StrobeConfig:
        if (self.source == "counter") != (self.width_us is not None):
            raise ValueError("width_us belongs to source 'counter', and only to it")
        return self


class SpinnakerCameraConfig(GenICamConfig):
    """A camera of the Blackfly S kind through its maker's SDK. A link slower than SuperSpeed is refused unless
    `allow_slow_link`."""

    backend: Literal["spinnaker"]
    strobe: StrobeConfig | None = None
    allow_slow_link: bool = False


CameraConfig = Annotated[
    SyntheticCameraConfig | ReplayCameraConfig | AravisCameraConfig | SpinnakerCameraConfig,
    Field(discriminator="backend"),
]
