"""The simulated camera of the Spinnaker tests, a configuration for it, and a driver that opens it."""

import importlib.util
import sys
from pathlib import Path

import pytest

from edge.camera.spinnaker import SpinnakerDriver
from edge.camera_config import SpinnakerCameraConfig

DOUBLE = Path(__file__).resolve().parents[2] / "doubles" / "pyspin_double"
SERIAL = "23456789"


@pytest.fixture(scope="session")
def double():
    """The package of the double; see there what it does not model."""
    name = "pyspin_double"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, DOUBLE / "__init__.py", submodule_search_locations=[str(DOUBLE)]
        )
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def camera(double):
    return double.Blackfly(SERIAL)


@pytest.fixture
def pyspin(double, camera):
    return double.make_pyspin(camera)


@pytest.fixture
def config():
    def make(**changes):
        content = {
            "backend": "spinnaker",
            "serial": SERIAL,
            "exposure_us": 200.0,
            "region_px": (64, 32, 64, 48),
            "buffers": 3,
        }
        return SpinnakerCameraConfig.model_validate(content | changes)

    return make


@pytest.fixture
def open_camera(pyspin, config, tmp_path):
    """Opens the simulated camera, and afterwards closes it and looks that nothing of it is held."""
    drivers = []

    def make(**changes):
        drivers.append(SpinnakerDriver(config(**changes), pyspin, root=tmp_path))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.close()
    drivers.clear()
    assert pyspin.bus.references == 0
    assert pyspin.bus.held() == []


class UsbBus:
    """The files of the kernel that tell of cameras on the USB and of who has them open."""

    def __init__(self, root):
        self.root = root

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def camera(self, *, bus=2, number=7, speed="5000", power="on", vendor="1e10", serial="0165D2A5"):
        device = f"sys/bus/usb/devices/{bus}-{number}"
        content = {"idVendor": vendor, "busnum": bus, "devnum": number, "speed": speed, "serial": serial}
        for name, text in (content | {"power/control": power, "product": "Blackfly S"}).items():
            self.write(f"{device}/{name}", text)

    def process(self, pid, name, opens):
        self.write(f"proc/{pid}/comm", name)
        folder = self.root / f"proc/{pid}/fd"
        folder.mkdir(parents=True)
        (folder / "5").symlink_to(self.root / f"dev/bus/usb/{opens[0]:03}/{opens[1]:03}")


@pytest.fixture
def usb_bus(tmp_path):
    return UsbBus(tmp_path)
