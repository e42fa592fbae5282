"""Dead pixels, flat field and lens, each against the truth it was made from."""

import cv2
import numpy as np
import pytest

from edge.correction import Correction, LensMap
from edge.errors import FrameError
from edge.manifest import Preprocessing
from edge.messages import PixelFormat
from edge.preprocess import develop, input_tensor

HEIGHT, WIDTH = 60, 80
ID = "c" * 64


def correction(offset=0.0, gain=1.0, dead=(), step=2, lens=None):
    shape = (HEIGHT, WIDTH)
    return Correction(
        ID,
        np.broadcast_to(np.float32(offset), shape).astype(np.float32),
        np.broadcast_to(np.asarray(gain, np.float32), shape).astype(np.float32),
        np.array(dead, np.intp).reshape(-1, 2),
        step,
        lens,
    )


def falling_off():
    """A field that is darker towards the corners, as a lens makes it."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return 1 - 0.5 * ((rows / HEIGHT - 0.5) ** 2 + (columns / WIDTH - 0.5) ** 2)


def test_a_flat_field_becomes_flat():
    field, dark = falling_off(), 6.0
    raw = np.rint(dark + 180 * field).astype(np.uint8)
    found = correction(dark, 1 / field).levelled(raw, (0, 0, WIDTH, HEIGHT))
    assert raw.std() > 8
    assert found.dtype == np.uint8
    assert np.abs(found.astype(float) - 180).max() <= 1.5  # the frame itself is rounded to whole levels


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 4095)])
def test_nothing_leaves_the_range_of_the_frame(dtype, top):
    raw = np.full((HEIGHT, WIDTH), top, dtype)
    raw[:10] = 0
    found = correction(3.0, 1.8).levelled(raw, (0, 0, WIDTH, HEIGHT))
    assert found.dtype == dtype
    assert found.min() == 0
    assert found.max() == top


def test_a_box_is_levelled_as_the_whole_frame_is():
    raw = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    fix = correction(4.0, 1 / falling_off(), dead=[(20, 30)])
    whole = fix.levelled(raw, (0, 0, WIDTH, HEIGHT))
    np.testing.assert_array_equal(fix.levelled(raw, (10, 12, 33, 21)), whole[12:33, 10:43])


@pytest.mark.parametrize("place", [(20, 30), (0, 0), (1, 79), (59, 78), (58, 1)])
def test_a_dead_pixel_takes_its_colour_from_around_it(place):
    scene = np.zeros((HEIGHT, WIDTH), np.uint8)
    for row, column, level in ((0, 0, 200), (0, 1, 120), (1, 0, 118), (1, 1, 60)):
        scene[row::2, column::2] = level
    raw = scene.copy()
    raw[place] = 255
    found = correction(dead=[place]).levelled(raw, (0, 0, WIDTH, HEIGHT))
    np.testing.assert_array_equal(found, scene)


def test_two_dead_pixels_beside_each_other():
    raw = np.full((HEIGHT, WIDTH), 90, np.uint8)
    raw[20, 30] = raw[20, 32] = 255
    found = correction(dead=[(20, 30), (20, 32)]).levelled(raw, (0, 0, WIDTH, HEIGHT))
    assert (found == 90).all()


def test_the_frame_itself_is_not_touched():
    raw = np.full((HEIGHT, WIDTH), 90, np.uint8)
    raw.flags.writeable = False
    correction(1.0, 1.1, dead=[(3, 3)]).levelled(raw, (0, 0, WIDTH, HEIGHT))
    assert (raw == 90).all()


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH + 2), (HEIGHT, WIDTH, 3)])
def test_a_frame_of_another_size_is_refused(shape):
    with pytest.raises(FrameError, match="camera calibration is for 80 x 60 px"):
        correction().levelled(np.zeros(shape, np.uint8), (0, 0, WIDTH, HEIGHT))


def test_the_lens_map_puts_straight_what_was_bent():
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    straight = np.rint(40 + 2 * columns).astype(np.uint8)
    bent_x = columns + 2 * np.sin(rows / 9).astype(np.float32)
    bent = cv2.remap(straight, bent_x, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    back = LensMap(columns - 2 * np.sin(rows / 9).astype(np.float32), rows)
    box = (8, 5, 60, 50)
    found = develop(bent, PixelFormat.MONO8, box, correction(step=1, lens=back))
    wanted = straight[5:55, 8:68]
    assert np.abs(found.astype(int) - wanted).max() <= 1
    assert np.abs(bent[5:55, 8:68].astype(int) - wanted).max() > 2


@pytest.mark.parametrize("interpolation", ["pil_bicubic_antialias", "fast_bicubic_antialias"])
def test_both_resamplers_see_the_same_corrected_frame(interpolation):
    field = falling_off()
    raw = np.rint(200 * field).astype(np.uint8)
    spec = Preprocessing(
        height_px=16,
        width_px=16,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        interpolation=interpolation,
        correction_id=ID,
    )
    tensor = input_tensor(raw, PixelFormat.BAYER_RG8, spec, correction(0, 1 / field))
    assert np.abs(tensor * 255 - 200).max() < 1.5


def test_a_correction_that_the_preprocessing_does_not_name_is_refused():
    spec = Preprocessing(height_px=16, width_px=16, mean=(0, 0, 0), std=(1, 1, 1))
    raw = np.zeros((HEIGHT, WIDTH), np.uint8)
    with pytest.raises(FrameError, match="another camera calibration"):
        input_tensor(raw, PixelFormat.MONO8, spec, correction())
    named = spec.model_copy(update={"correction_id": "d" * 64})
    for fix in (None, correction()):
        with pytest.raises(FrameError, match="another camera calibration"):
            input_tensor(raw, PixelFormat.MONO8, named, fix)
