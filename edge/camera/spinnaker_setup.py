"""Settings into a camera: each written and read back, and all of them compared once more in the end."""

from __future__ import annotations

from collections.abc import Iterable

from edge.camera.spinnaker_nodes import Nodes, Value
from edge.camera.spinnaker_settings import Setting, Special
from edge.errors import ConfigError

Applied = dict[tuple[str, tuple[tuple[str, str], ...]], tuple[Setting, Value]]
"""What was set last of each key, with the value that was asked for."""


def apply(settings: Iterable[Setting], nodes: Nodes) -> Applied:
    """Write all, in their order. Optional ones that the camera does not have are not in what comes back.

    Raises `ConfigError` for the first that the camera does not take or does not keep.
    """
    applied: Applied = {}
    for setting in settings:
        value = _apply(setting, nodes)
        if value is not None:
            applied[setting.key] = setting, value
    # Some settings change others, such as the region the frame rate: what holds in the end is what counts.
    for setting, value in applied.values():
        _select(setting, nodes)
        _confirm(setting, value, nodes)
    return applied


def _apply(setting: Setting, nodes: Nodes) -> Value | None:
    if not _present(setting, nodes):
        if setting.optional:
            return None
        raise ConfigError(
            f"The camera does not have {' or '.join(_names(setting)) or 'the setting'} for {setting.name}.",
            do="Change the setting in the station file, or use another camera.",
        )
    if setting.value is Special.COMMAND:
        nodes.execute(setting.node)
        return None
    value = _value(setting, nodes)
    nodes.write(setting.node, value)
    _confirm(setting, value, nodes)
    return value


def _present(setting: Setting, nodes: Nodes) -> bool:
    """Whether the camera has it; its selectors then stand where they should."""
    if not all(nodes.has_entry(selector, entry) for selector, entry in setting.selectors):
        return False
    _select(setting, nodes)
    return nodes.has(setting.node) and (not _names(setting) or _first_entry(setting, nodes) is not None)


def _select(setting: Setting, nodes: Nodes) -> None:
    for selector, entry in setting.selectors:
        nodes.select(selector, entry)


def _value(setting: Setting, nodes: Nodes) -> Value:
    if isinstance(setting.value, Special):
        limit = nodes.least if setting.value is Special.LEAST else nodes.greatest
        value = limit(setting.node)
        return int(value) if nodes.is_integer(setting.node) else value
    if isinstance(setting.value, tuple):
        return _first_entry(setting, nodes) or setting.value[0]
    return setting.value


def _confirm(setting: Setting, value: Value, nodes: Nodes) -> None:
    got = nodes.read(setting.node)
    if isinstance(value, float) and isinstance(got, float):
        step = max(setting.within, nodes.increment(setting.node) or 0.0, 1e-6 * abs(value))
        kept = abs(got - value) <= step
    else:
        kept = got == value
    if not kept:
        raise ConfigError(
            f"The camera's {setting.name} was set to {value} and reads back {got}.",
            do="Set a value that the camera keeps, or look for another program that writes to it.",
        )


def _names(setting: Setting) -> tuple[str, ...]:
    if isinstance(setting.value, str):
        return (setting.value,)
    return setting.value if isinstance(setting.value, tuple) else ()


def _first_entry(setting: Setting, nodes: Nodes) -> str | None:
    return next((name for name in _names(setting) if nodes.has_entry(setting.node, name)), None)
