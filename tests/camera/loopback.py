"""The loopback camera's process, held by a test or a measurement."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent


def missing():
    """Why there can be no loopback camera here, or None."""
    from edge.camera.aravis_library import load_aravis
    from edge.errors import OpenError

    if sys.platform != "linux":
        return "the loopback camera needs Linux"
    try:
        load_aravis()
        ctypes.CDLL("libaravis-0.8.so.0")
    except OpenError as fault:
        return str(fault)
    except OSError as fault:
        return f"Aravis is missing: {fault}"
    return None


class LoopbackCamera:
    """A running GigE Vision camera; see `gige_server.py` for its commands and options.

    Its serial number is the process's own, unless another one is asked for: several test runs share the wire.
    """

    def __init__(self, serial=None, **options):
        self.serial = serial = serial or f"LOOP-{os.getpid()}"
        arguments = [f"{name}={json.dumps(value)}" for name, value in options.items()]
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "gige_server.py"), serial, *arguments],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ready = self._process.stdout.readline()
        if not ready:
            raise RuntimeError(f"the loopback camera did not start, exit code {self._process.wait()}")

    def do(self, command, **arguments):
        """Give a command and wait for its answer."""
        self.send(command, **arguments)
        return self.answer()

    def send(self, command, **arguments):
        """Give a command without waiting."""
        self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self._process.stdin.flush()

    def answer(self):
        """The answer to the oldest command not answered yet."""
        return json.loads(self._process.stdout.readline())

    def freeze(self):
        """Let it stand still, as a camera does whose firmware hangs."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self):
        """End it at once, as when the cable is pulled."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()
