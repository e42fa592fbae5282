"""The simulated line as a camera: paced by its clock, and it knows what is true."""

import threading

import numpy as np
import pytest

from edge.camera.scene import PRODUCTS, Line
from edge.camera.synthetic import READOUT_NS, SyntheticCamera
from edge.camera_config import SyntheticCameraConfig
from edge.errors import ConfigError


def opened(clock, on_trigger=lambda trigger: None, **changes):
    content = {"backend": "synthetic", "width_px": 512, "height_px": 512, "parts": 4, "defect_share": 0.5}
    return SyntheticCamera(SyntheticCameraConfig(**content | changes), on_trigger, clock)


def test_parts_come_at_the_rate_and_frames_after_the_readout(stepped_clock):
    triggers = []
    camera = opened(stepped_clock, triggers.append, rate_per_min=120)
    frames = list(camera.frames(threading.Event()))
    assert [trigger.part_id for trigger in triggers] == [frame.part_id for frame in frames] == [1, 2, 3, 4]
    gaps = np.diff([trigger.triggered_ns for trigger in triggers])
    assert gaps.tolist() == [500_000_000] * 3
    assert all(frame.captured_ns - frame.triggered_ns == READOUT_NS for frame in frames)


def test_truth_is_that_of_the_rendered_part(stepped_clock):
    camera = opened(stepped_clock, seed=3)
    frames = list(camera.frames(threading.Event()))
    line = Line(PRODUCTS["turned-ring"], seed=3, defect_share=0.5, width=512, height=512)
    kinds = []
    for frame in frames:
        part, truth = line.part(frame.part_id), camera.truth(frame.part_id)
        np.testing.assert_array_equal(frame.image, part.image)
        kinds.append(part.defect)
        if part.defect is None:
            assert truth is None
        else:
            assert truth[0] is part.defect
            np.testing.assert_array_equal(truth[1], part.mask)
    assert None in kinds
    assert len(set(kinds)) > 1


def test_a_part_that_never_came_has_no_truth(stepped_clock):
    with pytest.raises(KeyError):
        opened(stepped_clock).truth(1)


def test_an_unknown_product_is_named_with_those_there_are(stepped_clock):
    with pytest.raises(ConfigError, match=r"no product 'banana'.*turned-ring"):
        opened(stepped_clock, product="banana")
