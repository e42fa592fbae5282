"""Node maps, nodes and the typed pointers to them, as the SDK hands them out.

Every object handed out is a `Handle`: while one lives, its camera is referenced.
"""

from .errors import error

INTERFACES = {name: number for number, name in enumerate(
    ("intfIValue", "intfIBase", "intfIInteger", "intfIBoolean", "intfICommand", "intfIFloat", "intfIString",
     "intfIRegister", "intfICategory", "intfIEnumeration", "intfIEnumEntry", "intfIPort")
)}  # fmt: skip
KINDS = {
    "int": "intfIInteger",
    "float": "intfIFloat",
    "bool": "intfIBoolean",
    "enum": "intfIEnumeration",
    "str": "intfIString",
    "command": "intfICommand",
}
ACCESS = {name: number for number, name in enumerate(("NI", "NA", "WO", "RO", "RW"))}


class Handle:
    """Something of the SDK that a program holds."""

    def __init__(self, device, bus):
        self._device, self._bus, self._generation = device, bus, device.generation
        bus.handles.add(self)

    def _same_plug(self):
        if self._generation != self._device.generation:
            raise error("INVALID_HANDLE", "The camera behind this was unplugged")


class NodeMap(Handle):
    def __init__(self, device, bus, space):
        super().__init__(device, bus)
        self._space = space

    def GetNode(self, name):
        if name not in self._device.features[self._space]:
            return None
        return Node(self._device, self._bus, self._space, name)


class Node(Handle):
    """Any node, before it is cast to what it is."""

    def __init__(self, device, bus, space, name):
        super().__init__(device, bus)
        self._space, self._name = space, name

    @property
    def _feature(self):
        return self._device.features[self._space][self._name]

    def GetName(self):
        return self._name

    def GetPrincipalInterfaceType(self):
        return INTERFACES[KINDS[self._feature.kind]]

    def GetAccessMode(self):
        return ACCESS[self._access()]

    def _access(self):
        return self._device.access(self._space, self._name)

    def _readable(self):
        self._same_plug()
        if self._space == "device":
            self._device.may_be_read()
        if self._access() not in ("RO", "RW"):
            raise error("GENICAM_ACCESS", f"Node {self._name} is not readable")

    def _write(self, value):
        self._same_plug()
        if self._access() not in ("WO", "RW"):
            raise error("GENICAM_ACCESS", f"Node {self._name} is not writable")
        self._device.write(self._space, self._name, value)

    def _get(self):
        self._readable()
        return self._device.get(self._name, space=self._space)


class Value(Node):
    """A node with GetValue and SetValue. `TYPE` is the one Python type that SetValue takes."""

    def GetValue(self):
        return self._get()

    def SetValue(self, value):
        if type(value) is not self.TYPE:
            raise TypeError(f"in method '{self._name}.SetValue', argument 2 of type '{self.TYPE.__name__}'")
        self._check(value)
        self._write(value)

    def _check(self, value):
        pass

    __call__ = GetValue


class Ranged(Value):
    def GetMin(self):
        return self.TYPE(self._device.limits(self._space, self._name)[0])

    def GetMax(self):
        return self.TYPE(self._device.limits(self._space, self._name)[1])

    def _check(self, value):
        if not self.GetMin() <= value <= self.GetMax():
            raise error("GENICAM_OUT_OF_RANGE", f"Value {value} of {self._name} is out of its range")


class IntegerPtr(Ranged):
    TYPE, KIND = int, "int"

    def GetInc(self):
        return int(self._feature.step)

    def _check(self, value):
        super()._check(value)
        if (value - self.GetMin()) % max(1, self.GetInc()):
            raise error("GENICAM_OUT_OF_RANGE", f"Value {value} of {self._name} is off its increment")


class FloatPtr(Ranged):
    TYPE, KIND = float, "float"

    def HasInc(self):
        return bool(self._feature.step)

    def GetInc(self):
        return float(self._feature.step)


class BooleanPtr(Value):
    TYPE, KIND = bool, "bool"


class StringPtr(Value):
    TYPE, KIND = str, "str"


class CommandPtr(Node):
    KIND = "command"

    def Execute(self):
        self._same_plug()
        if self._access() != "WO":
            raise error("GENICAM_ACCESS", f"Command {self._name} is not writable")
        self._device.execute(self._name)

    __call__ = Execute


class EnumerationPtr(Node):
    KIND = "enum"

    def GetEntryByName(self, entry):
        if entry not in self._feature.entries:
            return None
        return EntryPtr(self._device, self._bus, self._space, self._name, entry)

    def GetCurrentEntry(self):
        return EntryPtr(self._device, self._bus, self._space, self._name, self._get())

    def GetIntValue(self):
        return self._feature.entries.index(self._get())

    def SetIntValue(self, number):
        if type(number) is not int:
            raise TypeError(f"in method '{self._name}.SetIntValue', argument 2 of type 'int64_t'")
        if not 0 <= number < len(self._feature.entries):
            raise error("GENICAM_INVALID_ARGUMENT", f"{self._name} has no entry of number {number}")
        self._write(self._feature.entries[number])

    GetValue, SetValue, __call__ = GetIntValue, SetIntValue, GetIntValue


class EntryPtr(Node):
    def __init__(self, device, bus, space, name, entry):
        super().__init__(device, bus, space, name)
        self._entry = entry

    def GetSymbolic(self):
        return self._entry

    def GetValue(self):
        return self._feature.entries.index(self._entry)

    def _access(self):
        return "RO"


POINTERS = (IntegerPtr, FloatPtr, BooleanPtr, StringPtr, CommandPtr, EnumerationPtr)


def cast(pointer, node):
    """`CIntegerPtr(node)` and so on."""
    if node._feature.kind != pointer.KIND:
        raise error("GENICAM_DYNAMIC_CAST", f"{node._name} is no {pointer.KIND}")
    return pointer(node._device, node._bus, node._space, node._name)


def typed(device, bus, space, name):
    """The node as what it is, as the camera's attributes give it."""
    kind = device.features[space][name].kind
    (pointer,) = [pointer for pointer in POINTERS if kind == pointer.KIND]
    return pointer(device, bus, space, name)
