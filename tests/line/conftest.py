"""Whole programs: a station file in, an exit code, records and line levels out."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BUNDLE = REPOSITORY / "models" / "demo"
ADCLIP = [sys.executable, "-m", "edge.cli"]


class Station:
    """A station file with its own folder, and the program that runs it."""

    def __init__(self, folder):
        self.bundle, self.camera = BUNDLE, {}
        self.folder, self.file = folder, folder / "station.yaml"
        self.records, self.lines, self.status = (
            folder / "records",
            folder / "lines.csv",
            folder / "status.json",
        )

    def write(self, camera, **changes):
        self.camera = camera
        content = {
            "station": "test",
            "bundle": str(BUNDLE),
            "runner": {"backend": "onnxruntime", "threads": 1},
            "camera": camera,
            "decision": {"score": 0.5},
            "gate": {"travel_ms": 1500, "pulse_ms": 10},
            "outputs": {
                "backend": "recorder",
                "file": str(self.lines),
                "lines": {"reject": {"start": False, "stop": False, "crash": True, "stall": True}},
            },
            "records": {"directory": str(self.records), "keep_frames": "all"},
            "status_file": str(self.status),
        }
        self.file.write_text(yaml.safe_dump(content | changes))
        return self

    def start(self):
        return subprocess.Popen(
            [*ADCLIP, "run", "--config", str(self.file)],
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def wait_for_verdicts(self, process, count, seconds=30):
        """Until the status snapshot counts that many verdicts; the program's own progress, not a guess."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            if self.status.exists() and json.loads(self.status.read_text())["counts"]["verdicts"] >= count:
                return
            time.sleep(0.05)
        pytest.fail(f"no {count} verdicts within {seconds} s")

    def levels(self):
        """Levels written to the reject line, in order."""
        return [row.split(",")[2] == "1" for row in self.lines.read_text().splitlines()[1:]]


@pytest.fixture
def station(tmp_path):
    return Station(tmp_path)


@pytest.fixture
def pictures(tmp_path):
    """Eight small pictures of different size and mode."""
    folder, rng = tmp_path / "pictures", np.random.default_rng(5)
    folder.mkdir()
    for number in range(1, 9):
        shape = (60 + number, 80) if number % 2 else (60 + number, 80, 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"part_{number}.png")
    return folder


@pytest.fixture
def adclip():
    """Run `adclip` to its end: (exit code, stdout, stderr)."""

    def run(*arguments, seconds=110, **environment):
        done = subprocess.run(
            [*ADCLIP, *map(str, arguments)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run
