"""Errors of the appliance: what happened, and what to do next.

A user error is printed as one paragraph and ends the command with exit code 2. Anything that is not an
`EdgeError` is a bug and keeps its traceback. Vendor exceptions stop at the door of their backend and leave it
as one of these, with the original as cause.
"""

from __future__ import annotations


class EdgeError(Exception):
    """A condition that a person can mend.

    `what` names what happened, `do` what to do next. Both are full sentences without a line break.
    """

    def __init__(self, what: str, *, do: str) -> None:
        super().__init__(what, do)
        self.what = what
        self.do = do

    def __str__(self) -> str:
        return f"{self.what} {self.do}"


class ConfigError(EdgeError):
    """The station file, the calibration file or a command's arguments are wrong."""


class BundleError(EdgeError):
    """A bundle is missing, altered, or does not fit what it is used with."""


class ModelFileError(EdgeError):
    """A CLIP file or a checkpoint cannot be read or does not fit its counterpart."""


class OpenError(EdgeError):
    """A camera, runner, output or record store could not be opened."""


class OperateError(EdgeError):
    """A device or store that was open has failed in use."""


class FrameError(OperateError):
    """A frame does not have the layout or the size that this station expects."""
