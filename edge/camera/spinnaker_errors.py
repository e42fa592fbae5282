"""Spinnaker's error codes as our errors, and a door that no reference to the camera gets through.

An exception keeps the frames it passed through alive, and these keep the camera alive: the SDK then refuses to
release it (-1004). So every call into the SDK is made behind `Door.call`, which lets an error out without
the frames of the inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from edge.camera.driver import CameraLostError
from edge.errors import ConfigError, EdgeError, OpenError, OperateError

Result = TypeVar("Result")

RESOURCE_IN_USE = -1004
ACCESS_DENIED = -1005
TIMEOUT = -1011

CONFIGURATION = frozenset(
    {-1003, -1009, -1014, -1017, -1019, -2001, -2002, -2003, -2004, -2005, -2006, -2008, -2009}
)
"""The camera does not take what we ask of it: not implemented, not available, out of range, read-only, ..."""
OUT_OF_MEMORY = frozenset({-1020, -1021, -2010})

LONGEST_MESSAGE = 300


class Door:
    """Makes calls into the SDK; `pyspin` is its module."""

    def __init__(self, pyspin: Any) -> None:
        self._vendor_error = pyspin.SpinnakerException

    def call(self, doing: str, work: Callable[[], Result]) -> Result:
        """What `work` returns. `doing` completes "The camera could not ...".

        Raises what `error_for` says of a Spinnaker error, and an `EdgeError` of `work` as it is. Neither holds
        a frame of `work`, so `work` itself must not be a closure over anything of the SDK.
        """
        return self._call(doing, work, opening=False, undo=None)

    def open(self, doing: str, work: Callable[[], Result], undo: Callable[[], None]) -> Result:
        """The same for what opens the camera; when it fails, `undo` is called once its frames are gone."""
        return self._call(doing, work, opening=True, undo=undo)

    def _call(
        self, doing: str, work: Callable[[], Result], *, opening: bool, undo: Callable[[], None] | None
    ) -> Result:
        error: EdgeError
        try:
            return work()
        except self._vendor_error as fault:
            error = error_for(code_of(fault), text_of(fault), doing, opening=opening)
            error.__cause__ = without_frames(fault)
        except EdgeError as fault:
            error = fault
            without_frames(fault)
        # Not before here: within an except clause the interpreter itself holds the frames.
        if undo is not None:
            undo()
        raise error

    def quietly(self, work: Callable[[], object]) -> str | None:
        """Make a call of which nothing depends; its error as text, None when there was none."""
        try:
            work()
        except self._vendor_error as fault:
            return text_of(without_frames(fault))
        return None


def error_for(code: int, text: str, doing: str, *, opening: bool) -> EdgeError:
    """Our error for a Spinnaker error code.

    Codes of GenICam and of wrong parameters are configuration errors, which no second try would change.
    Whatever else goes wrong with a camera in use calls for opening it again: -1010, -1012, -1002, -1006 and
    -1015 mean that it is gone, a time-out (-1011, -2007) of anything but a picture that it no longer answers.
    """
    what = f"The camera could not {doing}: {text}."
    if code in CONFIGURATION:
        return ConfigError(what, do="Correct the camera's settings in the station file.")
    if code in OUT_OF_MEMORY:
        do = "Raise usbcore.usbfs_memory_mb to 1000 or take fewer camera.buffers; 'adclip check' tells more."
        return OpenError(what, do=do) if opening else OperateError(what, do=do)
    if opening:
        return OpenError(
            what, do="Unplug the camera, plug it in again and retry; 'adclip check' looks further."
        )
    return CameraLostError(what, do="Check the camera's cable and power.")


def code_of(fault: BaseException) -> int:
    """The error code of a `SpinnakerException`; -1001, a general error, where it has none."""
    return int(getattr(fault, "errorcode", -1001))


def text_of(fault: BaseException) -> str:
    """Its message and code in one line for a sentence of ours."""
    message = " ".join(str(getattr(fault, "message", "") or fault).split())[:LONGEST_MESSAGE].rstrip(". ")
    code = f"[{code_of(fault)}]"
    return message if code in message else f"{message} {code}"


def without_frames(fault: BaseException) -> BaseException:
    """The same exception, and those behind it, holding no frame of the calls they passed through."""
    seen: set[int] = set()
    behind: list[BaseException | None] = [fault]
    while behind:
        one = behind.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            behind += [one.__cause__, one.__context__]
    return fault
