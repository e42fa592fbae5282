"""The settings of the station file on a camera that Aravis opened.

Every one is written and read back, whatever was in the camera before. One that was asked for and that the camera
does not have is an error; one that would only say that nothing is done is left out then.
"""

from __future__ import annotations

from edge.camera.aravis_features import Features
from edge.camera_config import AravisCameraConfig, TriggerConfig
from edge.errors import ConfigError

EXPOSURE = ("ExposureTime", "ExposureTimeAbs")
FRAME_RATE = ("AcquisitionFrameRate", "AcquisitionFrameRateAbs")
FILTER = ("LineFilterWidth", "LineDebouncerTime", "LineDebouncerTimeAbs")
_AUTOMATIC = ("ExposureAuto", "GainAuto", "BalanceWhiteAuto", "BlackLevelAuto")
_RELATIVE = 0.02
"""A camera counts exposure and rate in its own steps; within this it is what was asked for."""


def apply(features: Features, config: AravisCameraConfig) -> None:
    """Write them all, in the order in which they allow each other.

    Raises `ConfigError`, naming the feature, or `CameraLostError`.
    """
    features.write_if_there("TriggerSelector", "FrameStart")
    features.write_if_there("TriggerMode", "Off")
    features.write_if_there("AcquisitionMode", "Continuous")
    features.write_if_there("ExposureMode", "Timed")
    for name in _AUTOMATIC:
        features.write_if_there(name, "Off")
    features.write("PixelFormat", config.pixel_format)
    _write_region(features, config)
    _write_first(features, EXPOSURE, config.exposure_us, within=_RELATIVE * config.exposure_us + 1)
    _write_gain(features, config.gain_db)
    _write_levels(features, config)
    _write_trigger(features, config.trigger)


def count_edges(features: Features, trigger: TriggerConfig) -> bool:
    """Let the camera's counter count the edges at the trigger's line; False when it cannot."""
    if not features.has("CounterValue") or not features.offers("CounterEventSource", trigger.line):
        return False
    features.write_if_there("CounterSelector", "Counter0")
    features.write("CounterEventSource", trigger.line)
    if features.has("CounterEventActivation"):
        features.write("CounterEventActivation", _edge(trigger))
    return True


def _write_region(features: Features, config: AravisCameraConfig) -> None:
    offsets = [name for name in ("OffsetX", "OffsetY") if features.has(name)]
    for name in offsets:
        features.write(name, 0)
    if config.region_px is None:
        for name in ("Width", "Height"):
            features.write(name, int(features.bounds(name, int)[1]))
        return
    x, y, width, height = config.region_px
    features.write("Width", width)
    features.write("Height", height)
    for name, offset in (("OffsetX", x), ("OffsetY", y)):
        if offset or name in offsets:
            features.write(name, offset)


def _write_gain(features: Features, gain_db: float) -> None:
    if features.has("Gain"):
        features.write_if_there("GainSelector", "All")
        features.write("Gain", gain_db, within=0.1)
        return
    if gain_db:
        raise ConfigError(
            f"The camera counts gain in units of its own, so it cannot be set to {gain_db:g} dB.",
            do="Set camera.gain_db to 0 and make up for it with light or exposure.",
        )
    if features.has("GainRaw"):
        features.write("GainRaw", int(features.bounds("GainRaw", int)[0]))


def _write_levels(features: Features, config: AravisCameraConfig) -> None:
    if config.black_level_percent is not None:
        features.write("BlackLevel", config.black_level_percent, within=0.1)
    else:
        features.write_if_there("BlackLevel", 0.0, within=0.1)
    if config.gamma is not None:
        features.write_if_there("GammaEnable", True)
        features.write("Gamma", config.gamma, within=0.02)
    elif features.has("GammaEnable"):
        features.write("GammaEnable", False)
    else:
        features.write_if_there("Gamma", 1.0, within=0.02)
    _write_white_balance(features, config)


def _write_white_balance(features: Features, config: AravisCameraConfig) -> None:
    if config.white_balance is None and not features.has("BalanceRatio"):
        return
    balance = config.white_balance
    for name, ratio in (("Red", balance.red if balance else 1.0), ("Blue", balance.blue if balance else 1.0)):
        features.write("BalanceRatioSelector", name)
        features.write("BalanceRatio", ratio, within=0.02)


def _write_trigger(features: Features, trigger: TriggerConfig) -> None:
    if trigger.mode == "free_run":
        rate = trigger.rate_per_min / 60
        features.write_if_there("AcquisitionFrameRateEnable", True)
        _write_first(features, FRAME_RATE, rate, within=_RELATIVE * rate)
        return
    features.write_if_there("AcquisitionFrameRateEnable", False)
    features.write("TriggerSource", "Software" if trigger.mode == "software" else trigger.line)
    features.write_if_there("TriggerOverlap", "ReadOut" if trigger.overlap == "readout" else "Off")
    if trigger.mode == "hardware":
        features.write("TriggerActivation", _edge(trigger))
        _write_input(features, trigger)
    features.write("TriggerMode", "On")


def _write_input(features: Features, trigger: TriggerConfig) -> None:
    if trigger.delay_us or features.has("TriggerDelay"):
        name = features.first("TriggerDelay", "TriggerDelayAbs") or "TriggerDelay"
        least = features.bounds(name, float)[0] if features.has(name) else 0.0
        features.write(name, max(trigger.delay_us, least), within=1.0 + _RELATIVE * trigger.delay_us)
    if trigger.debounce_us is not None:
        features.write_if_there("LineSelector", trigger.line)
        _write_first(features, FILTER, trigger.debounce_us, within=1.0 + _RELATIVE * trigger.debounce_us)


def _write_first(features: Features, names: tuple[str, ...], value: float, within: float) -> None:
    features.write(features.first(*names) or names[0], float(value), within)


def _edge(trigger: TriggerConfig) -> str:
    return "RisingEdge" if trigger.edge == "rising" else "FallingEdge"
