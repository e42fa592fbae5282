"""One of the SDK's images as a `Grabbed`: its pixels copied once, its chunk data read.

The SDK's arrays lie in the driver's buffer, which is used again as soon as the image is released.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.camera.driver import Grabbed
from edge.camera.packed_12p import unpack_12p
from edge.camera.spinnaker_errors import code_of, text_of
from edge.camera.trigger_edges import EdgeCount
from edge.messages import PixelFormat, RawImage

LOG = logging.getLogger("adclip.camera.spinnaker")

FORMATS = {
    "BayerRG8": PixelFormat.BAYER_RG8,
    "Mono8": PixelFormat.MONO8,
    "RGB8": PixelFormat.RGB8,
    "BayerRG12p": PixelFormat.BAYER_RG12,
    "Mono12p": PixelFormat.MONO12,
}


UNREADABLE_CHUNKS = (-1008, -1018)
"""No data; parsing the chunk data failed."""


@dataclass(frozen=True, slots=True)
class _Chunks:
    frame_id: int
    device_ns: int
    exposure_us: float
    gain_db: float
    line_status: int | None
    edges: int | None


class PictureReader:
    """Reads images of one opened camera.

    `chunks` are the chunks that the camera sends. `exposure_us` and `gain_db` are as read back at the opening,
    for pictures whose chunks did not arrive.
    """

    def __init__(
        self,
        pyspin: Any,
        pixel_format: str,
        chunks: frozenset[str],
        *,
        exposure_us: float,
        gain_db: float,
        edges: EdgeCount | None,
    ) -> None:
        self._describe = pyspin.Image.GetImageStatusDescription
        self._vendor_error = pyspin.SpinnakerException
        self._format, self._chunks, self._edges = pixel_format, chunks, edges
        self._exposure_us, self._gain_db = exposure_us, gain_db
        self._id_offset: int | None = None
        self._told: set[str] = set()
        self.line_status: int | None = None

    def restart(self) -> None:
        """The camera begins to number its pictures anew."""
        self._id_offset = None

    def read(self, image: Any) -> Grabbed:
        """The picture. An incomplete one comes without pixels: what did not arrive is of a picture before.

        `line_status` is then the levels of the camera's lines at the end of the exposure, line 0 in bit 0.
        """
        if image.IsIncomplete():
            self._tell_once(str(self._describe(image.GetImageStatus())))
            return self._without_pixels(image)
        chunks = self._read_chunks(image)
        if chunks is None:
            return self._without_pixels(image)
        if not self._belongs(image, chunks):
            self._tell_once("the frame id in the chunk data is not the picture's own")
            return self._without_pixels(image)
        self.line_status = chunks.line_status
        return Grabbed(
            frame_id=int(image.GetFrameID()),
            device_ns=chunks.device_ns,
            image=self._pixels(image),
            pixel_format=FORMATS[self._format],
            complete=True,
            exposure_us=chunks.exposure_us,
            gain_db=chunks.gain_db,
            trigger_count=chunks.edges,
        )

    def _read_chunks(self, image: Any) -> _Chunks | None:
        """None when they did not arrive whole."""
        try:
            chunk = image.GetChunkData()
            return _Chunks(
                frame_id=int(chunk.GetFrameID()),
                device_ns=int(chunk.GetTimestamp()),
                exposure_us=float(chunk.GetExposureTime()),
                gain_db=float(chunk.GetGain()),
                line_status=self._line_status(chunk),
                edges=self._count(chunk),
            )
        except self._vendor_error as fault:
            if code_of(fault) not in UNREADABLE_CHUNKS:
                raise
            self._tell_once(text_of(fault))
            return None

    def _without_pixels(self, image: Any) -> Grabbed:
        return Grabbed(
            frame_id=int(image.GetFrameID()),
            device_ns=int(image.GetTimeStamp()),
            image=None,
            pixel_format=FORMATS[self._format],
            complete=False,
            exposure_us=self._exposure_us,
            gain_db=self._gain_db,
        )

    def _belongs(self, image: Any, chunks: _Chunks) -> bool:
        """Whether the chunk data are of this picture: both count frames, from wherever each of them begins.

        Where they part, this picture and the next are in doubt, for either of them may be the torn one.
        """
        offset = chunks.frame_id - int(image.GetFrameID())
        before, self._id_offset = self._id_offset, offset
        return before is None or offset == before

    def _pixels(self, image: Any) -> RawImage:
        if self._format.endswith("12p"):
            pixels: RawImage = unpack_12p(image.GetData(), image.GetHeight(), image.GetWidth())
        else:
            pixels = np.array(image.GetNDArray(), np.uint8)
        pixels.flags.writeable = False
        return pixels

    def _line_status(self, chunk: Any) -> int | None:
        enabled = "ExposureEndLineStatusAll" in self._chunks
        return int(chunk.GetExposureEndLineStatusAll()) if enabled else None

    def _count(self, chunk: Any) -> int | None:
        if self._edges is None or "CounterValue" not in self._chunks:
            return None
        return self._edges.unwrap(int(chunk.GetCounterValue()))

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            LOG.warning("a picture came incomplete: %s (told once)", text)
