"""Calls into a camera's library that may block for seconds, made without holding up the line's own thread.

A command to a camera that has just gone can take seconds to fail, and finding it again takes a second at best.
Meanwhile the thread that waits goes on making progress: it beats, heeds a stop, and counts the parts that pass.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from edge.errors import OperateError

Result = TypeVar("Result")

SLICE_S = 0.02
LONGEST_S = 30.0
"""No call into a camera takes so long and then succeeds; a library that does not come back is given up."""


class SlowCalls(Protocol):
    """Where such calls are made: one at a time."""

    def run(self, call: Callable[[], Result], meanwhile: Callable[[], object]) -> Result:
        """What `call` returns or raises. `meanwhile` is called again and again until then."""


class CallsInOneThread:
    """Makes the calls in a thread of its own, always the same, started with the first call.

    Raises `OperateError` for a call that does not come back.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, call: Callable[[], Result], meanwhile: Callable[[], object]) -> Result:
        """See `SlowCalls.run`."""
        outcome = _Outcome(call)
        self._calls.put(outcome.make)
        self._start()
        for _ in range(round(LONGEST_S / SLICE_S)):
            if outcome.done.wait(SLICE_S):
                return outcome.result()
            meanwhile()
        raise OperateError(
            f"The camera's library has not come back for {LONGEST_S:g} s.",
            do="Unplug the camera, plug it in again and restart the service.",
        )

    def _start(self) -> None:
        if self._thread is None:
            # A daemon: a library that hangs must not keep the process from ending.
            self._thread = threading.Thread(target=self._work, name="camera-calls", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            self._calls.get()()


class _Outcome(Generic[Result]):
    def __init__(self, call: Callable[[], Result]) -> None:
        self._call, self.done = call, threading.Event()
        self._results: list[Result] = []
        self._fault: Exception | None = None

    def make(self) -> None:
        try:
            self._results.append(self._call())
        except Exception as fault:  # noqa: BLE001 - raised again in the thread that waits
            self._fault = fault
        finally:
            self.done.set()

    def result(self) -> Result:
        if self._fault is not None:
            raise self._fault
        return self._results[0]
