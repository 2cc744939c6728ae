"""Options of a configuration's parts from the command line: ``--method.tau 0.3`` becomes ``{"method": {"tau": 0.3}}``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from equimodal.errors import InputError, nearest

if TYPE_CHECKING:
    from equimodal.cli.parser import Parser

__all__ = ["dotted_options", "merge", "value_of"]


def value_of(text: str) -> Any:
    """Read a value from the command line: JSON where it is JSON, a number such as ``.5`` or ``1e-3``, else the text itself.

    >>> value_of("1e-3"), value_of("[8, 4]"), value_of("null"), value_of("concat")
    (0.001, [8, 4], None, 'concat')
    """
    for read in (_json, float):
        try:
            value = read(text)
        except (ValueError, RecursionError):
            continue
        return text if isinstance(value, float) and math.isnan(value) else value
    return text


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=float)


def merge(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay changes over a configuration; a part that is given another name loses the options of the earlier one.

    >>> merge({"method": {"name": "miles", "tau": 0.1}}, {"method": {"mu": 0.3}})
    {'method': {'name': 'miles', 'tau': 0.1, 'mu': 0.3}}
    >>> merge({"method": {"name": "miles", "tau": 0.1}}, {"method": "joint"})
    {'method': {'name': 'joint'}}
    """
    merged = dict(config)
    for key, change in changes.items():
        before = merged.get(key)
        # A bare name is short for a mapping that holds nothing else.
        if isinstance(before, str) and isinstance(change, Mapping):
            before = {"name": before}
        if isinstance(before, Mapping) and isinstance(change, str):
            change = {"name": change}
        if isinstance(before, Mapping) and isinstance(change, Mapping) and not _renamed(before, change):
            merged[key] = merge(before, change)
        else:
            merged[key] = change
    return merged


def _renamed(before: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    return "name" in before and "name" in change and before["name"] != change["name"]


def dotted_options(extra: Sequence[str], parser: Parser, roots: Sequence[str]) -> dict[str, Any]:
    """Return ``--method.tau 0.3`` and ``--method.tau=0.3`` as ``{"method": {"tau": 0.3}}``.

    :param extra: the arguments that argparse did not know.
    :param parser: names the flags for the nearest right one.
    :param roots: what dotted options may begin with.
    :raises InputError: for anything else, and for a missing value.
    """
    found: dict[str, Any] = {}
    words = iter(extra)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("-"):
            raise InputError(f"unexpected argument {word!r}; see {parser.prog} --help")
        path = _path(name, parser, roots)
        if not equals:
            value = next(words, "--")
            if value.startswith("--"):
                raise InputError(f"option {name} lacks its value: write {name} VALUE")
        option: Any = value_of(value)
        for step in reversed(path):
            option = {step: option}
        found = merge(found, option)
    return found


def _path(name: str, parser: Parser, roots: Sequence[str]) -> list[str]:
    """Return the steps of a dotted option, or say which flag or option was meant."""
    path = name.removeprefix("--").replace("-", "_").split(".")
    if name.startswith("--") and len(path) > 1 and path[0] in roots and "" not in path:
        return path
    if len(path) > 1 and "" not in path:
        hint = nearest(f"--{path[0]}", [f"--{root}" for root in roots])
        raise InputError(f"unknown option {name}: options with a dot begin with the name of a part, {hint}")
    raise InputError(f"unknown option {name}: {parser.nearest_flag(name, [f'--{root}.OPTION' for root in roots])}")
