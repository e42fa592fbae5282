"""Fixtures of the engine and runner tests."""

import importlib.util
from pathlib import Path

import pytest

DOUBLES = Path(__file__).resolve().parents[1] / "doubles"


def module(name):
    spec = importlib.util.spec_from_file_location(name, DOUBLES / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="session")
def tensorrt_double():
    """The module of the double; see there what it does not model."""
    return module("tensorrt_double")


@pytest.fixture(scope="session")
def tiny():
    """The module of the tiny bundle."""
    return module("tiny_bundle")


@pytest.fixture
def tiny_bundle(tiny, tmp_path):
    """The tiny bundle, opened, without an FP16 graph."""
    return tiny.write_tiny_bundle(tmp_path / "bundle", fp16=False)
