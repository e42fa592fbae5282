"""The station file: what is wrong is named, with its line and the fix."""

import pytest
import yaml

from edge.config import load_station
from edge.errors import ConfigError

GOOD = """\
station: cell-3
bundle: bundle
camera:
  backend: replay
  source: pictures
decision:
  score: 0.5
gate:
  line: reject
  travel_ms: 800
  pulse_ms: 40
outputs:
  backend: recorder
  lines:
    reject: {start: false, stop: false, crash: true, stall: true}
records:
  directory: records
"""


@pytest.fixture
def write(tmp_path):
    def write_text(text):
        path = tmp_path / "station.yaml"
        path.write_text(text)
        return path

    return write_text


def test_good_file_becomes_a_frozen_tree_with_absolute_paths(write, tmp_path):
    config = load_station(write(GOOD))
    assert config.bundle == tmp_path / "bundle"
    assert config.camera.source == tmp_path / "pictures"
    assert config.records.directory == tmp_path / "records"
    assert config.gate.travel_ms == 800
    with pytest.raises(ValueError, match="frozen"):
        config.station = "other"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "pulse_ms: 40",
            "puls_ms: 40",
            r"line 11, gate.puls_ms is not a known key \(did you mean 'pulse_ms'\?\)",
        ),
        ("pulse_ms: 40", "pulse_ms: -4", r"line 11, gate.pulse_ms: .*greater than 0"),
        ("pulse_ms: 40", "pulse_ms: 40 ms", r"line 11, gate.pulse_ms: .*number"),
        ("pulse_ms: 40", "pulse_ms: .nan", r"line 11, gate.pulse_ms"),
        ("  pulse_ms: 40\n", "", r"line 8, gate.pulse_ms is missing"),
        (
            "source: pictures",
            "sauce: pictures",
            r"camera.sauce is not a known key \(did you mean 'source'\?\)",
        ),
        ("backend: replay", "backend: webcam", r"line 3, camera.*webcam"),
        ("line: reject", "line: blow-off", r"gate.line 'blow-off' is not among outputs.lines"),
        ("score: 0.5", "score: high", r"line 7, decision.score"),
        ("score: 0.5", "score: .inf", r"line 7, decision.score"),
        ("score: 0.5", "min_area_px: 3", r"calibration.*by hand"),
        ("stall: true}", "stall: true, max_on_ms: 20}", r"pulse_ms is longer than max_on_ms"),
        ("pulse_ms: 40", "pulse_ms: 40\n  mode: pulse_to_accept", r"pulse_to_accept stop, crash and stall"),
        ("pulse_ms: 40", "pulse_ms: 40\n  decision_lead_ms: 900", r"shorter than travel_ms"),
        ("station: cell-3", "station: cell-3\nstation: cell-4", r"line 2: the key 'station' stands twice"),
        ("station: cell-3", "station: [cell", r"not valid YAML"),
        ("station: cell-3", "station: ../cell", r"line 1, station"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write, old, new, message):
    assert old in GOOD
    with pytest.raises(ConfigError, match=message):
        load_station(write(GOOD.replace(old, new)))


def test_all_faults_are_named_at_once(write):
    text = GOOD.replace("pulse_ms: 40", "puls_ms: 40").replace("score: 0.5", "score: much")
    with pytest.raises(ConfigError) as caught:
        load_station(write(text))
    assert "puls_ms" in caught.value.what
    assert "decision.score" in caught.value.what


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b\n"])
def test_not_a_mapping(write, text):
    with pytest.raises(ConfigError, match="mapping"):
        load_station(write(text))


def test_absent_file(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_station(tmp_path / "none.yaml")


def test_python_objects_are_not_built(write):
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_station(write("station: !!python/object/apply:os.getcwd []\n"))


def test_identity_changes_with_any_value(write):
    one = load_station(write(GOOD)).identity()
    assert load_station(write(GOOD)).identity() == one
    assert load_station(write(GOOD.replace("800", "801"))).identity() != one


def test_printed_configuration_can_be_read_again(write, tmp_path):
    from edge.station import config_text

    config = load_station(write(GOOD))
    assert yaml.safe_load(config_text(config))["gate"]["pulse_ms"] == 40.0
    assert load_station(write(config_text(config))) == config
