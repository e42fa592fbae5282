"""The fast resampler: against Pillow, against its definition, and a Bayer frame's colours in their places."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge.fast_resample import Axis, axis_weights, reducible, resample_bayer, resample_channels
from edge.manifest import Preprocessing
from edge.messages import PixelFormat
from edge.preprocess import input_tensor

TWO_LEVELS = 2.0


def noise(*shape):
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def smooth_scene(height, width):
    """A colourful picture without detail finer than a few pixels, as a lens leaves it."""
    return cv2.GaussianBlur(noise(height, width, 3), (0, 0), 4) // 2 + 64


def bayer_of(rgb):
    raw = rgb[:, :, 1].copy()
    raw[0::2, 0::2] = rgb[0::2, 0::2, 0]
    raw[1::2, 1::2] = rgb[1::2, 1::2, 2]
    return raw


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((540, 1024), (130, 130)),
        ((97, 60), (96, 96)),  # hardly any reduction
        ((40, 50), (64, 80)),  # enlarged
        ((1000, 48), (32, 32)),  # very different both ways
        ((33, 35), (32, 34)),
    ],
)
@pytest.mark.parametrize(
    ("kernel", "pillow"),
    [("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)],
)
def test_within_two_levels_of_pillow_even_on_noise(shape, size, kernel, pillow):
    image = noise(*shape, 3)
    wanted = np.asarray(Image.fromarray(image).resize(size[::-1], pillow), np.float64)
    found = resample_channels(image, size, kernel, 255)
    assert found.dtype == np.float32
    assert np.abs(found.transpose(1, 2, 0) - wanted).max() <= TWO_LEVELS


@given(
    inputs=st.integers(1, 60),
    outputs=st.integers(1, 40),
    pitch=st.sampled_from([1, 2]),
    kernel=st.sampled_from(["bicubic", "bilinear"]),
)
@settings(deadline=None)
def test_the_weights_of_every_output_sum_to_one(inputs, outputs, pitch, kernel):
    if pitch == 2 and inputs < outputs:
        return  # refused by `reducible`
    weights = axis_weights(Axis(inputs, outputs, pitch * inputs, 0.5, pitch), kernel)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_bayer_frame_gives_the_picture_that_it_is_of(corner):
    scene = smooth_scene(402, 602)
    y, x = corner
    raw = bayer_of(scene)[y : y + 400, x : x + 600]
    wanted = resample_channels(scene[y : y + 400, x : x + 600], (100, 100), "bicubic", 255)
    found = resample_bayer(raw, (y, x), (100, 100), "bicubic", 255)
    # The colour planes see the same scene at other places: equal up to what lies between two pixels.
    assert np.abs(found - wanted).max() < 1.5
    assert np.abs((found - wanted).mean(axis=(1, 2))).max() < 0.05  # no channel swapped or shifted as a whole


def test_no_colour_is_shifted_against_another():
    rows, columns = np.mgrid[0:200, 0:300].astype(np.float64)
    grey = 20 + 0.4 * rows + 0.3 * columns
    raw = np.rint(grey).astype(np.uint8)  # a grey ramp looks the same through every filter
    found = resample_bayer(raw, (0, 0), (50, 60), "bicubic", 255)[:, 4:-4, 4:-4]
    assert np.abs(found[0] - found[2]).max() < 0.3  # a shift of one raw pixel would be 0.7


def test_a_frame_that_is_hardly_reduced_is_demosaiced_first():
    assert reducible((200, 300), (100, 150))
    assert not reducible((200, 299), (100, 150))
    spec = Preprocessing(
        height_px=64, width_px=64, mean=(0, 0, 0), std=(1, 1, 1), interpolation="fast_bicubic_antialias"
    )
    scene = smooth_scene(100, 100)
    tensor = input_tensor(bayer_of(scene), PixelFormat.BAYER_RG8, spec)
    wanted = resample_channels(scene, (64, 64), "bicubic", 255) / 255
    assert np.abs(tensor[0] - wanted)[:, 3:-3, 3:-3].max() < 0.05


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    ("pixel_format", "image"),
    [
        (PixelFormat.RGB8, smooth_scene(300, 420)),
        (PixelFormat.MONO8, smooth_scene(300, 420)[:, :, 1]),
        (PixelFormat.BAYER_RG8, bayer_of(smooth_scene(300, 420))),
    ],
    ids=["RGB8", "Mono8", "BayerRG8"],
)
def test_the_tensor_is_that_of_pillow_within_two_levels(kernel, pixel_format, image):
    def tensor(interpolation, roi):
        spec = Preprocessing(
            height_px=70,
            width_px=64,
            roi_px=roi,
            mean=(0.5, 0.4, 0.3),
            std=(0.25, 0.25, 0.25),
            interpolation=interpolation,
        )
        return input_tensor(image, pixel_format, spec)

    for roi in (None, (31, 12, 300, 260)):
        difference = np.abs(tensor(f"fast_{kernel}_antialias", roi) - tensor(f"pil_{kernel}_antialias", roi))
        assert difference.shape == (1, 3, 70, 64)
        assert difference.max() <= TWO_LEVELS / 255 / 0.25


@pytest.mark.parametrize(
    ("deep", "shallow", "make"),
    [
        (PixelFormat.BAYER_RG12, PixelFormat.BAYER_RG8, bayer_of),
        (PixelFormat.MONO12, PixelFormat.MONO8, lambda scene: scene[:, :, 0]),
    ],
)
def test_12_bits_are_used_as_they_are(deep, shallow, make):
    fine = make(smooth_scene(240, 240)).astype(np.uint16) * 16
    spec = Preprocessing(
        height_px=48, width_px=48, mean=(0, 0, 0), std=(1, 1, 1), interpolation="fast_bicubic_antialias"
    )
    found = input_tensor(fine, deep, spec) * 4095 / 16
    wanted = input_tensor((fine // 16).astype(np.uint8), shallow, spec) * 255
    assert np.abs(found - wanted).max() < 1.0


def test_the_same_frame_gives_the_same_bits():
    raw = noise(200, 320)
    first = resample_bayer(raw, (0, 0), (50, 60), "bicubic", 255)
    np.testing.assert_array_equal(resample_bayer(raw, (0, 0), (50, 60), "bicubic", 255), first)


def test_clipped_like_pillow_where_the_kernel_overshoots():
    step = np.zeros((64, 64), np.uint8)
    step[:, 32:] = 255
    found = resample_channels(step, (20, 20), "bicubic", 255)
    assert found.min() == 0
    assert found.max() == 255
