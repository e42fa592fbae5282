"""Cameras that the contract suite opens and that need something beside them."""

import importlib.util
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


def load(name, file, **options):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file, **options)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="module")
def loopback_camera():
    """A running GigE Vision camera on the loopback interface; see tests/camera."""
    loopback = load("loopback_camera", TESTS / "camera" / "loopback.py")
    reason = loopback.missing()
    if reason:
        pytest.skip(reason)
    camera = loopback.LoopbackCamera(width=1024, height=540)
    yield camera
    camera.kill()


@pytest.fixture(scope="session")
def pyspin_double():
    """The stand-in for PySpin; see there what it does not model."""
    folder = TESTS / "doubles" / "pyspin_double"
    return load("pyspin_double", folder / "__init__.py", submodule_search_locations=[str(folder)])
