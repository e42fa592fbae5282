from dataclasses import dataclass, field

import numpy as np
import pytest

from calibration.camera.bench import Ranges, Settings, Target
from calibration.camera.driver_bench import DriverBench
from calibration.camera.exposure import ExposureLimits, find_exposure
from calibration.camera.simulated_bench import SimulatedBench
from calibration.camera.simulated_lamp import SimulatedLamp
from calibration.camera.white_balance import find_white_balance
from edge.camera.driver import DeviceHealth, DeviceIdentity, Grabbed
from edge.camera_config import AravisCameraConfig
from edge.errors import ConfigError, OpenError, OperateError
from edge.messages import PixelFormat


@dataclass
class Device:
    """A camera on the desk, seen by a simulated bench; drivers open and close it.

    It does not model transfer, time, or what a library does: see the camera's own contract tests for those.
    """

    scene: SimulatedBench
    refuses_gain_above_db: float = 47.0
    ready_after: int = 0  # triggers that are lost after each start
    loses_from: int = 10**9  # pictures are incomplete from this one on
    absent: bool = False
    configs: list = field(default_factory=list)
    opened: int = 0
    taken: int = 0

    def open(self, config):
        assert self.opened == 0, "a camera obeys one program only"
        if self.absent:
            raise OpenError("No camera is there.", do="Plug it in.")
        if config.gain_db > self.refuses_gain_above_db:
            raise ConfigError("The camera does not take this gain.", do="Choose another.")
        self.configs.append(config)
        balance = config.white_balance
        red, blue = (1.0, 1.0) if balance is None else (balance.red, balance.blue)
        self.scene.set(exposure_us=config.exposure_us, gain_db=config.gain_db, red_gain=red, blue_gain=blue)
        self.opened += 1
        return OpenedDevice(self)


class OpenedDevice:
    """A `Driver` of the device."""

    frame_id_period = 2**64

    def __init__(self, device):
        self._device, self._pending, self._lost = device, [], device.ready_after
        self.identity = DeviceIdentity("maker", "model 1", "77", "2.1", "a wire")

    def start(self):
        pass

    def fire(self):
        if self._lost > 0:
            self._lost -= 1
            return
        self._device.taken += 1
        (image,) = self._device.scene.grab(1)
        settings, complete = self._device.scene.settings, self._device.taken < self._device.loses_from
        self._pending.append(
            Grabbed(
                self._device.taken,
                0,
                image if complete else None,
                PixelFormat.BAYER_RG8,
                complete,
                settings.exposure_us,
                settings.gain_db,
            )
        )

    def grab(self, timeout_ms):
        return self._pending.pop(0) if self._pending else None

    def health(self):
        return DeviceHealth(temperature_c=41.5)

    def close(self):
        self._device.opened -= 1
        self._device = None


@pytest.fixture
def device():
    return Device(SimulatedBench(512, 270, lamp=SimulatedLamp(on_for_s=1e5)))


def _config(**changes):
    content = {"backend": "aravis", "serial": "77", "exposure_us": 500, "gamma": 1.0, **changes}
    return AravisCameraConfig.model_validate(content)


def _bench(device, **how):
    return DriverBench(_config(**how.pop("config", {})), opener=device.open, **how)


def test_it_says_who_the_camera_is_and_what_it_is_set_to(device):
    bench = _bench(device)
    identity = bench.identity
    assert (identity.model, identity.serial, identity.firmware) == ("model 1", "77", "2.1")
    assert (identity.width_px, identity.height_px) == (512, 270)
    assert identity.pixel_format is PixelFormat.BAYER_RG8
    assert bench.settings == Settings(500, 0)
    assert bench.temperature_c() == 41.5


def test_it_triggers_by_software_whatever_triggers_the_line_and_keeps_the_rest(device):
    _bench(device, config={"trigger": {"mode": "hardware", "overlap": "off"}, "black_level_percent": 1.5})
    (config,) = device.configs
    assert config.trigger.mode == "software"
    assert config.trigger.overlap == "off"
    assert (config.black_level_percent, config.gamma, config.serial) == (1.5, 1.0, "77")


def test_each_picture_has_its_own_trigger(device):
    bench = _bench(device)
    before = device.taken
    pictures = bench.grab(3)
    assert device.taken - before == 3
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_settings_are_given_by_opening_again_and_read_from_the_picture(device):
    bench = _bench(device)
    settings = bench.set(exposure_us=333.3, gain_db=3, red_gain=1.5, blue_gain=1.25)
    assert settings == bench.settings
    assert settings.exposure_us == 333.0  # the device's own steps
    assert (settings.gain_db, settings.red_gain, settings.blue_gain) == (pytest.approx(3), 1.5, 1.25)
    assert device.configs[-1].white_balance.red == 1.5
    assert device.opened == 1


def test_what_is_set_already_does_not_open_it_again(device):
    bench = _bench(device)
    bench.set(exposure_us=500, gain_db=0)
    assert len(device.configs) == 1


def test_the_white_balance_of_the_station_is_where_it_starts(device):
    assert _bench(device, config={"white_balance": {"red": 1.7, "blue": 2.0}}).settings.red_gain == 1.7


def test_a_setting_that_the_camera_does_not_take_leaves_the_one_before(device):
    device.refuses_gain_above_db = 10
    bench = _bench(device)
    with pytest.raises(ConfigError, match="does not take"):
        bench.set(gain_db=20)
    assert bench.settings.gain_db == 0
    assert len(bench.grab(1)) == 1


def test_a_setting_outside_the_ranges_does_not_reach_the_camera(device):
    bench = _bench(device, ranges=Ranges((100, 1000), (0, 10), (0.5, 2)))
    for wanted in ({"exposure_us": 50}, {"gain_db": 11}, {"red_gain": 3}, {"blue_gain": 0.1}):
        with pytest.raises(ConfigError, match="cannot be set"):
            bench.set(**wanted)
    assert len(device.configs) == 1


def test_a_camera_that_misses_its_first_trigger_is_asked_again(device):
    device.ready_after = 1
    bench = _bench(device)
    assert bench.set(exposure_us=400).exposure_us == 400


def test_a_camera_that_gives_nothing_is_an_error_and_is_let_go(device):
    device.ready_after = 99
    with pytest.raises(OperateError, match="No picture"):
        _bench(device)
    assert device.opened == 0


def test_an_incomplete_picture_is_an_error(device):
    bench = _bench(device)
    device.loses_from = device.taken + 2
    with pytest.raises(OperateError, match="incomplete"):
        bench.grab(3)


def test_a_camera_that_is_not_there_is_an_error(device):
    device.absent = True
    with pytest.raises(OpenError):
        _bench(device)


def test_closing_twice_is_allowed_and_then_it_gives_no_more(device):
    bench = _bench(device)
    bench.close()
    bench.close()
    assert device.opened == 0
    with pytest.raises(OperateError, match="closed"):
        bench.grab(1)


def test_the_steps_run_on_it(device):
    bench = _bench(device)
    find_white_balance(bench, device.scene)
    result = find_exposure(bench, device.scene)
    assert result.levels.bright == pytest.approx(ExposureLimits().target, rel=0.02)
    truth = device.scene.truth
    assert result.settings.red_gain == pytest.approx(truth.red_gain, rel=0.01)
    device.scene.present(Target.DARK, "")
    assert np.mean(bench.grab(1)) == pytest.approx(truth.black_level_dn, abs=0.5)
