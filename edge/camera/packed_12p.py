"""GenICam's packed 12-bit pixels (Mono12p, BayerRG12p) as 16-bit ones.

Two pixels lie in three bytes, least significant bits first (GenICam PFNC, "p" packing):

    byte      0            1                 2
    bits   7 ─── 0    7 ── 4 │ 3 ── 0     7 ─── 0
           p0[7:0]    p1[3:0] p0[11:8]    p1[11:4]

Pixels run on from line to line without padding; an odd last pixel ends in half a byte.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.errors import OperateError


def packed_size(height: int, width: int) -> int:
    """Bytes that a packed picture of this size takes."""
    return (height * width * 12 + 7) // 8


def unpack_12p(packed: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint16]:
    """(height, width) uint16 of 0 to 4095, a new array, from the first bytes of flat uint8 `packed`.

    Bytes after the pixels (chunk data, padding) are left out. Raises `OperateError` when there are too few.
    """
    size = packed_size(height, width)
    if packed.size < size:
        raise OperateError(
            f"A 12-bit picture of {width} x {height} px takes {size} bytes, and {packed.size} came.",
            do="Check the camera's link; the next picture may be whole.",
        )
    pixels = np.empty(height * width, np.uint16)
    first, second = packed[0:size:3], packed[1:size:3]
    low, high = pixels[0::2], pixels[1::2]
    np.bitwise_and(second, 0x0F, out=low)
    np.left_shift(low, 8, out=low)
    np.bitwise_or(low, first, out=low)
    np.left_shift(packed[2:size:3], 4, out=high, dtype=np.uint16)
    np.bitwise_or(high, second[: high.size] >> 4, out=high)
    return pixels.reshape(height, width)
