"""The names of the module, its one system object, and the bus that its cameras are on."""

import weakref
from functools import partial
from types import SimpleNamespace

from .blackfly import in_foreign_thread
from .camera import CameraPtr
from .errors import CODES, SpinnakerException, error
from .features import DEVICE, STREAM, TRANSPORT
from .nodes import ACCESS, INTERFACES, POINTERS, cast

VERSION = (4, 2, 0, 46)
STATUS_TEXTS = {
    -1: "Unknown error",
    0: "No error",
    1: "CRC check failed",
    2: "Data overflow",
    3: "Missing packets",
    9: "Data incomplete",
}


class Bus:
    """The cameras, what programs hold of them, and who is told of arrivals."""

    def __init__(self, devices):
        self.devices, self.handles, self.lists = list(devices), weakref.WeakSet(), weakref.WeakSet()
        self.handlers, self.references = [], 0
        for device in devices:
            device.bus = self

    def tell(self, name, device):
        for handler in list(self.handlers):
            in_foreign_thread(lambda handler=handler: getattr(handler, name)(CameraPtr(device, self)))

    def held(self):
        """What lives of the cameras, as text for the error."""
        return sorted({type(handle).__name__ for handle in self.handles})


class System:
    """The system object; one for the process, counted by reference."""

    def __init__(self, bus):
        self._bus = bus

    def GetLibraryVersion(self):
        return SimpleNamespace(**dict(zip(("major", "minor", "type", "build"), VERSION, strict=True)))

    def GetCameras(self):
        return CameraList(self._bus)

    def IsInUse(self):
        return bool(self._bus.handles)

    def RegisterEventHandler(self, handler):
        if not getattr(handler, "_made", False):
            raise error("INVALID_PARAMETER", "The handler's base class was not initialised")
        self._bus.handlers.append(handler)

    def UnregisterEventHandler(self, handler):
        if handler not in self._bus.handlers:
            raise error("INVALID_PARAMETER", "The handler is not registered")
        self._bus.handlers.remove(handler)

    def ReleaseInstance(self):
        if self._bus.references == 0:
            raise error("NOT_INITIALIZED", "The system was released already")
        held = self._bus.held() + ["CameraList"] * any(not cameras.cleared for cameras in self._bus.lists)
        if held or self._bus.handlers:
            raise error("RESOURCE_IN_USE", f"Can't release the system: {held or 'handlers'} still in use")
        self._bus.references -= 1


class CameraList:
    def __init__(self, bus):
        self._bus, self.cleared = bus, False
        self._devices = [device for device in bus.devices if device.connected]
        bus.lists.add(self)

    def GetSize(self):
        return len(self._devices)

    def GetByIndex(self, index):
        return CameraPtr(self._devices[index], self._bus)

    __getitem__ = GetByIndex

    def GetBySerial(self, serial):
        found = [device for device in self._devices if device.serial == serial]
        return CameraPtr(found[0], self._bus) if found else NoCamera()

    def Clear(self):
        held = self._bus.held()
        if held:
            text = "Can't clear a camera because something still holds a reference to the camera"
            raise error("RESOURCE_IN_USE", f"{text}: {', '.join(held)}")
        self._devices, self.cleared = [], True


class NoCamera:
    """What GetBySerial gives for a serial number that is not there."""

    def IsValid(self):
        return False


class InterfaceEventHandler:
    """Base class of handlers; its __init__ has to be called."""

    def __init__(self):
        self._made = True


def make_pyspin(*devices):
    """Something that stands for the module, with these cameras on its bus."""
    bus = Bus(devices)

    def instance():
        bus.references += 1
        return System(bus)

    def access(*modes):
        return lambda node: node._access() in modes

    return SimpleNamespace(
        bus=bus,
        System=SimpleNamespace(GetInstance=instance),
        SpinnakerException=SpinnakerException,
        InterfaceEventHandler=InterfaceEventHandler,
        Image=SimpleNamespace(GetImageStatusDescription=lambda status: STATUS_TEXTS[status]),
        IsImplemented=access("NA", "RO", "WO", "RW"),
        IsAvailable=access("RO", "WO", "RW"),
        IsReadable=access("RO", "RW"),
        IsWritable=access("WO", "RW"),
        EVENT_TIMEOUT_INFINITE=2**64 - 1,
        EVENT_TIMEOUT_NONE=0,
        FLIR_SPINNAKER_VERSION_MAJOR=VERSION[0],
        FLIR_SPINNAKER_VERSION_MINOR=VERSION[1],
        **{f"SPINNAKER_ERR_{name}": code for name, code in CODES.items()},
        **{f"C{pointer.__name__}": partial(cast, pointer) for pointer in POINTERS},
        **INTERFACES,
        **ACCESS,
        **_entry_numbers(),
    )


def _entry_numbers():
    """`ExposureAuto_Off` and so on."""
    return {
        f"{name}_{entry}": number
        for space in (DEVICE, TRANSPORT, STREAM)
        for name, feature in space.items()
        for number, entry in enumerate(feature.entries)
        # Pixel formats have numbers of their own in the SDK, which the driver does not use.
        if name != "PixelFormat"
    }
