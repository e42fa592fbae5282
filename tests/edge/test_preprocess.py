"""The one preprocessing: PIL's resampling, the right phase and colours, the right numbers."""

import numpy as np
import pytest
from PIL import Image

from edge.errors import FrameError
from edge.manifest import Preprocessing
from edge.messages import PixelFormat
from edge.preprocess import develop, input_tensor, normalise, resample

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def spec(size=32, roi=None):
    return Preprocessing(height_px=size, width_px=size, roi_px=roi, mean=MEAN, std=STD)


def noise(*shape):
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def bayer_of(rgb):
    """RGGB mosaic of an RGB image: what a BayerRG8 sensor delivers."""
    raw = rgb[:, :, 1].copy()
    raw[0::2, 0::2] = rgb[0::2, 0::2, 0]
    raw[1::2, 1::2] = rgb[1::2, 1::2, 2]
    return raw


def test_tensor_is_what_pil_and_the_formula_give():
    image = noise(50, 70, 3)
    resized = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC), np.float64)
    wanted = ((resized / 255 - MEAN) / STD).transpose(2, 0, 1)[None]
    found = input_tensor(image, PixelFormat.RGB8, spec())
    assert (found.shape, found.dtype) == ((1, 3, 32, 32), np.float32)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_shrinking_is_antialiased():
    # A one-pixel checkerboard: with antialiasing it becomes flat grey, without it keeps its contrast.
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    assert resample(board, (32, 32)).std() < 2


def test_grey_equals_the_same_picture_in_three_channels():
    grey = noise(48, 60)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(
        input_tensor(grey, PixelFormat.MONO8, spec()), input_tensor(colour, PixelFormat.RGB8, spec())
    )


@pytest.mark.parametrize(
    ("deep", "shallow"),
    [
        (PixelFormat.BAYER_RG12, PixelFormat.BAYER_RG8),
        (PixelFormat.MONO12, PixelFormat.MONO8),
    ],
)
def test_12_bits_give_the_8_bit_picture(deep, shallow):
    # A smooth picture, so that demosaicing before or after the rounding differs by less than a level.
    rows, columns = np.mgrid[0:40, 0:60]
    fine = (1000 + 30 * rows + 20 * columns).astype(np.uint16)
    found = develop(fine, deep, (4, 2, 30, 20))
    assert found.dtype == np.uint8
    wanted = develop(np.rint(fine * (255 / 4095)).astype(np.uint8), shallow, (4, 2, 30, 20))
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_12_bits_reach_from_black_to_white():
    image = np.array([[0, 4095], [8, 65535]], np.uint16)
    np.testing.assert_array_equal(develop(image, PixelFormat.MONO12), [[0, 255], [0, 255]])


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_bayer_colours_stay_in_their_channel(channel):
    rgb = np.zeros((16, 20, 3), np.uint8)
    rgb[:, :, channel] = 200
    found = develop(bayer_of(rgb), PixelFormat.BAYER_RG8)
    np.testing.assert_array_equal(found, rgb)


@pytest.mark.parametrize("roi", [(0, 0, 20, 16), (3, 5, 11, 8), (4, 6, 10, 10), (1, 0, 19, 16)])
def test_cutting_before_demosaicing_changes_nothing(roi):
    raw = noise(16, 20)
    x, y, width, height = roi
    whole = develop(raw, PixelFormat.BAYER_RG8)
    np.testing.assert_array_equal(
        develop(raw, PixelFormat.BAYER_RG8, roi), whole[y : y + height, x : x + width]
    )


def test_region_outside_the_frame_is_named():
    with pytest.raises(FrameError, match=r"\[10, 0, 20, 16\].*20 x 16"):
        develop(noise(16, 20), PixelFormat.MONO8, (10, 0, 20, 16))


@pytest.mark.parametrize(
    ("image", "pixel_format"),
    [
        (np.zeros((4, 4, 3), np.uint8), PixelFormat.MONO8),
        (np.zeros((4, 4), np.uint8), PixelFormat.RGB8),
        (np.zeros((4, 4, 4), np.uint8), PixelFormat.RGB8),
        (np.zeros((4, 4), np.uint16), PixelFormat.MONO8),
        (np.zeros((0, 4), np.uint8), PixelFormat.MONO8),
    ],
)
def test_a_wrong_layout_is_refused(image, pixel_format):
    with pytest.raises(FrameError):
        input_tensor(image, pixel_format, spec())


def test_normalise_covers_all_values():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = normalise(ramp, spec(16))[0, 1].ravel()
    np.testing.assert_allclose(found, (np.arange(256) / 255 - MEAN[1]) / STD[1], atol=1e-6)
