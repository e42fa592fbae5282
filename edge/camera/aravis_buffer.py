"""A picture out of a buffer of Aravis: looked at in place, copied once.

Introspection hands a buffer's memory over as a new `bytes` object, one copy too many at 370 MB/s. So the address
is taken from the library itself; the view lives only while the buffer is ours.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.camera.packed_12p import unpack_12p
from edge.messages import PixelFormat, RawImage

LIBRARY = "libaravis-0.8.so.0"

FORMATS = {
    0x01080009: PixelFormat.BAYER_RG8,
    0x01080001: PixelFormat.MONO8,
    0x02180014: PixelFormat.RGB8,
    0x010C0059: PixelFormat.BAYER_RG12,
    0x010C0047: PixelFormat.MONO12,
}
"""By the numbers of the pixel format naming convention."""

_BITS = {PixelFormat.RGB8: 24, PixelFormat.BAYER_RG12: 12, PixelFormat.MONO12: 12}


class BufferMemory:
    """Reads the picture out of buffers."""

    def __init__(self) -> None:
        self._image_data = ctypes.CDLL(LIBRARY).arv_buffer_get_image_data
        self._image_data.restype = ctypes.c_void_p
        self._image_data.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)]
        self._pointer = ctypes.pythonapi.PyCapsule_GetPointer
        self._pointer.restype = ctypes.c_void_p
        self._pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]

    def picture(self, buffer: Any) -> tuple[RawImage, PixelFormat] | None:
        """The whole picture's own copy, read-only, as its format says; None for what is no picture of ours."""
        width, height = buffer.get_image_width(), buffer.get_image_height()
        pixel_format = FORMATS.get(buffer.get_image_pixel_format())
        if pixel_format is None or width <= 0 or height <= 0:
            return None
        view = self._view(buffer, width * height * _BITS.get(pixel_format, 8) // 8)
        if view is None:
            return None
        image = _laid_out(view, width, height, pixel_format)
        image.flags.writeable = False
        return image, pixel_format

    def _view(self, buffer: Any, size: int) -> NDArray[np.uint8] | None:
        available = ctypes.c_size_t()
        address = self._image_data(self._pointer(buffer.__gpointer__, None), ctypes.byref(available))
        if not address or available.value < size:
            return None
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


def _laid_out(view: NDArray[np.uint8], width: int, height: int, pixel_format: PixelFormat) -> RawImage:
    if _BITS.get(pixel_format) == 12:
        return unpack_12p(view, height, width)
    shape = (height, width, 3) if pixel_format is PixelFormat.RGB8 else (height, width)
    return view.reshape(shape).copy()
