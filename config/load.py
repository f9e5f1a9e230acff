"""YAML and ``key=value`` text into frozen dataclasses.

An unknown key or a wrong type raises ``SettingsError`` naming the dotted path and the nearest key.
"""

import dataclasses
import difflib
import math
import re
import reprlib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from config.errors import SettingsError

T = TypeVar("T")

_LARGEST = 2**53
"""Whole numbers beyond this do not fit a float exactly; no setting is so large."""


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file (an empty file is an empty mapping)."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingsError(f"{path} does not exist") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not a text file in UTF-8") from error
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        found = _parse(text)
    except ValueError as error:
        raise SettingsError(f"{path} is not valid YAML: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SettingsError(f"{path} must hold 'key: value' lines, found {_kind(found)}")
    return found


def with_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """``values`` with ``a.b=value`` texts laid over them; each value is read as YAML."""
    merged = dict(values)
    for text in overrides:
        path, equals, value = text.partition("=")
        *parents, leaf = [name.strip() for name in path.split(".")]
        if not equals or not all([*parents, leaf]):
            raise SettingsError(
                f"'{_plain(text)}' is not of the form key=value, e.g. label.size=0.1"
            )
        node = merged
        for parent in parents:
            child = node.get(parent, {})
            if not isinstance(child, dict):
                raise SettingsError(
                    f"'{_plain(text)}': '{_plain(parent)}' holds {_kind(child)}, "
                    "not a group of settings"
                )
            node[parent] = dict(child)  # a copy: ``values`` stays as it is
            node = node[parent]
        try:
            node[leaf] = _parse(value)
        except ValueError as error:
            raise SettingsError(
                f"'{_plain(text)}': the value is not valid YAML: {error}"
            ) from error
    return merged


def build(cls: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """An instance of the dataclass ``cls`` from ``values``; missing keys keep their defaults."""
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        name = key if isinstance(key, str) else _kind(key)
        dotted = f"{path}{_plain(name)}"
        if key not in fields:
            raise SettingsError(
                f"unknown setting '{dotted}'; nearest is '{path}{_nearest(name, hints)}'"
            )
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
    except ValueError as error:  # a __post_init__ that checks ranges: "name' must ..."
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
            raise SettingsError(f"'{dotted}' must be one of {choices}; found {_kind(value)}")
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
    if hint in (int, float) and type(value) is int and abs(value) > _LARGEST:
        raise SettingsError(f"'{dotted}' is too large a number")
    if hint is float:
        value = _as_float(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingsError(f"'{dotted}' must be a finite number, found {value}")
    if hint in (bool, int, float, str) and type(value) is hint:
        return value
    raise SettingsError(f"'{dotted}' must be {_name(hint)}, found {_kind(value)}")


def _as_float(value: Any) -> Any:
    if type(value) is int:
        return float(value)
    # YAML 1.1 takes 1e3 for a text: it wants 1.0e+3.
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]*[0-9]\.?[eE][-+]?[0-9]+", value):
        try:
            return float(value)
        except ValueError:
            return value
    return value


class _OnceLoader(yaml.SafeLoader):
    """YAML's plain types; a key that is there twice is an error, not silently the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"'{_plain(key.value)}' is there twice", problem_mark=key.start_mark
                    )
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _parse(text: str) -> Any:
    """What a YAML text holds. Raises ValueError with one line."""
    try:
        return yaml.load(text, _OnceLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{place}{_plain(error.problem or str(error.context))}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    # The yaml package lets through whatever its constructors of numbers and dates run into.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ValueError(_plain(str(error).partition("\n")[0])) from error


def _nearest(key: str, hints: Mapping[str, Any]) -> str:
    """The name in ``hints`` that is most like ``key``, or the one in a group that is ``key``."""
    for name, hint in hints.items():
        if dataclasses.is_dataclass(hint) and key in get_type_hints(hint):
            return f"{name}.{key}"
    nearest: str = difflib.get_close_matches(key, hints, n=1, cutoff=0.0)[0]
    return nearest


def _name(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(hint, str(hint))


def _kind(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "a group" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "a very large number"  # Python refuses to print those of thousands of digits
    return reprlib.repr(value)


def _plain(text: str) -> str:
    """One short printable line."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 120 else f"{text[:117]}..."
