"""Frozen dataclasses and named tuples as JSON holds them, and back: what is read must have the types that are stated."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union

__all__ = ["Unreadable", "as_plain", "from_plain"]

Kind = TypeVar("Kind")


class Unreadable(ValueError):
    """A plain value does not have the stated type; the message says where and what."""


def as_plain(value: Any) -> Any:
    """Return a value as JSON holds it; numbers that are not finite become None.

    :param value: dataclasses, named tuples, mappings with string keys, tuples, lists, numbers, strings, None.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: as_plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_plain(kind: type[Kind], value: Any, where: str = "") -> Kind:
    """Return an object of a dataclass or named tuple from what :func:`as_plain` made of one.

    :param where: the place within the whole, for messages.
    :raises Unreadable: for a value of another type, a field that is missing, and one that is not known.
    """
    read: Kind = _read(kind, value, where)
    return read


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _read(next(one for one in arguments if one is not type(None)), value, where)
    if origin is Literal:
        if value not in arguments:
            raise Unreadable(f"{where} is {value!r} and should be {' or '.join(map(repr, arguments))}")
        return value
    if origin is dict:
        entries = _of_type(value, dict, where, "a mapping")
        return {name: _read(arguments[1], item, f"{where}.{name}") for name, item in entries.items()}
    if origin is tuple:
        items = _of_type(value, list, where, "a list")
        return tuple(_read(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(items))
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return _read_fields(kind, value, where)
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise Unreadable(f"{where or 'the value'} is {value!r} and should be a number")
        return float(value)
    if kind is int and isinstance(value, bool):
        raise Unreadable(f"{where} is {value!r} and should be a whole number")
    return value if kind is Any else _of_type(value, kind, where, {int: "a whole number", str: "a text", bool: "true or false"}[kind])


def _read_fields(kind: Any, value: Any, where: str) -> Any:
    entries = _of_type(value, dict, where, "a mapping")
    hints = _hints(kind)
    strange = next((name for name in entries if name not in hints), None)
    if strange is not None:
        raise Unreadable(f"{f'{where} has' if where else 'it has'} {strange!r}, which is not known here")
    missing = next((name for name in hints if name not in entries), None)
    if missing is not None:
        raise Unreadable(f"{f'{where} lacks' if where else 'it lacks'} {missing!r}")
    return kind(**{name: _read(hint, entries[name], f"{where}.{name}" if where else name) for name, hint in hints.items()})


def _of_type(value: Any, kind: type, where: str, what: str) -> Any:
    if not isinstance(value, kind):
        raise Unreadable(f"{where or 'the whole'} is {_short(value)} and should be {what}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
