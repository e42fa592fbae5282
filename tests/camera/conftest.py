"""A GigE Vision camera of our own on the loopback interface, and a line that looks through it."""

import importlib.util
import os
import threading
import time
from pathlib import Path

import pytest

from edge.camera import open_camera
from edge.camera_config import AravisCameraConfig
from edge.clock import MonotonicClock
from edge.config import StationConfig
from edge.decide import Thresholds, fault_verdict
from edge.errors import EdgeError
from edge.health import Alarms
from edge.messages import FrameStatus, Outcome, Reason, Verdict
from edge.outputs.recorder import RecorderOutputs
from edge.pipeline import Pipeline


def _load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


loopback = _load("loopback")


@pytest.fixture
def start_camera():
    """Starts loopback cameras, and ends them with the test."""
    reason = loopback.missing()
    if reason:
        pytest.skip(reason)
    cameras = []

    def start(**options):
        cameras.append(loopback.LoopbackCamera(**options))
        return cameras[-1]

    yield start
    for camera in cameras:
        camera.kill()


@pytest.fixture
def camera_config():
    """Makes camera settings for the loopback camera."""

    def make(serial=None, **changes):
        content = {
            "backend": "aravis",
            "serial": serial or f"LOOP-{os.getpid()}",
            "exposure_us": 400.0,
            "packet_size": 65000,
            "trigger": {"mode": "hardware"},
            "frame_timeout_ms": 400,
            "reconnect": {"first_ms": 200, "longest_ms": 500},
        }
        return AravisCameraConfig.model_validate(content | changes)

    return make


class Line:
    """Takes frames in a thread of its own, as the capture thread of the line does."""

    def __init__(self, config):
        self.triggers, self.frames, self.fault = [], [], None
        self.camera = open_camera(config, self.triggers.append, MonotonicClock())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)

    def start(self):
        self._thread.start()
        self.wait(lambda: self.camera.health() and self.camera.health().temperature_c, 5)
        return self

    def wait(self, condition, seconds=10):
        """Wait until it is so; False when it did not come to that in time."""
        for _ in range(round(seconds / 0.01)):
            if condition():
                return True
            time.sleep(0.01)
        return False

    def stop(self):
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(10)
            assert not self._thread.is_alive()
        self.camera.close()

    def _take(self):
        try:
            for frame in self.camera.frames(self._stop):
                self.frames.append(frame)
        except EdgeError as fault:
            self.fault = fault


@pytest.fixture
def open_line():
    """Opens lines, and stops them with the test."""
    lines = []

    def make(config):
        lines.append(Line(config))
        return lines[-1]

    yield make
    for line in lines:
        line.stop()
        assert line.fault is None


class PassingJudge:
    """Passes every whole picture, and is as quick as a judge can be."""

    thresholds = Thresholds(score=0.5)
    bundle_id = "b"

    def judge(self, frame):
        if frame.status is not FrameStatus.OK:
            return self.fault(frame, Reason.INCOMPLETE_FRAME), None
        return Verdict(frame.part_id, Outcome.PASS, (), (), 0.1, 0.5), None

    def fault(self, frame, reason):
        return fault_verdict(frame.part_id, reason, self.thresholds)


class LineRun:
    """The whole line, from the wire to the recorded outputs, in a thread of its own."""

    def __init__(self, camera_config):
        config = StationConfig.model_validate(
            {
                "station": "test",
                "bundle": "bundle",
                "camera": camera_config,
                "decision": {"score": 0.5},
                "gate": {"travel_ms": 1500, "pulse_ms": 10, "decision_lead_ms": 5},
                "outputs": {
                    "backend": "recorder",
                    "lines": {"reject": {"start": False, "stop": False, "crash": True, "stall": True}},
                },
                "records": {"directory": "records"},
                "limits": {"queue_frames": 16},
            }
        )
        clock = MonotonicClock()
        self.parts, self._stop = [], threading.Event()
        self._pipeline = Pipeline(
            config,
            lambda on_trigger, beating: open_camera(config.camera, on_trigger, beating),
            PassingJudge(),
            RecorderOutputs(config.outputs, clock),
            (self,),
            Alarms(),
            clock,
        )
        self._thread = threading.Thread(target=lambda: self._pipeline.run(self._stop, lambda: None))
        self._thread.start()
        time.sleep(0.5)

    def finish(self, after_triggers):
        """The counts, when so many triggers have come and all parts have left the line."""
        for _ in range(500):
            if self._pipeline.counts().triggers >= after_triggers:
                break
            time.sleep(0.01)
        self.close()
        return self._pipeline.counts()

    def close(self):
        self._stop.set()
        self._thread.join(20)
        self._pipeline.camera.close()

    def decided(self, frame, inspection, verdict):
        pass

    def settled(self, settled):
        self.parts.append(settled)


@pytest.fixture
def line_run():
    """Starts whole lines, and stops them with the test."""
    runs = []

    def make(config):
        runs.append(LineRun(config))
        return runs[-1]

    yield make
    for run in runs:
        run.close()
