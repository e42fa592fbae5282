"""Each way in which opening or using a Spinnaker camera fails, and that nothing is held afterwards."""

import importlib
import importlib.util
import sys
from types import SimpleNamespace

import pytest

from edge.camera.driver import CameraLostError
from edge.camera.spinnaker import SpinnakerDriver
from edge.camera.spinnaker_errors import Door, error_for
from edge.camera.spinnaker_library import check_versions, load_pyspin
from edge.errors import ConfigError, OpenError, OperateError


def nothing_is_held(pyspin):
    return pyspin.bus.held() == [] and pyspin.bus.references == 0 and pyspin.bus.handlers == []


# -- opening


def test_an_absent_camera_is_told_with_those_that_are_there(double, config, tmp_path):
    pyspin = double.make_pyspin(double.Blackfly("111"), double.Blackfly("222"))
    with pytest.raises(OpenError, match="23456789 is connected: there are 111, 222"):
        SpinnakerDriver(config(), pyspin, root=tmp_path)
    assert nothing_is_held(pyspin)


def test_no_camera_at_all_is_told(double, config, tmp_path):
    pyspin = double.make_pyspin()
    with pytest.raises(OpenError, match="there is none at all"):
        SpinnakerDriver(config(), pyspin, root=tmp_path)
    assert nothing_is_held(pyspin)


def test_a_camera_that_is_held_is_told_with_its_holder(pyspin, camera, config, usb_bus):
    camera.held_by_other = True
    usb_bus.camera(bus=2, number=7)
    usb_bus.process(4242, "SpinView_QT", opens=(2, 7))
    usb_bus.process(4243, "bash", opens=(1, 1))
    with pytest.raises(OpenError, match=r"held by somebody else .*: SpinView_QT \(process 4242\)\."):
        SpinnakerDriver(config(), pyspin, root=usb_bus.root)
    assert nothing_is_held(pyspin)


def test_a_holder_that_is_not_seen_leaves_the_usual_suspects(pyspin, camera, config, tmp_path):
    camera.held_by_other = True
    with pytest.raises(OpenError, match=r"no other process was seen.*SpinView, another adclip daemon"):
        SpinnakerDriver(config(), pyspin, root=tmp_path)


@pytest.mark.parametrize("speed", ["HighSpeed", "FullSpeed", "UnknownSpeed"])
def test_a_slow_link_is_refused_unless_told(double, config, tmp_path, speed):
    pyspin = double.make_pyspin(double.Blackfly("23456789", speed=speed))
    with pytest.raises(OpenError, match=f"linked at {speed}, not at SuperSpeed"):
        SpinnakerDriver(config(), pyspin, root=tmp_path)
    assert nothing_is_held(pyspin)
    driver = SpinnakerDriver(config(allow_slow_link=True), pyspin, root=tmp_path)
    assert driver.identity.link == f"USB, {speed}"
    driver.close()


def test_a_refused_setting_lets_the_camera_go(pyspin, config, tmp_path):
    with pytest.raises(ConfigError) as told:
        SpinnakerDriver(config(gain_db=99), pyspin, root=tmp_path)
    assert nothing_is_held(pyspin)  # while the error is still held
    assert "Gain" in str(told.value)


def test_an_sdk_of_another_version_than_the_wheel_is_refused(double, pyspin, config, tmp_path):
    pyspin.FLIR_SPINNAKER_VERSION_MAJOR = 3
    with pytest.raises(OpenError, match=r"of version 3\.2\.\?\.\?, the Spinnaker SDK of 4\.2\.0\.46"):
        SpinnakerDriver(config(), pyspin, root=tmp_path)
    assert nothing_is_held(pyspin)


def test_a_wheel_that_does_not_tell_its_version_is_taken():
    check_versions(SimpleNamespace(), SimpleNamespace(major=4, minor=2, type=0, build=46))


# -- the module


