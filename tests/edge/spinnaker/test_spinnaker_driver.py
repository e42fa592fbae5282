"""Opening, pictures, clock, counts and health of a Spinnaker camera, on the double."""

import logging

import numpy as np
import pytest

from edge.camera.driver import CameraLostError, DeviceHealth
from edge.camera.spinnaker import SpinnakerDriver
from edge.errors import ConfigError, OperateError
from edge.messages import PixelFormat


def started(driver):
    driver.start()
    return driver


def test_it_says_who_it_is(open_camera):
    identity = open_camera().identity
    assert (identity.vendor, identity.model) == ("FLIR", "Blackfly S BFS-U3-89S6C")
    assert (identity.serial, identity.firmware) == ("23456789", "1809.0.345.0")
    assert identity.link == "USB, SuperSpeed"


@pytest.mark.parametrize(
    ("name", "pixel_format", "shape", "dtype"),
    [
        ("BayerRG8", PixelFormat.BAYER_RG8, (48, 64), np.uint8),
        ("Mono8", PixelFormat.MONO8, (48, 64), np.uint8),
        ("RGB8", PixelFormat.RGB8, (48, 64, 3), np.uint8),
        ("BayerRG12p", PixelFormat.BAYER_RG12, (48, 64), np.uint16),
        ("Mono12p", PixelFormat.MONO12, (48, 64), np.uint16),
    ],
)
def test_a_picture_has_the_pixels_of_its_format(open_camera, camera, name, pixel_format, shape, dtype):
    greatest = 4096 if name.endswith("12p") else 256
    sent = np.random.default_rng(1).integers(0, greatest, (48, 64), np.uint16)
    camera.scene = lambda frame_id, height, width: sent
    driver = started(open_camera(pixel_format=name))
    camera.pulse()
    picture = driver.grab(100)
    assert picture.pixel_format is pixel_format
    assert (picture.image.shape, picture.image.dtype) == (shape, dtype)
    assert not picture.image.flags.writeable
    assert np.array_equal(picture.image, np.repeat(sent[..., None], 3, 2) if name == "RGB8" else sent)


def test_a_picture_is_a_copy_of_the_drivers_buffer(open_camera, camera):
    driver = started(open_camera())
    images = []
    for number in range(7):  # more than there are buffers
        camera.at_ms(100 * number)
        camera.pulse()
        images.append(driver.grab(100).image)
    assert [image[0, 0] for image in images] == [1, 2, 3, 4, 5, 6, 7]
    assert all((image == image[0, 0]).all() for image in images)


def test_a_picture_tells_what_it_was_taken_with(open_camera, camera):
    driver = started(open_camera(exposure_us=250.0, gain_db=3.0))
    camera.now_ns = lambda: 7_000_000_000
    camera.pulse()
    picture = driver.grab(100)
    assert picture.complete
    assert picture.frame_id == 0
    assert picture.device_ns == 7_000_000_000 + 9_000  # the least delay of a trigger
    assert picture.exposure_us == pytest.approx(250, abs=5)
    assert picture.gain_db == pytest.approx(3, abs=0.05)
    assert driver.line_status() == 1


def test_no_picture_in_time_is_no_fault(open_camera):
    driver = started(open_camera())
    assert driver.grab(100) is None
    assert driver.grab(0.2) is None


def test_a_software_trigger_gives_one_picture(open_camera):
    driver = started(open_camera(trigger={"mode": "software"}))
    assert driver.grab(1) is None
    driver.fire()
    assert driver.grab(1).frame_id == 0
    assert driver.grab(1) is None


def test_free_run_gives_pictures_without_a_trigger(open_camera):
    driver = started(open_camera(trigger={"mode": "free_run", "rate_per_min": 600}))
    assert [driver.grab(1).frame_id for _ in range(5)] == [0, 1, 2, 3, 4]


def test_firing_by_software_is_refused_where_a_line_triggers(open_camera):
    with pytest.raises(ConfigError, match="TriggerSoftware"):
        started(open_camera()).fire()


def test_an_incomplete_picture_comes_without_pixels_and_its_status_is_told_once(open_camera, camera, caplog):
    driver = started(open_camera())
    camera.fail_next("ok", "incomplete", "incomplete", "ok")
    pictures = []
    with caplog.at_level(logging.WARNING):
        for number in range(4):
            camera.at_ms(100 * number)
            camera.pulse()
            pictures.append(driver.grab(100))
    assert [picture.complete for picture in pictures] == [True, False, False, True]
    assert [picture.image is None for picture in pictures] == [False, True, True, False]
    assert [picture.frame_id for picture in pictures] == [0, 1, 2, 3]
    assert pictures[1].exposure_us == pytest.approx(200, abs=5)
    assert [record.getMessage() for record in caplog.records] == [
        "a picture came incomplete: Missing packets (told once)"
    ]


def test_a_picture_with_another_pictures_chunk_data_and_the_next_are_incomplete(open_camera, camera):
    driver = started(open_camera())
    camera.fail_next("ok", "foreign chunks", "ok", "ok")
    complete = []
    for number in range(4):
        camera.at_ms(100 * number)
        camera.pulse()
        complete.append(driver.grab(100).complete)
    assert complete == [True, False, False, True]


def test_a_picture_without_chunk_data_is_incomplete(open_camera, camera, caplog):
    driver = started(open_camera())
    camera.fail_next("no chunks")
    camera.pulse()
    picture = driver.grab(100)
    assert (picture.complete, picture.image, picture.frame_id) == (False, None, 0)
    assert "no chunk" in caplog.text


