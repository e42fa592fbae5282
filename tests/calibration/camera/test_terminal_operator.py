import io

import pytest
from rich.console import Console

from calibration.camera.bench import Target
from calibration.camera.terminal_operator import TerminalOperator
from edge.errors import ConfigError


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def _typed(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_it_waits_for_enter_and_says_what_to_do(console, monkeypatch):
    _typed(monkeypatch, "\n")
    TerminalOperator(console).present(Target.GREY, "Put the grey card [matt] in view.")
    assert "Put the grey card [matt] in view." in console.file.getvalue()


def test_views_of_the_board_are_counted(console, monkeypatch):
    _typed(monkeypatch, "\n")
    TerminalOperator(console).present(Target.BOARD, "Tilt the board.", 3)
    assert "(view 3)" in console.file.getvalue()


@pytest.mark.parametrize("answer", ["q\n", " Quit \n"])
def test_the_person_may_give_up(console, monkeypatch, answer):
    _typed(monkeypatch, answer)
    with pytest.raises(ConfigError, match="stopped"):
        TerminalOperator(console).present(Target.DARK, "Cover the lens.")


def test_with_nobody_there_it_does_not_wait_for_ever(console, monkeypatch):
    _typed(monkeypatch, "")
    with pytest.raises(ConfigError, match="--yes"):
        TerminalOperator(console).present(Target.DARK, "Cover the lens.")


def test_with_yes_nobody_is_asked_and_what_was_taken_for_done_is_said(console, monkeypatch):
    _typed(monkeypatch, "")
    TerminalOperator(console, assume_yes=True).present(Target.DARK, "Cover the lens.")
    assert "Taken as done: Cover the lens." in console.file.getvalue()
