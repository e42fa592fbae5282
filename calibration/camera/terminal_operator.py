"""The person at the bench, asked in the terminal."""

from __future__ import annotations

from rich.console import Console

from calibration.camera.bench import Target
from edge.errors import ConfigError

GIVE_UP = ("q", "quit")


class TerminalOperator:
    """An `Operator` that waits for Enter; with `assume_yes` it takes everything for in place, and says so."""

    def __init__(self, console: Console, *, assume_yes: bool = False) -> None:
        self._console, self._assume_yes = console, assume_yes

    def present(self, target: Target, what: str, view: int = 0) -> None:
        """See `Operator.present`. Raises `ConfigError` when the person gives up or there is nobody to ask."""
        place = f" (view {view})" if target is Target.BOARD else ""
        if self._assume_yes:
            self._console.print(f"Taken as done{place}: {what}", highlight=False, markup=False)
            return
        self._console.print(f"{what}{place}", highlight=False, markup=False, style="bold")
        try:
            answer = self._console.input(
                "Press Enter when it is in place, q and Enter to stop: ", markup=False
            )
        except EOFError as fault:
            raise ConfigError(
                "Nobody answers: the input is not a terminal.",
                do="Run the command in a terminal, or with --yes when everything is in place beforehand.",
            ) from fault
        if answer.strip().lower() in GIVE_UP:
            raise ConfigError("The calibration was stopped.", do="Start it again when the target is at hand.")
