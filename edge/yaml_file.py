"""Strict YAML: every error names the file, the line and the fix.

PyYAML's safe loader builds plain data; pydantic checks it; this module joins the two by remembering on which
line each key stood.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from edge.errors import ConfigError, EdgeError

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]


def load_model(path: Path, model: type[Model], error: type[EdgeError] = ConfigError) -> Model:
    """Read `path` as one YAML document and validate it whole as `model`.

    Raises `error` when the file cannot be read, is not YAML, repeats a key, or does not fit the model; all
    faults of the document are named, each with its line.
    """
    return parse_model(_read_text(path, error), model, name=str(path), error=error)


def parse_model(text: str, model: type[Model], *, name: str, error: type[EdgeError] = ConfigError) -> Model:
    """Like `load_model`, for text already in memory; `name` stands for the file in messages."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise error(f"{name} is not valid YAML: {_one_line(fault)}.", do="Correct that line.") from fault
    if not isinstance(data, dict) or node is None:
        raise error(f"{name} does not hold a mapping of keys to values.", do="See the examples.")
    _refuse_repeated_keys(node, name, error)
    try:
        return model.model_validate(data)
    except ValidationError as fault:
        faults = "; ".join(_describe(item, node, model) for item in fault.errors(include_url=False))
        raise error(
            f"{name} does not fit: {faults}.", do="Correct what is named and run the command again."
        ) from None


def _read_text(path: Path, error: type[EdgeError]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path} does not exist.", do="Check the path.") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise error(
            f"{path} cannot be read: {fault}.", do="Check that it is a readable UTF-8 text file."
        ) from fault


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())


def _refuse_repeated_keys(node: yaml.Node, name: str, error: type[EdgeError]) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise error(
                    f"{name}, line {_line(key)}: the key '{key.value}' stands twice.",
                    do="Keep one of the two.",
                )
            seen.add(key.value)
            _refuse_repeated_keys(value, name, error)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, name, error)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _describe(item: Any, root: yaml.Node, model: type[BaseModel]) -> str:
    location: Location = item["loc"]
    where = ".".join(str(step) for step in _visible(location, root))
    prefix = f"line {_line_of(location, root)}" + (f", {where}" if where else "")
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        return f"{prefix} is not a known key{_suggest(str(location[-1]), known)}"
    if item["type"] == "missing":
        return f"{prefix} is missing"
    message = str(item["msg"]).removeprefix("Value error, ").rstrip(".")
    return f"{prefix}: {message}"


def _suggest(key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=1)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (known here: {', '.join(names)})" if names else ""


def _visible(location: Location, root: yaml.Node) -> Location:
    """The location without the tags that pydantic adds for a union, which stand nowhere in the file."""
    node: yaml.Node | None = root
    steps: list[str | int] = []
    for index, step in enumerate(location):
        child = _child(node, step)
        if child is None and index < len(location) - 1:
            continue
        steps.append(step)
        node = child
    return tuple(steps)


def _line_of(location: Location, root: yaml.Node) -> int:
    node, line = root, _line(root)
    for step in location:
        child = _child(node, step)
        if child is not None:
            node, line = child, _key_line(node, step)
    return line


def _key_line(node: yaml.Node, step: str | int) -> int:
    if isinstance(node, yaml.MappingNode):
        return next(_line(key) for key, _ in node.value if key.value == str(step))
    return _line(node.value[step])


def _child(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child: yaml.Node = node.value[step]
        return child
    return None


def _known_keys(model: type[BaseModel], location: Location) -> set[str]:
    """Names allowed at `location`, following fields, unions of models and their discriminator tags."""
    models = [model]
    for step in location:
        fields = [m.model_fields[str(step)].annotation for m in models if str(step) in m.model_fields]
        if fields:
            models = [found for annotation in fields for found in _models_in(annotation)]
        else:  # a discriminator tag: keep the models whose tag it is
            models = [m for m in models if _tag(m) == step] or models
    return {alias or name for m in models for name, alias in _names(m)}


def _names(model: type[BaseModel]) -> list[tuple[str, str | None]]:
    return [(name, field.alias) for name, field in model.model_fields.items()]


def _tag(model: type[BaseModel]) -> object:
    field = model.model_fields.get("backend")
    return field.default if field else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    inner = getattr(annotation, "__args__", ())
    return [found for argument in inner for found in _models_in(argument)]
