import numpy as np
import pytest

from calibration.camera.raw_levels import colour_means, green_plane, levels_of
from edge.messages import PixelFormat


def test_quantiles_lie_where_the_values_are():
    image = np.arange(256, dtype=np.uint8).repeat(100).reshape(160, 160)
    levels = levels_of([image], PixelFormat.MONO8)
    assert levels.bright * 255 == pytest.approx(0.995 * 256 - 0.5, abs=1)
    assert levels.dark * 255 == pytest.approx(0.0, abs=1)
    assert levels.mean * 255 == pytest.approx(127.5)
    assert levels.saturated == pytest.approx(1 / 256)


def test_the_area_alone_counts_and_pictures_of_12_bits_have_their_own_full_scale():
    image = np.full((20, 30), 4095, np.uint16)
    image[5:10, 10:20] = 2000
    inside = levels_of([image], PixelFormat.MONO12, (10, 5, 10, 5))
    assert inside.saturated == 0
    assert inside.bright == pytest.approx(2000 / 4095, abs=1e-3)
    assert levels_of([image], PixelFormat.MONO12).saturated == pytest.approx(1 - 50 / 600)


def test_unsteady_is_the_difference_between_pictures():
    pictures = [np.full((8, 8), value, np.uint8) for value in (95, 100, 105)]
    assert levels_of(pictures, PixelFormat.MONO8).unsteady == pytest.approx(0.1)
    assert levels_of(pictures[:1], PixelFormat.MONO8).unsteady == 0


def test_black_pictures_have_a_level_of_nothing():
    levels = levels_of([np.zeros((8, 8), np.uint8)], PixelFormat.MONO8)
    assert (levels.dark, levels.mean, levels.unsteady) == (0, 0, 0)
    assert levels.bright < 1 / 255


@pytest.mark.parametrize("area", [(0, 0, 8, 8), (1, 1, 7, 7), (2, 3, 4, 5)])
def test_colours_are_told_apart_whatever_the_phase_of_the_area(area):
    raw = np.zeros((8, 8), np.uint8)
    raw[0::2, 0::2], raw[0::2, 1::2], raw[1::2, 0::2], raw[1::2, 1::2] = 10, 20, 22, 30
    assert colour_means(raw, PixelFormat.BAYER_RG8, area) == (10, 21, 30)
    assert green_plane(raw, PixelFormat.BAYER_RG8)[0].tolist() == [[20] * 4] * 4


def test_an_rgb_picture_has_its_colours_in_order():
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[..., 0], rgb[..., 1], rgb[..., 2] = 1, 2, 3
    assert colour_means(rgb, PixelFormat.RGB8, (0, 0, 4, 4)) == (1, 2, 3)
    assert green_plane(rgb, PixelFormat.RGB8)[0].mean() == 2
