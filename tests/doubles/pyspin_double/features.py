"""The nodes of a Blackfly S: types, entries in the order of their numbers, limits, selectors, factory values."""

from dataclasses import dataclass
from typing import Any

SENSOR = (4096, 2160)
LINES = ("Line0", "Line1", "Line2", "Line3")
USER_OUTPUTS = tuple(f"UserOutput{n}" for n in range(4))
COUNTERS = ("Counter0", "Counter1")
COUNTER_MAX = 65535
"""The counters have 16 bits."""

ON_OFF = ("Off", "On")
AUTO = ("Off", "Once", "Continuous")
ACTIVATIONS = ("LevelLow", "LevelHigh", "FallingEdge", "RisingEdge", "AnyEdge")
COUNTER_EDGES = ("Counter0Start", "Counter1Start", "Counter0End", "Counter1End")
LOGIC = ("LogicBlock0", "LogicBlock1")
SIGNALS = (*LINES, *USER_OUTPUTS, *COUNTER_EDGES, *LOGIC, "ExposureStart", "ExposureEnd", "FrameTriggerWait")
CHUNKS = (
    *(
        "Image",
        "CRC",
        "FrameID",
        "OffsetX",
        "OffsetY",
        "Width",
        "Height",
        "ExposureTime",
        "Gain",
        "BlackLevel",
    ),
    *("PixelFormat", "Timestamp", "SequencerSetActive", "SerialData", "ExposureEndLineStatusAll"),
)


@dataclass(frozen=True)
class Feature:
    """One node. `step` is the increment it tells, `quantum` one that it keeps to and does not tell."""

    kind: str
    value: Any = None
    entries: tuple = ()
    low: float = 0
    high: float = 2**31 - 1
    step: float = 0
    quantum: float = 0
    selector: str = ""
    locked: bool = False
    """Read-only while streaming."""
    constant: bool = False


def number(value, low, high, step=1, **more):
    return Feature("int", value, low=low, high=high, step=step, **more)


def real(value, low, high, **more):
    return Feature("float", value, low=low, high=high, **more)


def choice(value, *entries, **more):
    return Feature("enum", value, entries=entries, **more)


def flag(value, **more):
    return Feature("bool", value, **more)


def told(value):
    return Feature(
        "str" if isinstance(value, str) else "int" if isinstance(value, int) else "float",
        value,
        low=-1e12,
        high=1e12,
        constant=True,
    )


