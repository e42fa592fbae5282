"""Every setting is written and read back, whatever was left in the camera before."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.camera.spinnaker import SpinnakerDriver
from edge.errors import ConfigError

FRAME = ("FrameStart",)


def test_a_hardware_trigger_is_set_up_as_configured(open_camera, camera):
    open_camera(trigger={"line": "Line3", "edge": "falling", "delay_us": 120, "debounce_us": 50})
    assert camera.get("TriggerMode", FRAME) == "On"
    assert camera.get("TriggerMode", ("AcquisitionStart",)) == "Off"
    assert camera.get("TriggerSource", FRAME) == "Line3"
    assert camera.get("TriggerActivation", FRAME) == "FallingEdge"
    assert camera.get("TriggerOverlap", FRAME) == "ReadOut"
    assert camera.get("TriggerDelay", FRAME) == 120
    assert camera.get("LineInputFilterSelector", ("Line3",)) == "Debounce"
    assert camera.get("LineFilterWidth", ("Line3",)) == 50
    assert camera.get("CounterEventSource", ("Counter0",)) == "Line3"
    assert camera.get("CounterEventActivation", ("Counter0",)) == "FallingEdge"
    assert camera.get("CounterDuration", ("Counter0",)) == 65535


def test_the_trigger_is_off_while_it_is_set(open_camera, camera):
    camera.leave("TriggerMode", "On", selector="FrameStart")
    camera.without |= {"UserSetLoad"}
    open_camera()
    order = [value for name, value in camera.written if name == "TriggerMode"]
    names = [name for name, _ in camera.written]
    assert order[-2:] == ["Off", "On"]
    assert names.index("TriggerSource") > names.index("TriggerMode")


def test_no_delay_means_the_least_that_the_camera_has(open_camera, camera):
    open_camera()
    assert camera.get("TriggerDelay", FRAME) == 9


def test_a_software_trigger_leaves_the_lines_alone(open_camera, camera):
    open_camera(trigger={"mode": "software"})
    assert camera.get("TriggerSource", FRAME) == "Software"
    assert camera.get("CounterEventSource", ("Counter0",)) == "Off"


def test_free_run_has_its_own_rate(open_camera, camera):
    open_camera(trigger={"mode": "free_run", "rate_per_min": 300})
    assert camera.get("TriggerMode", FRAME) == "Off"
    assert camera.get("AcquisitionFrameRateEnable") is True
    assert camera.get("AcquisitionFrameRate") == pytest.approx(5.0)


def test_without_a_region_the_whole_sensor_is_read(open_camera, camera):
    camera.leave("Width", 512)
    camera.leave("OffsetX", 256)
    open_camera(region_px=None)
    assert [camera.get(name) for name in ("OffsetX", "OffsetY", "Width", "Height")] == [0, 0, 4096, 2160]


def test_a_region_may_lie_where_the_one_before_left_no_room(open_camera, camera):
    camera.without |= {"UserSetLoad"}
    camera.leave("Width", 64)
    camera.leave("OffsetX", 4032)
    open_camera(region_px=(0, 0, 4000, 2000))
    assert [camera.get(name) for name in ("OffsetX", "OffsetY", "Width", "Height")] == [0, 0, 4000, 2000]


def test_tone_is_set_as_configured(open_camera, camera):
    open_camera(gain_db=6.0, black_level_percent=1.5, gamma=0.7, white_balance={"red": 1.25, "blue": 2.5})
    assert camera.get("Gain") == pytest.approx(6.0)
    assert camera.get("BlackLevel", ("All",)) == 1.5
    assert camera.get("GammaEnable") is True
    assert camera.get("Gamma") == 0.7
    assert camera.get("BalanceRatio", ("Red",)) == 1.25
    assert camera.get("BalanceRatio", ("Blue",)) == 2.5


def test_tone_that_is_not_configured_is_neutral(open_camera, camera):
    camera.without |= {"UserSetLoad"}
    camera.leave("GammaEnable", True)
    camera.leave("BlackLevel", 4.0, selector="All")
    camera.leave("BalanceRatio", 3.0, selector="Red")
    open_camera()
    assert camera.get("GammaEnable") is False
    assert camera.get("BlackLevel", ("All",)) == 0
    assert camera.get("BalanceRatio", ("Red",)) == 1


def test_the_light_is_fired_while_exposing(open_camera, camera):
    open_camera(strobe={"line": "Line2", "inverted": True})
    assert camera.get("LineMode", ("Line2",)) == "Output"
    assert camera.get("LineSource", ("Line2",)) == "ExposureActive"
    assert camera.get("LineInverter", ("Line2",)) is True


def test_the_light_is_fired_by_a_counter_after_the_trigger(open_camera, camera):
    strobe = {"line": "Line1", "source": "counter", "delay_us": 40, "width_us": 300}
    open_camera(strobe=strobe, trigger={"edge": "falling"})
    counter = ("Counter1",)
    assert camera.get("CounterEventSource", counter) == "MHzTick"
    assert camera.get("CounterTriggerSource", counter) == "Line0"
    assert camera.get("CounterTriggerActivation", counter) == "FallingEdge"
    assert camera.get("CounterDelay", counter) == 40
    assert camera.get("CounterDuration", counter) == 300
    assert camera.get("LineSource", ("Line1",)) == "Counter1Active"


def test_by_software_the_counter_of_the_light_starts_with_the_exposure(open_camera, camera):
    open_camera(strobe={"source": "counter", "width_us": 300}, trigger={"mode": "software"})
    assert camera.get("CounterTriggerSource", ("Counter1",)) == "ExposureStart"


def test_chunks_are_enabled_one_by_one(open_camera, camera):
    open_camera()
    chunks = camera.features["device"]["ChunkSelector"].entries
    enabled = {name for name in chunks if camera.get("ChunkEnable", (name,))}
    assert enabled == {"Image", "FrameID", "Timestamp", "ExposureTime", "Gain", "ExposureEndLineStatusAll"}


def test_the_stream_keeps_every_picture_in_its_order(open_camera, camera):
    open_camera(buffers=17)
    assert camera.get("StreamBufferHandlingMode", space="stream") == "OldestFirst"
    assert camera.get("StreamBufferCountMode", space="stream") == "Manual"
    assert camera.get("StreamBufferCountManual", space="stream") == 17


@pytest.mark.parametrize(
    ("pixel_format", "isp", "bits"),
    [("BayerRG8", False, "Bit10"), ("BayerRG12p", False, "Bit12"), ("RGB8", True, "Bit10")],
)
def test_the_signal_processor_works_for_colour_formats_alone(open_camera, camera, pixel_format, isp, bits):
    open_camera(pixel_format=pixel_format)
    assert camera.get("IspEnable") is isp
    assert camera.get("AdcBitDepth") == bits


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exposure_us": 5.0}, "ExposureTime takes 13 to"),
        ({"gain_db": 60.0}, "Gain takes 0 to 47.99"),
        ({"region_px": (64, 32, 70, 48)}, "Width takes 16 to 4096 in steps of 16"),
        ({"region_px": (4090, 0, 64, 48)}, "OffsetX takes 0 to 4032"),
        ({"trigger": {"line": "Line9"}}, "LineMode .LineSelector Line9."),
        ({"strobe": {"line": "Line0"}}, "LineMode is read-only"),
        ({"strobe": {"source": "counter", "width_us": 90_000}}, "CounterDuration takes 1 to 65535"),
        ({"buffers": 200, "trigger": {"delay_us": 70_000}}, "TriggerDelay takes 9 to 65520"),
    ],
)
def test_a_setting_that_the_camera_does_not_take_names_itself(open_camera, changes, words):
    with pytest.raises(ConfigError, match=words):
        open_camera(**changes)


def test_a_setting_that_the_camera_does_not_keep_is_refused(open_camera, camera):
    feature = camera.features["device"]["ExposureTime"]
    camera.features["device"]["ExposureTime"] = type(feature)(
        "float", 15000.0, low=13.0, high=3e7, quantum=500.0
    )
    with pytest.raises(ConfigError, match=r"ExposureTime was set to 750\.0 and reads back 1000\.0"):
        open_camera(exposure_us=750.0)


def test_a_setting_that_a_later_one_changes_is_refused(open_camera, camera, monkeypatch):
    write = camera.write

    def write_and_disturb(space, name, value):
        write(space, name, value)
        if name == "ChunkModeActive":
            camera.put("Gain", 12.0)

    monkeypatch.setattr(camera, "write", write_and_disturb)
    with pytest.raises(ConfigError, match=r"Gain was set to 0\.0 and reads back 12\.0"):
        open_camera()


def test_a_camera_without_what_is_needed_is_refused(open_camera, camera):
    camera.without |= {"ChunkModeActive"}
    with pytest.raises(ConfigError, match=r"does not have the setting for ChunkModeActive\."):
        open_camera()


def test_a_mono_camera_takes_a_configuration_without_colour(open_camera, camera):
    camera.without |= {"BalanceWhiteAuto", "BalanceRatioSelector", "BalanceRatio", "IspEnable"}
    open_camera(pixel_format="Mono8").close()
    with pytest.raises(ConfigError, match="BalanceRatio"):
        open_camera(pixel_format="Mono8", white_balance={"red": 1.5, "blue": 1.5})


LEFT_BEHIND = st.fixed_dictionaries(
    {},
    optional={
        "ExposureAuto": st.sampled_from(["Off", "Once", "Continuous"]),
        "ExposureMode": st.sampled_from(["Timed", "TriggerWidth"]),
        "GainAuto": st.sampled_from(["Off", "Continuous"]),
        "BalanceWhiteAuto": st.sampled_from(["Off", "Continuous"]),
        "ExposureTime": st.floats(13, 1e6),
        "Gain": st.floats(0, 40),
        "GammaEnable": st.booleans(),
        "Gamma": st.floats(0.25, 4),
        "AcquisitionFrameRateEnable": st.booleans(),
        "PixelFormat": st.sampled_from(["Mono8", "BayerRG8", "BayerRG12p"]),
        "IspEnable": st.booleans(),
        "ReverseX": st.booleans(),
        "ReverseY": st.booleans(),
        "SequencerMode": st.sampled_from(["Off", "On"]),
        "TriggerSelector": st.sampled_from(["AcquisitionStart", "FrameStart", "FrameBurstStart"]),
        "CounterSelector": st.sampled_from(["Counter0", "Counter1"]),
        "LineSelector": st.sampled_from(["Line0", "Line1", "Line2", "Line3"]),
        "ChunkModeActive": st.booleans(),
        "ChunkSelector": st.sampled_from(["CRC", "Gain", "FrameID"]),
        "Width": st.integers(1, 100).map(lambda n: 16 * n),
        "OffsetX": st.integers(0, 600).map(lambda n: 4 * n),
        "OffsetY": st.integers(0, 600).map(lambda n: 2 * n),
    },
)
PER_SELECTOR = st.fixed_dictionaries(
    {},
    optional={
        ("TriggerMode", "FrameStart"): st.sampled_from(["Off", "On"]),
        ("TriggerMode", "AcquisitionStart"): st.sampled_from(["Off", "On"]),
        ("TriggerSource", "FrameStart"): st.sampled_from(["Software", "Line2", "Counter1End"]),
        ("TriggerOverlap", "FrameStart"): st.sampled_from(["Off", "PreviousFrame"]),
        ("TriggerDelay", "FrameStart"): st.floats(9, 1000),
        ("LineFilterWidth", "Line0"): st.floats(0, 1000),
        ("LineInverter", "Line0"): st.booleans(),
        ("CounterEventSource", "Counter0"): st.sampled_from(["Off", "MHzTick", "Line3"]),
        ("CounterResetSource", "Counter0"): st.sampled_from(["Off", "Line3"]),
        ("BinningHorizontal", "All"): st.integers(1, 4),
        ("TestPattern", "Sensor"): st.sampled_from(["Off", "Increment"]),
        ("BalanceRatio", "Red"): st.floats(0.25, 4),
        ("ChunkEnable", "CRC"): st.booleans(),
    },
)


@pytest.mark.parametrize("user_sets", [True, False])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(left=LEFT_BEHIND, per_selector=PER_SELECTOR)
def test_what_was_left_in_the_camera_does_not_matter(double, config, tmp_path, user_sets, left, per_selector):
    def set_up(camera):
        SpinnakerDriver(config(), double.make_pyspin(camera), root=tmp_path).close()
        return {(name, selectors): camera.get(name, selectors) for name, selectors in PICTURE}

    without = () if user_sets else ("UserSetLoad",)
    fresh, used = double.Blackfly("23456789"), double.Blackfly("23456789", without=without)
    for name, value in left.items():
        used.leave(name, value)
    for (name, selector), value in per_selector.items():
        used.leave(name, value, selector=selector)
    assert set_up(used) == set_up(fresh)


PICTURE = [
    *((name, ()) for name in ("ExposureAuto", "ExposureMode", "ExposureTime", "GainAuto", "Gain")),
    *(
        (name, ())
        for name in ("BalanceWhiteAuto", "GammaEnable", "AcquisitionFrameRateEnable", "PixelFormat")
    ),
    *((name, ()) for name in ("IspEnable", "ReverseX", "ReverseY", "SequencerMode", "ChunkModeActive")),
    *((name, ()) for name in ("Width", "Height", "OffsetX", "OffsetY")),
    *(("TriggerMode", (selector,)) for selector in ("FrameStart", "AcquisitionStart", "FrameBurstStart")),
    *((name, FRAME) for name in ("TriggerSource", "TriggerOverlap", "TriggerDelay", "TriggerActivation")),
    *((name, ("Line0",)) for name in ("LineFilterWidth", "LineInverter", "LineMode")),
    *((name, ("Counter0",)) for name in ("CounterEventSource", "CounterResetSource", "CounterDuration")),
    ("BinningHorizontal", ("All",)),
    ("TestPattern", ("Sensor",)),
    ("BalanceRatio", ("Red",)),
    *(("ChunkEnable", (name,)) for name in ("FrameID", "Timestamp", "ExposureTime", "Gain")),
]
"""What decides how a picture comes out."""
