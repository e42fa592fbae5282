"""Which reports concern which TensorRT."""

import re

import pytest

from export.engine.known_bugs import BUGS, known_bugs, next_steps


@pytest.mark.parametrize(
    ("tensorrt", "compute_capability", "issue", "concerned"),
    [
        ("10.3.0", "8.7", "#4723", True),
        ("10.3.0.30", "8.7", "#4723", True),
        ("10.3.0", "8.9", "#4723", True),
        ("10.30.0", "8.7", "#4723", False),  # not a prefix of the digits
        ("10.16.2", "8.7", "#4723", False),
        ("10.13.3", "8.7", "isaac-ros-cli#22", True),
        ("10.13.3", "8.9", "isaac-ros-cli#22", False),
        ("10.13.2", "8.7", "isaac-ros-cli#22", False),
        ("10.16.1.11", "12.0", "#4837", True),
        ("10.16.1.11", "8.7", "#4837", False),
    ],
)
def test_a_report_concerns_its_versions_and_gpus(tensorrt, compute_capability, issue, concerned):
    assert (issue in {bug.issue for bug in known_bugs(tensorrt, compute_capability)}) == concerned


def test_every_report_has_a_number():
    assert all(re.search(r"#\d+", bug.issue) for bug in BUGS)


def test_next_steps_suit_the_precision():
    assert any("softmax in FP32" in step for step in next_steps("fp16"))
    assert not any("softmax in FP32" in step for step in next_steps("fp32"))
