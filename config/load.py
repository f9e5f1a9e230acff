"""YAML and ``key=value`` text into frozen dataclasses.

An unknown key or a wrong type raises ``SettingsError`` naming the dotted path and the nearest key.
"""

import dataclasses
import difflib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from config.errors import SettingsError

T = TypeVar("T")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file (an empty file is an empty mapping)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read settings file {path}: {error}") from error
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        first_line = str(error).splitlines()[0]
        raise SettingsError(f"{path} is not valid YAML: {first_line}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SettingsError(f"{path} must hold 'key: value' lines, found {_kind(found)}")
    return found


def with_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """``values`` with ``a.b=value`` texts laid over them; each value is read as YAML."""
    merged = _copy(values)
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            raise SettingsError(f"'{text}' is not of the form key=value, e.g. label.size=0.1")
        *parents, leaf = path.strip().split(".")
        node = merged
        for parent in parents:
            child = node.setdefault(parent, {})
            if not isinstance(child, dict):
                raise SettingsError(f"'{path}': '{parent}' holds a value, not a group of settings")
            node = child
        try:
            node[leaf] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:
            raise SettingsError(f"'{text}': the value is not valid YAML") from error
    return merged


def build(cls: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """An instance of the dataclass ``cls`` from ``values``; missing keys keep their defaults."""
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        dotted = f"{path}{key}"
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.0)
            raise SettingsError(f"unknown setting '{dotted}'; nearest is '{path}{near[0]}'")
        arguments[key] = _convert(hints[key], value, dotted)
    missing = [
        f"{path}{name}"
        for name, field in fields.items()
        if name not in arguments
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SettingsError(f"missing setting '{missing[0]}'")
    try:
        return cls(**arguments)
    except ValueError as error:  # a __post_init__ that checks ranges: "name must ..."
        raise SettingsError(f"setting '{path}{error}") from error


def _convert(hint: Any, value: Any, dotted: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise SettingsError(f"'{dotted}' is a group of settings, found {_kind(value)}")
        return build(hint, value, f"{dotted}.")
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        # YAML 1.1 reads a bare on/off/yes/no as a boolean; the choices here are texts.
        if value not in arguments:
            choices = ", ".join(str(choice) for choice in arguments)
            raise SettingsError(f"'{dotted}' must be one of {choices}; found {value!r}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        rest = [argument for argument in arguments if argument is not type(None)]
        return _convert(rest[0], value, dotted)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f"'{dotted}' must be a list, found {_kind(value)}")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise SettingsError(f"'{dotted}' must have {len(arguments)} items, found {len(value)}")
        return tuple(
            _convert(arguments[0], item, f"{dotted}.{index}") for index, item in enumerate(value)
        )
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (bool, int, float, str) and type(value) is hint:
        return value
    raise SettingsError(f"'{dotted}' must be {_name(hint)}, found {_kind(value)}")


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in values.items()}


def _name(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(hint, str(hint))


def _kind(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "a group" if isinstance(value, dict) else "a list"
    return f"{value!r}"