def test_frame_ids_begin_anew_with_each_start(open_camera, camera):
    driver = open_camera()
    driver.start()
    driver.start()  # a second start changes nothing
    camera.pulse()
    assert driver.grab(100).frame_id == 0


def test_the_clock_is_read_between_two_readings_of_the_hosts(pyspin, camera, config, tmp_path):
    host = iter(range(100, 1000, 10))
    driver = SpinnakerDriver(config(), pyspin, now_ns=lambda: next(host), root=tmp_path)
    camera.now_ns = lambda: 55_555
    reading = driver.read_clock()
    assert reading.device_ns == 55_555
    assert reading.host_after_ns - reading.host_before_ns == 10
    driver.close()


def test_the_counter_tells_of_triggers_that_started_no_exposure(open_camera, camera):
    driver = started(open_camera(trigger={"overlap": "off"}))
    for at_ms in (0, 5, 100):  # the second comes while the first is read out
        camera.at_ms(at_ms)
        camera.pulse()
    assert [driver.grab(1).frame_id, driver.grab(1).frame_id, driver.grab(1)] == [0, 1, None]
    assert driver.trigger_count() == 3


def test_with_overlap_a_trigger_during_readout_is_taken(open_camera, camera):
    driver = started(open_camera(exposure_us=20_000))
    for at_ms in (0, 24):
        camera.at_ms(at_ms)
        camera.pulse()
    assert [driver.grab(1).frame_id, driver.grab(1).frame_id] == [0, 1]


@pytest.mark.parametrize("edge", ["rising", "falling"])
def test_only_the_chosen_edge_of_the_chosen_line_counts(open_camera, camera, edge):
    driver = started(open_camera(trigger={"line": "Line3", "edge": edge}))
    camera.pulse("Line0")
    camera.edge("Line3", edge)
    assert driver.trigger_count() == 1
    assert driver.grab(1).frame_id == 0
    assert driver.grab(1) is None


def test_the_count_of_triggers_goes_on_past_the_end_of_the_cameras_counter(open_camera, camera):
    driver = open_camera()
    counts = []
    for value in (0, 40_000, 65_534, 3, 40_000, 2):
        camera.put("CounterValue", value, ("Counter0",))
        counts.append(driver.trigger_count())
    assert counts == [0, 40_000, 65_534, 65_538, 105_535, 131_072]


def test_a_counter_that_stops_at_its_end_is_started_again(open_camera, camera, caplog):
    camera.counter_wraps = False
    driver = open_camera()
    camera.put("CounterValue", 65_533, ("Counter0",))
    assert driver.trigger_count() == 65_533
    camera.pulse()
    camera.pulse()
    assert driver.trigger_count() == 65_535
    camera.pulse()
    assert driver.trigger_count() == 65_536
    assert "started again" in caplog.text


@pytest.mark.parametrize("mode", ["software", "free_run"])
def test_without_a_trigger_line_no_edges_are_counted(open_camera, mode):
    assert open_camera(trigger={"mode": mode}).trigger_count() is None


def test_a_camera_without_counters_says_so_and_works(double, camera, open_camera, caplog):
    camera.without |= {"CounterSelector"}
    driver = started(open_camera())
    assert driver.trigger_count() is None
    assert "does not count triggers" in caplog.text
    camera.pulse()
    assert driver.grab(1).trigger_count is None


def test_the_count_at_the_exposure_comes_with_the_picture_where_the_camera_sends_it(open_camera, camera):
    chunks = camera.features["device"]["ChunkSelector"]
    camera.features["device"]["ChunkSelector"] = type(chunks)(
        "enum", "FrameID", (*chunks.entries, "CounterValue")
    )
    driver = started(open_camera(trigger={"overlap": "off"}))
    for at_ms in (0, 5, 100):
        camera.at_ms(at_ms)
        camera.pulse()
    assert [driver.grab(1).trigger_count, driver.grab(1).trigger_count] == [1, 3]


def test_health_tells_temperature_link_and_losses(open_camera, camera):
    driver = started(open_camera())
    camera.fail_next("lost")
    for number in range(6):  # one lost in the camera, two for want of a buffer
        camera.at_ms(100 * number)
        camera.pulse()
    assert driver.health() == DeviceHealth(
        temperature_c=41.5, link_errors=0, lost_in_camera=1, lost_in_host=2, throughput_mb_s=371.6
    )


def test_health_leaves_out_what_the_camera_does_not_tell(open_camera, camera):
    camera.without |= {
        "DeviceTemperature",
        "LinkErrorCount",
        "StreamLostFrameCount",
        "StreamDroppedFrameCount",
    }
    health = open_camera().health()
    assert health.temperature_c is None
    assert health.link_errors is None
    assert health.lost_in_host is None


def test_user_outputs_are_set_one_by_one(open_camera, camera):
    driver = open_camera()
    driver.set_user_output(2, True)
    driver.set_user_output(1, True)
    driver.set_user_output(2, False)
    levels = [camera.get("UserOutputValue", (f"UserOutput{index}",)) for index in range(4)]
    assert levels == [False, True, False, False]
    with pytest.raises(ConfigError, match="UserOutput7"):
        driver.set_user_output(7, True)


def test_too_little_memory_for_buffers_is_told_with_its_cure(open_camera, camera):
    driver = open_camera()
    camera.memory_for_buffers = False
    with pytest.raises(OperateError, match="usbfs_memory_mb") as told:
        driver.start()
    assert not isinstance(told.value, CameraLostError)


def test_a_closed_driver_says_so(open_camera):
    driver = open_camera()
    driver.close()
    driver.close()
    for call in (driver.start, driver.fire, driver.read_clock, driver.health, lambda: driver.grab(1)):
        with pytest.raises(CameraLostError, match="closed"):
            call()
