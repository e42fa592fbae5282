"""Camera pointers and images."""

from .errors import error
from .nodes import Handle, NodeMap, typed


class CameraPtr(Handle):
    """A reference to a camera. Two pointers to one camera share its state."""

    def Init(self):
        self._same_plug()
        self._device.must_answer()
        if self._device.held_by_other:
            raise error("ACCESS_DENIED", "Could not open the camera: it is opened by another process")
        self._device.initialised = True

    def DeInit(self):
        if self._device.streaming:
            raise error("RESOURCE_IN_USE", "Can't de-initialize camera. Camera is still streaming")
        self._device.initialised = False

    def IsInitialized(self):
        return self._device.initialised and self._generation == self._device.generation

    def IsValid(self):
        if self._generation != self._device.generation:
            return False
        return self._device.connected or "valid" not in self._device.shows_unplug_by

    def IsStreaming(self):
        return self._device.streaming and self._generation == self._device.generation

    def BeginAcquisition(self):
        self._initialised()
        self._device.begin()

    def EndAcquisition(self):
        self._same_plug()
        self._device.end()

    def GetNextImage(self, timeout_ms=2**64 - 1, stream=0):
        if type(timeout_ms) is not int:
            raise TypeError("in method 'GetNextImage', argument 2 of type 'uint64_t'")
        self._same_plug()
        return ImagePtr(self._device.next_picture(timeout_ms), self._bus)

    def GetNumImagesInUse(self):
        count = self._device.get("StreamBufferCountManual", space="stream")
        return count - len(self._device.pool) - len(self._device.queue)

    def GetUniqueID(self):
        return f"USB\\VID_1E10\\{self._device.serial}"

    def GetNodeMap(self):
        self._initialised()
        return NodeMap(self._device, self._bus, "device")

    def GetTLDeviceNodeMap(self):
        return NodeMap(self._device, self._bus, "transport")

    def GetTLStreamNodeMap(self):
        self._initialised()
        return NodeMap(self._device, self._bus, "stream")

    @property
    def TLDevice(self):
        return Space(self._device, self._bus, "transport")

    @property
    def TLStream(self):
        return Space(self._device, self._bus, "stream")

    def __getattr__(self, name):
        if name.startswith("_") or name not in self._device.features["device"]:
            raise AttributeError(name)
        self._initialised()
        return typed(self._device, self._bus, "device", name)

    def _initialised(self):
        self._same_plug()
        self._device.may_be_read()
        if not self._device.initialised:
            raise error("NOT_INITIALIZED", "The camera is not initialized")


class Space(Handle):
    """Attribute access to the nodes of one map."""

    def __init__(self, device, bus, space):
        super().__init__(device, bus)
        self._space = space

    def __getattr__(self, name):
        if name.startswith("_") or name not in self._device.features[self._space]:
            raise AttributeError(name)
        return typed(self._device, self._bus, self._space, name)


class ImagePtr(Handle):
    """An image in a buffer of the driver."""

    def __init__(self, picture, bus):
        super().__init__(picture.device, bus)
        self._picture, self._released = picture, False

    def Release(self):
        self._alive()
        self._released = True
        self._picture.release()

    def IsIncomplete(self):
        return self._alive().status != 0

    def GetImageStatus(self):
        return self._alive().status

    def GetFrameID(self):
        return self._alive().frame_id

    def GetTimeStamp(self):
        return self._alive().stamp_ns

    def GetWidth(self):
        return self._alive().width

    def GetHeight(self):
        return self._alive().height

    def GetPixelFormatName(self):
        return self._alive().format

    def GetData(self):
        """Flat, over the whole buffer, which it aliases."""
        return self._alive().buffer

    def GetNDArray(self):
        """Shaped, aliasing the buffer."""
        picture = self._alive()
        if picture.format.endswith("12p"):
            raise error("NOT_IMPLEMENTED", "A packed format has no shaped array")
        shape = (picture.height, picture.width) + ((3,) if picture.format.startswith("RGB8") else ())
        return picture.buffer[: picture.size].reshape(shape)

    def GetChunkData(self):
        return ChunkData(self._alive().chunks)

    def _alive(self):
        if self._released:
            raise error("INVALID_BUFFER", "The image was released")
        return self._picture


class ChunkData:
    """Chunk values; one that was not enabled does not exist in the picture."""

    def __init__(self, chunks):
        self._chunks = chunks

    def __getattr__(self, name):
        if not name.startswith("Get"):
            raise AttributeError(name)
        return lambda: self._value(name.removeprefix("Get"))

    def _value(self, name):
        if name not in self._chunks:
            raise error("NO_DATA", f"The image has no chunk {name}")
        return self._chunks[name]
