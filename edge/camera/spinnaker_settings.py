"""Every setting of a Spinnaker camera, in the order in which it takes them. Pure: what is written is elsewhere.

    user set ▶ automatics off ▶ format, region ▶ exposure, tone ▶ trigger off, set, on ▶ counters, light ▶ chunks

Names and entries are those of the camera's node maps (GenICam SFNC and the maker's own).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge.camera.spinnaker_nodes import Value
from edge.camera_config import GenICamConfig, SpinnakerCameraConfig, StrobeConfig, TriggerConfig

Selectors = tuple[tuple[str, str], ...]

EDGES = {"rising": "RisingEdge", "falling": "FallingEdge"}
OVERLAPS = {"off": "Off", "readout": "ReadOut"}
FORMAT_NAMES = {"RGB8": ("RGB8", "RGB8Packed")}

EDGE_COUNTER = "Counter0"
STROBE_COUNTER = "Counter1"

CHUNKS = ("FrameID", "Timestamp", "ExposureTime", "Gain")
EXTRA_CHUNKS = ("ExposureEndLineStatusAll", "CounterValue")
"""Read where the camera has them."""

EXPOSURE_STEP_US = 20.0
"""Exposure comes in steps of the sensor's line time, of some microseconds, which the node does not tell."""


class Special(Enum):
    """What stands in place of a value."""

    LEAST = "least"  # the smallest that the camera takes
    GREATEST = "greatest"
    COMMAND = "command"  # carried out, not written


@dataclass(frozen=True, slots=True)
class Setting:
    """One node and what it is to hold.

    Of several names of an entry the first that the camera has is taken. `within` is how far a float may read
    back from what was written, beside the node's own step. `optional`: left out where the camera does not have
    it, for then it cannot do harm either.
    """

    node: str
    value: Value | tuple[str, ...] | Special
    selectors: Selectors = ()
    within: float = 0.0
    optional: bool = False

    @property
    def key(self) -> tuple[str, Selectors]:
        """What it sets; a later setting of the same key replaces an earlier one."""
        return self.node, self.selectors

    @property
    def name(self) -> str:
        """For people: the node with its selectors."""
        chosen = ", ".join(f"{selector} {entry}" for selector, entry in self.selectors)
        return f"{self.node} ({chosen})" if chosen else self.node


def camera_settings(config: SpinnakerCameraConfig) -> tuple[Setting, ...]:
    """All settings of the camera itself, in their order."""
    return (
        *_from_a_known_state(),
        *_without_automatics(),
        *_raw_picture(config),
        *_region(config),
        *_exposure(config),
        *_tone(config),
        *_trigger(config.trigger),
        *_edge_counter(config.trigger),
        *_strobe(config.strobe, config.trigger),
        *_chunks(),
    )


def stream_settings(buffers: int) -> tuple[Setting, ...]:
    """Settings of the host's side: every picture in its order, none replaced by a newer one."""
    return (
        Setting("StreamBufferCountMode", "Manual"),
        Setting("StreamBufferCountManual", buffers),
        Setting("StreamBufferHandlingMode", "OldestFirst"),
    )


def _from_a_known_state() -> tuple[Setting, ...]:
    frame = (("TriggerSelector", "FrameStart"),)
    others = [(("TriggerSelector", name),) for name in ("AcquisitionStart", "FrameBurstStart")]
    return (
        Setting("UserSetLoad", Special.COMMAND, (("UserSetSelector", "Default"),), optional=True),
        Setting("AcquisitionMode", "Continuous"),
        Setting("SequencerMode", "Off", optional=True),
        *(Setting("TriggerMode", "Off", other, optional=True) for other in others),
        Setting("TriggerMode", "Off", frame),
    )


def _without_automatics() -> tuple[Setting, ...]:
    return (
        Setting("ExposureAuto", "Off"),
        Setting("ExposureMode", "Timed"),
        Setting("GainAuto", "Off"),
        Setting("BalanceWhiteAuto", "Off", optional=True),
    )


def _raw_picture(config: GenICamConfig) -> tuple[Setting, ...]:
    every = (("BinningSelector", "All"),)
    decimation = (("DecimationSelector", "All"),)
    patterns = [(("TestPatternGeneratorSelector", name),) for name in ("Sensor", "PipelineStart")]
    return (
        *(Setting(f"Binning{way}", 1, every, optional=True) for way in ("Horizontal", "Vertical")),
        *(Setting(f"Decimation{way}", 1, decimation, optional=True) for way in ("Horizontal", "Vertical")),
        *(Setting(f"Reverse{axis}", False, optional=True) for axis in ("X", "Y")),
        *(Setting("TestPattern", "Off", pattern, optional=True) for pattern in patterns),
        Setting("ImageCompressionMode", "Off", optional=True),
        Setting("IspEnable", config.pixel_format == "RGB8", optional=True),
        Setting("PixelFormat", FORMAT_NAMES.get(config.pixel_format, config.pixel_format)),
        Setting("AdcBitDepth", "Bit12" if config.pixel_format.endswith("12p") else "Bit10", optional=True),
    )


def _region(config: GenICamConfig) -> tuple[Setting, ...]:
    at_origin = Setting("OffsetX", 0), Setting("OffsetY", 0)
    if config.region_px is None:
        return (*at_origin, Setting("Width", Special.GREATEST), Setting("Height", Special.GREATEST))
    x, y, width, height = config.region_px
    return (
        *at_origin,
        Setting("Width", width),
        Setting("Height", height),
        Setting("OffsetX", x),
        Setting("OffsetY", y),
    )


