"""A camera's features by their GenICam names, through Aravis: written, read back, and its errors translated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge.camera.aravis_library import AravisLibrary
from edge.camera.driver import CameraLostError
from edge.errors import ConfigError

Value = bool | int | float | str

_GONE = ("NOT_CONNECTED", "TIMEOUT", "TRANSFER_ERROR")


class Features:
    """The features of one opened camera. A device that does not answer raises `CameraLostError`."""

    def __init__(self, library: AravisLibrary, camera: Any) -> None:
        self._library, self._camera = library, camera
        policies = library.aravis
        camera.set_range_check_policy(policies.RangeCheckPolicy.ENABLE)
        camera.set_access_check_policy(policies.AccessCheckPolicy.ENABLE)

    def release(self) -> None:
        """Let go of the camera; no other call may follow."""
        self._camera = None

    def has(self, name: str) -> bool:
        """Whether the camera has the feature, now, under its present other settings."""
        with self._translated(name):
            return bool(self._camera.is_feature_available(name))

    def first(self, *names: str) -> str | None:
        """The first of these that the camera has."""
        return next((name for name in names if self.has(name)), None)

    def offers(self, name: str, entry: str) -> bool:
        """Whether the enumeration can take that entry now."""
        if not self.has(name):
            return False
        with self._translated(name):
            return entry in self._camera.dup_available_enumerations_as_strings(name)

    def read(self, name: str, kind: type[Value]) -> Any:
        """The value, of the type `kind`."""
        with self._translated(name):
            if kind is bool:
                return self._camera.get_boolean(name)
            if kind is int:
                return self._camera.get_integer(name)
            return self._camera.get_float(name) if kind is float else self._camera.get_string(name)

    def bounds(self, name: str, kind: type[Value]) -> tuple[float, float]:
        """The least and the greatest value that it takes now."""
        with self._translated(name):
            read = self._camera.get_integer_bounds if kind is int else self._camera.get_float_bounds
            least, greatest = read(name)
            return least, greatest

    def write(self, name: str, value: Value, within: float = 0.0) -> None:
        """Write and read back. Raises `ConfigError` when what the camera keeps is not `within` reach."""
        if not self.has(name):
            raise ConfigError(
                f"The camera has no {name}, so it cannot be set to {value}.",
                do="Leave this setting out of the station file, or use a camera that has it.",
            )
        with self._translated(name):
            self._set(name, value)
        kept = self.read(name, type(value))
        equal = abs(kept - value) <= within if isinstance(value, float) else kept == value
        if not equal:
            raise ConfigError(
                f"The camera keeps {name} at {kept} instead of {value}.",
                do="Set what it can do: its manual names the steps and limits, and what else they depend on.",
            )

    def write_if_there(self, name: str, value: Value, within: float = 0.0) -> None:
        """The same, but nothing for a camera that does not have the feature."""
        if self.has(name):
            self.write(name, value, within)

    def execute(self, name: str) -> None:
        """Give a command."""
        with self._translated(name):
            self._camera.execute_command(name)

    def _set(self, name: str, value: Value) -> None:
        if isinstance(value, bool):
            self._camera.set_boolean(name, value)
        elif isinstance(value, int):
            self._camera.set_integer(name, value)
        elif isinstance(value, float):
            self._camera.set_float(name, value)
        else:
            self._camera.set_string(name, value)

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except self._library.error as fault:
            if is_gone(self._library, fault):
                raise lost(str(fault)) from fault
            raise ConfigError(
                f"The camera refuses {name}: {message(fault)}.",
                do="Set what it can do: its manual names the limits, and what else they depend on.",
            ) from fault


def is_gone(library: AravisLibrary, fault: Any) -> bool:
    """Whether the device does not answer, rather than refuses."""
    error = library.aravis.DeviceError
    return any(
        fault.matches(library.aravis.device_error_quark(), int(getattr(error, name))) for name in _GONE
    )


def message(fault: Any) -> str:
    """What GLib says, to be put into a sentence."""
    return str(fault.message).rstrip(". ")


def lost(why: str) -> CameraLostError:
    """The error for a device that is gone."""
    return CameraLostError(
        f"The camera no longer answers ({why.rstrip('. ')}).",
        do="Check its cable and power; it is looked for until it is back.",
    )