DEVICE = {
    "DeviceFirmwareVersion": told("1809.0.345.0"),
    "DeviceSerialNumber": told(""),
    "DeviceTemperature": told(41.5),
    "LinkErrorCount": told(0),
    "TransferQueueOverflowCount": told(0),
    "DeviceLinkCurrentThroughput": told(371_600_000),
    "TimestampLatch": Feature("command"),
    "TimestampLatchValue": told(0),
    "UserSetSelector": choice("Default", "Default", "UserSet0", "UserSet1"),
    "UserSetLoad": Feature("command", locked=True),
    "AcquisitionMode": choice("Continuous", "Continuous", "SingleFrame", "MultiFrame", locked=True),
    "SequencerMode": choice("Off", *ON_OFF, locked=True),
    "ExposureMode": choice("Timed", "Timed", "TriggerWidth"),
    "ExposureAuto": choice("Continuous", *AUTO),
    "ExposureTime": real(15000.0, 13.0, 30_000_000.0, quantum=4.5),
    "GainSelector": choice("All", "All"),
    "GainAuto": choice("Continuous", *AUTO),
    "Gain": real(0.0, 0.0, 47.99, quantum=0.02),
    "BlackLevelSelector": choice("All", "All", "Analog", "Digital"),
    "BlackLevel": real(0.0, 0.0, 10.0, selector="BlackLevelSelector"),
    "GammaEnable": flag(True),
    "Gamma": real(0.8, 0.25, 4.0),
    "BalanceWhiteAuto": choice("Continuous", *AUTO),
    "BalanceRatioSelector": choice("Red", "Red", "Blue"),
    "BalanceRatio": real(1.4, 0.25, 4.0, selector="BalanceRatioSelector"),
    "AcquisitionFrameRateEnable": flag(False),
    "AcquisitionFrameRate": real(42.0, 1.0, 42.0),
    "PixelFormat": choice(
        "BayerRG8",
        "Mono8",
        "Mono16",
        "RGB8Packed",
        "BayerRG8",
        "BayerRG16",
        "Mono12p",
        "BayerRG12p",
        locked=True,
    ),
    "AdcBitDepth": choice("Bit10", "Bit8", "Bit10", "Bit12", "Bit14", locked=True),
    "IspEnable": flag(True, locked=True),
    "ImageCompressionMode": choice("Off", "Off", "Lossless", locked=True),
    "TestPatternGeneratorSelector": choice("Sensor", "Sensor", "PipelineStart"),
    "TestPattern": choice(
        "Off", "Off", "Increment", "SensorTestPattern", selector="TestPatternGeneratorSelector"
    ),
    "ReverseX": flag(False, locked=True),
    "ReverseY": flag(False, locked=True),
    "BinningSelector": choice("All", "All", "Sensor", "ISP"),
    "BinningHorizontal": number(1, 1, 4, selector="BinningSelector", locked=True),
    "BinningVertical": number(1, 1, 4, selector="BinningSelector", locked=True),
    "DecimationSelector": choice("All", "All", "Sensor"),
    "DecimationHorizontal": number(1, 1, 2, selector="DecimationSelector", locked=True),
    "DecimationVertical": number(1, 1, 2, selector="DecimationSelector", locked=True),
    "WidthMax": told(SENSOR[0]),
    "HeightMax": told(SENSOR[1]),
    "Width": number(SENSOR[0], 16, SENSOR[0], 16, locked=True),
    "Height": number(SENSOR[1], 2, SENSOR[1], 2, locked=True),
    "OffsetX": number(0, 0, SENSOR[0], 4),
    "OffsetY": number(0, 0, SENSOR[1], 2),
    "TriggerSelector": choice("FrameStart", "AcquisitionStart", "FrameStart", "FrameBurstStart"),
    "TriggerMode": choice("Off", *ON_OFF, selector="TriggerSelector"),
    "TriggerSource": choice(
        "Software",
        "Software",
        *LINES,
        *USER_OUTPUTS,
        *COUNTER_EDGES,
        *LOGIC,
        "Action0",
        selector="TriggerSelector",
    ),
    "TriggerActivation": choice("FallingEdge", *ACTIVATIONS, selector="TriggerSelector"),
    "TriggerOverlap": choice("Off", "Off", "ReadOut", "PreviousFrame", selector="TriggerSelector"),
    "TriggerDelay": real(9.0, 9.0, 65520.0, selector="TriggerSelector"),
    "TriggerSoftware": Feature("command", selector="TriggerSelector"),
    "LineSelector": choice("Line0", *LINES),
    "LineMode": choice("Input", "Input", "Output", selector="LineSelector"),
    "LineSource": choice(
        "Off",
        "Off",
        *LINES,
        *USER_OUTPUTS,
        "Counter0Active",
        "Counter1Active",
        *LOGIC,
        "ExposureActive",
        "FrameTriggerWait",
        selector="LineSelector",
    ),
    "LineInverter": flag(False, selector="LineSelector"),
    "LineInputFilterSelector": choice("Deglitch", "Deglitch", "Debounce", selector="LineSelector"),
    "LineFilterWidth": real(0.0, 0.0, 32767.5, selector="LineSelector", quantum=0.5),
    "LineStatusAll": told(0),
    "UserOutputSelector": choice("UserOutput0", *USER_OUTPUTS),
    "UserOutputValue": flag(False, selector="UserOutputSelector"),
    "CounterSelector": choice("Counter0", *COUNTERS),
    "CounterEventSource": choice("Off", "Off", "MHzTick", *SIGNALS, selector="CounterSelector"),
    "CounterEventActivation": choice("RisingEdge", *ACTIVATIONS, selector="CounterSelector"),
    "CounterTriggerSource": choice("Off", "Off", *SIGNALS, selector="CounterSelector"),
    "CounterTriggerActivation": choice("RisingEdge", *ACTIVATIONS, selector="CounterSelector"),
    "CounterResetSource": choice("Off", "Off", *SIGNALS, selector="CounterSelector"),
    "CounterDuration": number(1, 1, COUNTER_MAX, selector="CounterSelector"),
    "CounterDelay": number(0, 0, COUNTER_MAX, selector="CounterSelector"),
    "CounterValue": Feature("int", 0, constant=True, selector="CounterSelector"),
    "CounterStatus": choice(
        "CounterIdle",
        "CounterIdle",
        "CounterTriggerWait",
        "CounterActive",
        "CounterCompleted",
        "CounterOverflow",
        constant=True,
        selector="CounterSelector",
    ),
    "ChunkModeActive": flag(False, locked=True),
    "ChunkSelector": choice("FrameID", *CHUNKS),
    "ChunkEnable": flag(False, selector="ChunkSelector", locked=True),
}

TRANSPORT = {
    "DeviceSerialNumber": told(""),
    "DeviceVendorName": told("FLIR"),
    "DeviceModelName": told("Blackfly S BFS-U3-89S6C"),
    "DeviceCurrentSpeed": choice(
        "SuperSpeed", "UnknownSpeed", "LowSpeed", "FullSpeed", "HighSpeed", "SuperSpeed", constant=True
    ),
}

STREAM = {
    "StreamBufferHandlingMode": choice(
        "OldestFirst", "OldestFirst", "OldestFirstOverwrite", "NewestOnly", "NewestFirst", locked=True
    ),
    "StreamBufferCountMode": choice("Auto", "Manual", "Auto", locked=True),
    "StreamBufferCountManual": number(10, 1, 256, locked=True),
    "StreamBufferCountResult": told(10),
    "StreamLostFrameCount": told(0),
    "StreamDroppedFrameCount": told(0),
}