def _exposure(config: GenICamConfig) -> tuple[Setting, ...]:
    trigger = config.trigger
    rate_hz = trigger.rate_per_min / 60
    # The rate is let go first: it would limit the exposure.
    return (
        Setting("AcquisitionFrameRateEnable", False, optional=True),
        Setting("ExposureTime", config.exposure_us, within=max(EXPOSURE_STEP_US, 0.01 * config.exposure_us)),
        *(
            (
                Setting("AcquisitionFrameRateEnable", True),
                Setting("AcquisitionFrameRate", rate_hz, within=0.01 * rate_hz),
            )
            if trigger.mode == "free_run"
            else ()
        ),
    )


def _tone(config: GenICamConfig) -> tuple[Setting, ...]:
    black, balance = config.black_level_percent, config.white_balance
    ratios = (1.0, 1.0) if balance is None else (balance.red, balance.blue)
    gamma = () if config.gamma is None else (Setting("Gamma", config.gamma, within=0.01),)
    return (
        Setting("Gain", config.gain_db, within=0.1),
        Setting(
            "BlackLevel",
            0.0 if black is None else black,
            (("BlackLevelSelector", "All"),),
            within=0.1,
            optional=black is None,
        ),
        Setting("GammaEnable", config.gamma is not None, optional=config.gamma is None),
        *gamma,
        *(
            Setting(
                "BalanceRatio",
                ratio,
                (("BalanceRatioSelector", colour),),
                within=0.01,
                optional=balance is None,
            )
            for colour, ratio in zip(("Red", "Blue"), ratios, strict=True)
        ),
    )


def _trigger(trigger: TriggerConfig) -> tuple[Setting, ...]:
    frame = (("TriggerSelector", "FrameStart"),)
    if trigger.mode == "free_run":
        return ()
    overlap = Setting("TriggerOverlap", OVERLAPS[trigger.overlap], frame)
    if trigger.mode == "software":
        return (
            Setting("TriggerSource", "Software", frame),
            overlap,
            Setting("TriggerDelay", Special.LEAST, frame, optional=True),
            Setting("TriggerMode", "On", frame),
        )
    delay = trigger.delay_us or Special.LEAST
    return (
        *_input_line(trigger),
        Setting("TriggerSource", trigger.line, frame),
        Setting("TriggerActivation", EDGES[trigger.edge], frame),
        overlap,
        Setting("TriggerDelay", delay, frame, within=1.0),
        Setting("TriggerMode", "On", frame),
    )


def _input_line(trigger: TriggerConfig) -> tuple[Setting, ...]:
    line = (("LineSelector", trigger.line),)
    kept = trigger.debounce_us is None
    width = Special.LEAST if trigger.debounce_us is None else trigger.debounce_us
    return (
        Setting("LineMode", "Input", line),
        Setting("LineInverter", False, line, optional=True),
        Setting("LineInputFilterSelector", "Debounce", line, optional=True),
        Setting("LineFilterWidth", width, line, within=1.0, optional=kept),
    )


def _edge_counter(trigger: TriggerConfig) -> tuple[Setting, ...]:
    """Counts every edge at the trigger line, those that start no exposure as well."""
    if trigger.mode != "hardware":
        return ()
    counter = (("CounterSelector", EDGE_COUNTER),)
    return (
        Setting("CounterEventSource", trigger.line, counter, optional=True),
        Setting("CounterEventActivation", EDGES[trigger.edge], counter, optional=True),
        Setting("CounterResetSource", "Off", counter, optional=True),
        Setting("CounterTriggerSource", "Off", counter, optional=True),
        Setting("CounterDelay", 0, counter, optional=True),
        Setting("CounterDuration", Special.GREATEST, counter, optional=True),
    )


def _strobe(strobe: StrobeConfig | None, trigger: TriggerConfig) -> tuple[Setting, ...]:
    if strobe is None:
        return ()
    line = (("LineSelector", strobe.line),)
    source = "ExposureActive" if strobe.source == "exposure_active" else f"{STROBE_COUNTER}Active"
    return (
        *_strobe_counter(strobe, trigger),
        Setting("LineInverter", strobe.inverted, line),
        Setting("LineMode", "Output", line),
        Setting("LineSource", source, line),
    )


def _strobe_counter(strobe: StrobeConfig, trigger: TriggerConfig) -> tuple[Setting, ...]:
    """A microsecond timer: silent for its delay, active for its duration."""
    if strobe.width_us is None:
        return ()
    counter = (("CounterSelector", STROBE_COUNTER),)
    by_line = trigger.mode == "hardware"
    return (
        Setting("CounterEventSource", "MHzTick", counter),
        Setting("CounterResetSource", "Off", counter),
        Setting("CounterDelay", round(strobe.delay_us), counter),
        Setting("CounterDuration", round(strobe.width_us), counter),
        Setting("CounterTriggerSource", trigger.line if by_line else "ExposureStart", counter),
        Setting("CounterTriggerActivation", EDGES[trigger.edge] if by_line else "RisingEdge", counter),
    )


def _chunks() -> tuple[Setting, ...]:
    return (
        Setting("ChunkModeActive", True),
        *(Setting("ChunkEnable", True, (("ChunkSelector", name),)) for name in CHUNKS),
        *(Setting("ChunkEnable", True, (("ChunkSelector", name),), optional=True) for name in EXTRA_CHUNKS),
    )
