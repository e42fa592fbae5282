"""The commented examples are valid as they stand."""

from pathlib import Path

import pytest

from edge.config import load_station

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "deploy" / "stations").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid(path):
    assert load_station(path).station


def test_there_is_one_for_every_camera():
    assert {load_station(path).camera.backend for path in EXAMPLES} >= {"synthetic", "replay", "spinnaker"}
