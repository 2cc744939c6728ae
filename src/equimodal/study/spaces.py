"""What a search draws, and how: ranges from a study file, and draws that depend on nothing but names and a seed."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from equimodal.errors import InputError, nearest
from equimodal.methods import methods
from equimodal.methods.space import Choice, Distribution, LogUniform, Uniform
from equimodal.study.plan import members_of
from equimodal.train.seeds import derived_seed

__all__ = ["LEARNING_RATE", "SHARED", "Space", "described", "draw", "method_space", "overridden", "read_range", "shared_space"]

Space = Mapping[str, Distribution]
"""Ranges by path in the configuration, such as ``"optimizer.lr"`` and ``"method.tau"``."""

LEARNING_RATE = "optimizer.lr"

SHARED: Space = {LEARNING_RATE: LogUniform(1e-4, 1e-2)}
"""What is searched for every method alike. The paper states no range; this one holds the learning rate of its Figure 2, 0.00068983."""

_SIMPLE = (bool, int, float, str, type(None))
_METHOD = "method."


def read_range(value: Any, where: str) -> Distribution:
    """Return what a study file says of one hyper-parameter.

    >>> str(read_range({"low": 1e-4, "high": 1e-2, "log": True}, "optimizer.lr"))
    '0.0001 to 0.01, evenly in its logarithm'
    >>> str(read_range([3, 5], "window")), str(read_range(2, "k"))
    ('3, 5', '2')

    :param value: ``{low, high}``, with ``log: true`` for a logarithmic one; a list of values to choose from; or one value to set.
    :param where: its place in the file, for messages.
    :raises InputError: for anything else, and for a range that holds nothing.
    """
    if isinstance(value, Mapping):
        return _numbers(value, where)
    choices = list(value) if isinstance(value, (list, tuple)) else [value]
    if not choices:
        raise InputError(f"{where} = []: give at least one value to choose from")
    for choice in choices:
        if not isinstance(choice, _SIMPLE) or (isinstance(choice, float) and not math.isfinite(choice)):
            raise InputError(f"{where} has the choice {choice!r}: numbers, texts, true, false and null can be chosen from")
    return Choice(tuple(choices))


def _numbers(value: Mapping[str, Any], where: str) -> Distribution:
    for key in value:
        if key not in ("low", "high", "log"):
            raise InputError(f"unknown key {key!r} in {where}: {nearest(str(key), ('low', 'high', 'log'))}")
    low, high, log = value.get("low"), value.get("high"), value.get("log", False)
    for name, bound in (("low", low), ("high", high)):
        if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not abs(bound) <= sys.float_info.max:
            raise InputError(f"{where}.{name} = {bound!r}: a finite number is needed")
    if not isinstance(log, bool):
        raise InputError(f"{where}.log = {log!r}: true or false is needed")
    first, last = float(low or 0), float(high or 0)
    if first > last:
        raise InputError(f"{where} goes from {low!r} to {high!r}: low must not lie above high")
    if log and first <= 0:
        raise InputError(f"{where}.low = {low!r}: a logarithmic range lies above 0; leave out log, or raise low")
    return LogUniform(first, last) if log else Uniform(first, last)


def shared_space(overrides: Mapping[str, Any]) -> dict[str, Distribution]:
    """Return what is drawn for every method alike.

    :param overrides: the part ``search`` of a study file; its key ``methods`` is for :func:`method_space`.
    :raises InputError: for a path that is none of a configuration.
    """
    space = dict(SHARED)
    for path, value in overrides.items():
        if path == "methods":
            continue
        part = str(path).partition(".")[0]
        if part not in ("optimizer", "scheduler", "groups", "batch_size", "clip", "accumulate"):
            known = (
                "optimizer.lr",
                "optimizer.weight_decay",
                "scheduler.OPTION",
                "groups.overrides",
                "batch_size",
                "clip",
                "accumulate",
                "methods",
            )
            raise InputError(
                f"search.{path}: what all methods share is optimizer, scheduler, groups, batch_size, clip or accumulate; "
                f"{nearest(str(path), known)}"
            )
        space[str(path)] = read_range(value, f"search.{path}")
    return space


def method_space(name: str, overrides: Mapping[str, Any] | None) -> dict[str, Distribution]:
    """Return what is drawn for one method alone: its own search space, with what a study file says instead.

    :param name: the method's name; ``"a+b"`` for several on one model.
    :param overrides: by option; for several methods by method and option.
    :raises InputError: for an option that the method does not have.
    """
    parts = members_of(name)
    space: dict[str, Distribution] = {}
    for member in parts:
        prefix = _METHOD if len(parts) == 1 else f"{_METHOD}{member}."
        space |= {f"{prefix}{option}": found for option, found in methods.get(member).search_space.items()}
    for option, value in (overrides or {}).items():
        if len(parts) > 1:
            if option not in parts or not isinstance(value, Mapping):
                raise InputError(f"search.methods.{name}.{option}: the options stand under the names of its methods, {', '.join(parts)}")
            for inner, range_ in value.items():
                space[_checked(name, str(option), str(inner), f"{_METHOD}{option}.{inner}")] = read_range(
                    range_, f"search.methods.{name}.{option}.{inner}"
                )
        else:
            space[_checked(name, name, str(option), f"{_METHOD}{option}")] = read_range(value, f"search.methods.{name}.{option}")
    return space


def _checked(name: str, member: str, option: str, path: str) -> str:
    known = methods.get(member).option_names()
    if option not in known:
        raise InputError(f"search.methods.{name} has the unknown option {option!r}: {nearest(option, known)}")
    return path


def overridden(search: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """Return in words which ranges are not the methods' own.

    :param search: the part ``search`` of a study file.
    :param names: the methods.
    """
    lines = []
    for path, found in shared_space(search).items():
        own = SHARED.get(path)
        if found != own:
            lines.append(f"{path} searched over {found} ({'not searched' if own is None else own} by default)")
    given = search.get("methods") or {}
    for name in names:
        own_space = method_space(name, None)
        for path, found in method_space(name, given.get(name)).items():
            own = own_space.get(path)
            if found != own:
                option = path.removeprefix(_METHOD)
                lines.append(f"{name}: {option} searched over {found} ({'not searched' if own is None else own} in its own space)")
    return tuple(lines)


def described(space: Space) -> dict[str, Any]:
    """Return ranges as a study file would give them.

    >>> described({"optimizer.lr": LogUniform(0.0001, 0.01)})
    {'optimizer.lr': {'low': 0.0001, 'high': 0.01, 'log': True}}
    """
    found: dict[str, Any] = {}
    for path, distribution in space.items():
        if isinstance(distribution, Uniform):
            log = {"log": True} if isinstance(distribution, LogUniform) else {}
            found[path] = {"low": distribution.low, "high": distribution.high, **log}
        elif isinstance(distribution, Choice):
            found[path] = list(distribution.values)
        else:
            raise InputError(f"the search space of {path} is a {type(distribution).__name__}: a study knows Uniform, LogUniform and Choice")
    return found


def draw(shared: Space, own: Space, *, root: int, study: str, method: str, trial: int) -> dict[str, Any]:
    """Return the hyper-parameters of one trial.

    What methods share depends on study, trial and name alone, so that all methods see the same at the same number; a method's own
    depends on the method as well. Neither depends on other trials, so that more of them change nothing.

    :param root: the study's seed.
    :param study: its name.
    """
    found = {path: _value(space, derived_seed(root, "search", study, trial, path)) for path, space in shared.items()}
    return found | {path: _value(space, derived_seed(root, "search", study, method, trial, path)) for path, space in own.items()}


def _value(space: Distribution, seed: int) -> Any:
    value = space.sample(random.Random(seed))
    # The exponential of a logarithm may miss the bound by a rounding.
    return min(max(value, space.low), space.high) if isinstance(space, Uniform) else value
