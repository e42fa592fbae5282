"""What every output backend must do. A backend that is not here yet is added to BACKENDS."""

import pytest

from edge.clock import MonotonicClock
from edge.config import RecorderOutputConfig
from edge.errors import OperateError
from edge.outputs import DeclaredState, open_outputs

BACKENDS = ["recorder"]

LINES = {
    "reject": {"start": False, "stop": False, "crash": True, "stall": True},
    "ready": {"start": False, "stop": False, "crash": False, "stall": False},
    "inverted": {"start": True, "stop": True, "crash": False, "stall": True},
}


@pytest.fixture(params=BACKENDS)
def outputs(request):
    config = RecorderOutputConfig.model_validate({"backend": request.param, "lines": LINES})
    opened = open_outputs(config, MonotonicClock())
    yield opened
    opened.close()


def test_lines_are_those_of_the_config_in_order(outputs):
    assert outputs.lines == tuple(LINES)


def test_opens_at_start_levels(outputs):
    assert outputs.levels == {name: levels["start"] for name, levels in LINES.items()}


@pytest.mark.parametrize("state", DeclaredState)
def test_enters_the_declared_levels(outputs, state):
    outputs.write("ready", True)
    outputs.enter(state)
    assert outputs.levels == {name: levels[state.value] for name, levels in LINES.items()}


def test_writes_one_line_and_no_other(outputs):
    before = dict(outputs.levels)
    outputs.write("reject", True)
    assert outputs.levels == before | {"reject": True}


def test_an_unknown_line_is_an_error_and_changes_nothing(outputs):
    before = dict(outputs.levels)
    with pytest.raises(OperateError, match="no output line 'rejct'"):
        outputs.write("rejct", True)
    assert outputs.levels == before


@pytest.mark.parametrize("state", DeclaredState)
def test_close_leaves_the_levels_of_the_last_state_and_may_be_called_twice(outputs, state):
    outputs.enter(state)
    outputs.close()
    outputs.close()
    assert outputs.levels == {name: levels[state.value] for name, levels in LINES.items()}
