"""Nodes of a GenICam node map through PySpin: looked up by name, written with the type they take, read back.

No node is kept: a node that outlives its camera is what makes the SDK refuse to release it.
"""

from __future__ import annotations

from typing import Any

from edge.errors import ConfigError

Value = bool | int | float | str


class Nodes:
    """One node map. `node_map` is asked for anew at each access, so that none is kept either."""

    def __init__(self, pyspin: Any, camera: Any, getter: str = "GetNodeMap") -> None:
        self._pyspin, self._camera, self._getter = pyspin, camera, getter
        self._pointers = {
            pyspin.intfIInteger: pyspin.CIntegerPtr,
            pyspin.intfIFloat: pyspin.CFloatPtr,
            pyspin.intfIBoolean: pyspin.CBooleanPtr,
            pyspin.intfIEnumeration: pyspin.CEnumerationPtr,
            pyspin.intfIString: pyspin.CStringPtr,
            pyspin.intfICommand: pyspin.CCommandPtr,
        }

    def has(self, name: str) -> bool:
        """Whether the camera has this node, and it is available now."""
        return self._find(name) is not None

    def has_entry(self, name: str, entry: str) -> bool:
        """Whether the enumeration has this entry, available now."""
        node = self._find(name)
        return node is not None and self._entry(node, entry) is not None

    def read(self, name: str) -> Value:
        """Its value; of an enumeration the entry's name. Raises `ConfigError` when it is absent or unreadable."""
        node = self._required(name)
        if not self._pyspin.IsReadable(node):
            raise _refused(name, "cannot be read now")
        if self._is(node, "intfIEnumeration"):
            return str(node.GetCurrentEntry().GetSymbolic())
        value = node.GetValue()
        return value if isinstance(value, bool | int | float) else str(value)

    def read_number(self, name: str) -> float | None:
        """An integer's or a float's value, None where the camera has no such node or does not let it be read."""
        node = self._find(name)
        if node is None or not self._pyspin.IsReadable(node):
            return None
        return float(node.GetValue())

    def read_text(self, name: str) -> str | None:
        """A string's value or an enumeration's entry, None where there is none."""
        node = self._find(name)
        return str(self.read(name)) if node is not None and self._pyspin.IsReadable(node) else None

    def write(self, name: str, value: Value) -> None:
        """Write it. One that is read-only and has the value already is left so.

        Raises `ConfigError` that says what the camera would take.
        """
        node = self._required(name)
        if not self._pyspin.IsWritable(node):
            if self._pyspin.IsReadable(node) and self.read(name) == value:
                return
            raise _refused(name, f"is read-only now, so it cannot become {value}")
        if self._is(node, "intfIEnumeration"):
            self._write_entry(node, name, str(value))
        elif self._is(node, "intfIBoolean"):
            node.SetValue(bool(value))
        elif self._is(node, "intfIInteger"):
            node.SetValue(_whole(node, name, value))
        else:
            node.SetValue(_within_range(node, name, float(value)))

    def select(self, name: str, entry: str) -> None:
        """Set a selector, without a write to the camera when it stands there already."""
        if self.read(name) != entry:
            self.write(name, entry)

    def execute(self, name: str) -> None:
        """Carry out a command. Raises `ConfigError` when the camera does not have it or not now."""
        node = self._required(name)
        if not self._pyspin.IsWritable(node):
            raise _refused(name, "cannot be carried out now")
        node.Execute()

    def least(self, name: str) -> float:
        """The smallest value it takes now."""
        return float(self._required(name).GetMin())

    def greatest(self, name: str) -> float:
        """The largest value it takes now."""
        return float(self._required(name).GetMax())

    def is_integer(self, name: str) -> bool:
        """Whether it holds whole numbers."""
        return self._is(self._required(name), "intfIInteger")

    def increment(self, name: str) -> float | None:
        """The step of a float's values, None when it tells none."""
        node = self._required(name)
        # Only newer wheels can say whether there is a step; asking for one that is not there is an error.
        has_step = getattr(node, "HasInc", None)
        if not self._is(node, "intfIFloat") or has_step is None or not has_step():
            return None
        return float(node.GetInc())

    def _find(self, name: str) -> Any:
        node = getattr(self._camera, self._getter)().GetNode(name)
        if node is None or not self._pyspin.IsAvailable(node):
            return None
        pointer = self._pointers.get(node.GetPrincipalInterfaceType())
        return None if pointer is None else pointer(node)

    def _required(self, name: str) -> Any:
        node = self._find(name)
        if node is None:
            raise _refused(name, "is something this camera does not have")
        return node

    def _is(self, node: Any, interface: str) -> bool:
        return bool(node.GetPrincipalInterfaceType() == getattr(self._pyspin, interface))

    def _entry(self, node: Any, entry: str) -> Any:
        found = node.GetEntryByName(entry)
        return found if found is not None and self._pyspin.IsAvailable(found) else None

    def _write_entry(self, node: Any, name: str, entry: str) -> None:
        found = self._entry(node, entry)
        if found is None:
            raise _refused(name, f"has no entry {entry} on this camera")
        node.SetIntValue(found.GetValue())


def _whole(node: Any, name: str, value: Value) -> int:
    least, greatest, step = int(node.GetMin()), int(node.GetMax()), max(1, int(node.GetInc()))
    whole = int(value)
    if not least <= whole <= greatest or (whole - least) % step:
        raise _refused(name, f"takes {least} to {greatest} in steps of {step}, not {value}")
    return whole


def _within_range(node: Any, name: str, value: float) -> float:
    least, greatest = float(node.GetMin()), float(node.GetMax())
    if not least <= value <= greatest:
        raise _refused(name, f"takes {least:g} to {greatest:g}, not {value:g}")
    return value


def _refused(name: str, how: str) -> ConfigError:
    return ConfigError(f"The camera's {name} {how}.", do="Correct the camera's settings in the station file.")
