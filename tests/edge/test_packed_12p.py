"""Packed 12-bit pixels against their definition, bit by bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.camera.packed_12p import packed_size, unpack_12p
from edge.errors import OperateError


def packed(pixels):
    """Each pixel's twelve bits, least significant first, one after the other."""
    bits = "".join(f"{pixel:012b}"[::-1] for pixel in pixels.reshape(-1))
    bits += "0" * (-len(bits) % 8)
    return np.array([int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8)], np.uint8)


def test_two_pixels_in_three_bytes():
    assert unpack_12p(np.array([0xBC, 0x3A, 0x12], np.uint8), 1, 2).tolist() == [[0xABC, 0x123]]


@given(
    arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4095)),
    st.integers(0, 5),
)
def test_every_pixel_comes_back(pixels, trailing):
    content = np.concatenate([packed(pixels), np.full(trailing, 0xFF, np.uint8)])
    unpacked = unpack_12p(content, *pixels.shape)
    assert unpacked.dtype == np.uint16
    assert np.array_equal(unpacked, pixels)


@given(st.integers(1, 40), st.integers(1, 40))
def test_the_size_is_that_of_the_bits(height, width):
    assert packed_size(height, width) == len(packed(np.zeros((height, width), np.uint16)))


def test_the_pixels_are_a_copy():
    content = np.array([0xBC, 0x3A, 0x12], np.uint8)
    pixels = unpack_12p(content, 1, 2)
    content[:] = 0
    assert pixels.tolist() == [[0xABC, 0x123]]


def test_too_few_bytes_are_refused():
    with pytest.raises(OperateError, match="takes 6 bytes, and 5 came"):
        unpack_12p(np.zeros(5, np.uint8), 2, 2)