@pytest.fixture
def importing(monkeypatch):
    """Makes the import of PySpin give or raise something."""

    def make(outcome):
        def import_module(name):
            assert name == "PySpin"
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(importlib, "import_module", import_module)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    return make


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (ModuleNotFoundError("No module named 'PySpin'", name="PySpin"), "not installed.*Never"),
        (
            ImportError("libSpinnaker.so.4: cannot open shared object file"),
            "does not find the Spinnaker SDK.*ldconfig",
        ),
        (ImportError("numpy.core.multiarray failed to import"), "another NumPy.*numpy<2"),
        (ImportError("undefined symbol: PyX"), "cannot be loaded: undefined symbol"),
        (SimpleNamespace(Spinner=1), "draws spinners.*pip uninstall pyspin"),
    ],
)
def test_a_module_that_cannot_be_used_says_why(importing, outcome, words):
    importing(outcome)
    with pytest.raises(OpenError, match=words):
        load_pyspin()


def test_the_namesake_of_the_package_index_is_recognised_by_its_own_name(importing, monkeypatch):
    importing(ModuleNotFoundError("No module named 'PySpin'", name="PySpin"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(name=name))
    with pytest.raises(OpenError, match="draws spinners"):
        load_pyspin()


def test_the_module_is_loaded_when_the_camera_is_opened(monkeypatch, pyspin, config, tmp_path):
    monkeypatch.setitem(sys.modules, "PySpin", pyspin)
    SpinnakerDriver(config(), root=tmp_path).close()
    assert nothing_is_held(pyspin)


# -- in use


@pytest.mark.parametrize(
    ("code", "opening", "kind"),
    [
        (-1010, False, CameraLostError),
        (-1012, False, CameraLostError),
        (-1002, False, CameraLostError),
        (-1006, False, CameraLostError),
        (-1015, False, CameraLostError),
        (-1011, False, CameraLostError),  # of a command; a picture's time-out never gets here
        (-2007, False, CameraLostError),
        (-1001, False, CameraLostError),
        (-2001, False, ConfigError),
        (-2002, False, ConfigError),
        (-2006, True, ConfigError),
        (-2008, True, ConfigError),
        (-1009, True, ConfigError),
        (-1020, False, OperateError),
        (-1020, True, OpenError),
        (-1001, True, OpenError),
        (-1010, True, OpenError),
    ],
)
def test_codes_become_the_error_that_they_call_for(code, opening, kind):
    assert type(error_for(code, "text", "do it", opening=opening)) is kind


def test_no_error_holds_a_frame_of_the_call(pyspin, double):
    class Witness:
        pass

    held = []

    def work():
        witness = Witness()
        held.append(__import__("weakref").ref(witness))
        try:
            raise ValueError("behind it")
        except ValueError as fault:
            raise double.SpinnakerException("gone", -1010) from fault

    with pytest.raises(CameraLostError) as told:
        Door(pyspin).call("answer", work)
    assert held[0]() is None
    assert told.value.__cause__.errorcode == -1010


@pytest.mark.parametrize("call", ["grab", "fire", "health", "read_clock", "trigger_count", "start"])
def test_a_lost_camera_is_told_by_every_call_and_let_go(pyspin, camera, config, tmp_path, call):
    driver = SpinnakerDriver(config(trigger={"mode": "hardware"}), pyspin, root=tmp_path)
    driver.start()
    camera.unplug()
    if call == "start":
        camera.plug()  # another life of the camera: the old handle is of no use
    arguments = {"grab": (100,)}.get(call, ())
    with pytest.raises(CameraLostError) as told:
        getattr(driver, call)(*arguments)
    driver.close()
    assert nothing_is_held(pyspin)  # while the error is still held
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("shows_by", ["event", "valid", "io"])
def test_an_unplug_is_noticed_however_it_shows(open_camera, camera, shows_by):
    driver = open_camera()
    driver.start()
    camera.shows_unplug_by = {shows_by}
    camera.timeouts_after_unplug = 1 if shows_by == "io" else 1000
    camera.unplug()
    if shows_by == "io":
        assert driver.grab(10) is None
    with pytest.raises(CameraLostError):
        driver.grab(10)


def test_an_unplug_that_shows_as_time_outs_alone_is_noticed_by_asking(open_camera, camera):
    driver = open_camera()
    driver.start()
    camera.shows_unplug_by, camera.timeouts_after_unplug = set(), 1000
    camera.answers_from_cache = True
    camera.unplug()
    assert driver.grab(10) is None
    with pytest.raises(CameraLostError):
        driver.health()


@pytest.mark.parametrize("missing", ["the class of handlers", "the permission to register"])
def test_without_events_an_unplug_is_noticed_by_polling(pyspin, camera, config, tmp_path, missing):
    if missing == "the class of handlers":
        del pyspin.InterfaceEventHandler
    else:
        pyspin.InterfaceEventHandler = type("Unmade", (), {})
    driver = SpinnakerDriver(config(), pyspin, root=tmp_path)
    driver.start()
    assert pyspin.bus.handlers == []
    camera.unplug()
    with pytest.raises(CameraLostError):
        driver.grab(10)
    driver.close()
    assert nothing_is_held(pyspin)


def test_another_cameras_removal_is_no_fault(double, config, tmp_path):
    mine, other = double.Blackfly("23456789"), double.Blackfly("9")
    driver = SpinnakerDriver(config(), double.make_pyspin(mine, other), root=tmp_path)
    driver.start()
    other.unplug()
    other.plug()
    assert driver.grab(10) is None
    mine.pulse()
    assert driver.grab(10).complete
    driver.close()


def test_after_the_unplug_the_camera_is_found_again_by_its_serial_number(pyspin, camera, config, tmp_path):
    driver = SpinnakerDriver(config(), pyspin, root=tmp_path)
    driver.start()
    camera.unplug()
    with pytest.raises(CameraLostError):
        driver.grab(10)
    driver.close()
    with pytest.raises(OpenError, match="none at all"):
        SpinnakerDriver(config(), pyspin, root=tmp_path)
    camera.plug()
    again = SpinnakerDriver(config(), pyspin, root=tmp_path)
    again.start()
    camera.pulse()
    assert again.grab(10).frame_id == 0
    again.close()
    assert nothing_is_held(pyspin)


# -- letting go


def test_images_are_released_also_when_they_are_incomplete(open_camera, camera):
    driver = open_camera(buffers=3)
    driver.start()
    for number, kind in enumerate(3 * ["incomplete", "ok", "foreign chunks", "no chunks"]):
        camera.at_ms(100 * number)
        camera.fail_next(kind)
        camera.pulse()
        assert driver.grab(10) is not None
    assert len(camera.pool) == 3


def test_images_are_released_also_when_reading_them_fails(open_camera, camera, monkeypatch):
    def too_short(packed, height, width):
        raise OperateError("Too few bytes came.", do="Look at the link.")

    monkeypatch.setattr("edge.camera.spinnaker_picture.unpack_12p", too_short)
    driver = open_camera(buffers=3, pixel_format="Mono12p")
    driver.start()
    for number in range(5):
        camera.at_ms(100 * number)
        camera.pulse()
        with pytest.raises(OperateError, match="Too few bytes"):
            driver.grab(10)
    assert len(camera.pool) == 3


def test_closing_while_an_error_of_a_grab_is_handled_holds_nothing(pyspin, camera, config, tmp_path):
    driver = SpinnakerDriver(config(), pyspin, root=tmp_path)
    driver.start()
    camera.unplug()
    try:
        driver.grab(10)
    except CameraLostError:
        driver.close()
        assert nothing_is_held(pyspin)
    else:
        pytest.fail("the unplug was not noticed")


def test_closing_with_pictures_still_in_the_queue_holds_nothing(pyspin, camera, config, tmp_path):
    driver = SpinnakerDriver(config(), pyspin, root=tmp_path)
    driver.start()
    camera.pulse()
    driver.close()
    assert nothing_is_held(pyspin)
    assert not camera.streaming
    assert not camera.initialised


def test_a_reference_that_somebody_keeps_does_not_stop_the_close(pyspin, camera, config, tmp_path, caplog):
    driver = SpinnakerDriver(config(), pyspin, root=tmp_path)
    kept = pyspin.System.GetInstance().GetCameras().GetByIndex(0)
    with caplog.at_level("INFO"):
        driver.close()
    assert "still holds a reference" in caplog.text
    assert kept.IsValid()
