"""What a comparison is to train: the unimodal models and the methods, with their options, each under a folder and a label."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from equimodal.errors import InputError, nearest
from equimodal.methods import methods
from equimodal.train.config import resolve
from equimodal.train.parts import made_method

__all__ = ["REFERENCE", "Entry", "laid_over", "make_plan", "members_of", "method_names", "placed", "resolved_base", "with_found"]

REFERENCE = "joint"
"""The method whose cost is 1."""

_ALONE = "unimodal"
_FIRST, _LAST = ("vanilla", REFERENCE), ("miles",)


@dataclass(frozen=True)
class Entry:
    """One row of a comparison.

    :param name: the method's name, or that of its folder for a unimodal model.
    :param label: its name in the table.
    :param method: the method's part of the configuration.
    :param needs: what must be found before it can run: where it belongs in ``method``, and what it is.
    :param modality: the one modality of a unimodal model.
    """

    name: str
    label: str
    method: Mapping[str, Any]
    needs: Mapping[tuple[str, ...], str]
    modality: str | None = None

    @property
    def folder(self) -> str:
        """The name of the folder of its runs."""
        return re.sub(r"[^\w.+-]+", "-", self.name)

    def config(self, base: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Return the resolved configuration of one run.

        A unimodal model has no use for the overrides of other groups than its own, and is refused with them.
        """
        config = {**base, "method": self.method, "seed": seed}
        if self.modality is not None:
            overrides = {name: options for name, options in base["groups"]["overrides"].items() if name == self.modality}
            config["groups"] = {**base["groups"], "overrides": overrides}
        return resolve(config)


def method_names(methods_wanted: str | Iterable[str]) -> list[str]:
    """Return the names of methods in their order.

    >>> method_names("miles, joint")
    ['miles', 'joint']

    :param methods_wanted: names, in a list or separated by commas. ``"all"`` stands for every method of this package: vanilla and joint
        first, MILES last, the others in the order of their names.
    :raises InputError: for no name, or one that is given twice.
    """
    given = methods_wanted.split(",") if isinstance(methods_wanted, str) else methods_wanted
    given = list(given) if isinstance(given, Iterable) else [None]
    for name in given:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"methods = {methods_wanted!r}: names are needed, separated by commas, or all")
    names = [found for name in given for found in (_all_names() if name.strip() == "all" else [name.strip()])]
    if not names:
        raise InputError("there are no methods to compare: give at least one name, or all")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"method {name!r} is named twice: give each method once")
    if _ALONE in names:
        raise InputError(f"method {_ALONE!r} need not be named: every comparison has the model of each modality alone")
    return names


def _all_names() -> list[str]:
    own = [name for name, cls in methods.classes().items() if cls.__module__.startswith("equimodal.methods.") and name != _ALONE]
    between = [name for name in own if name not in (*_FIRST, *_LAST)]
    return [name for name in (*_FIRST, *between, *_LAST) if name in own]


def resolved_base(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all runs have in common, as a resolved configuration whose method and seed do not count.

    :raises InputError: for a configuration of a single method, and see :func:`equimodal.train.config.resolve`.
    """
    if "method" in config:
        raise InputError(f"method = {config['method']!r}: a comparison has several, name them under methods")
    return resolve({**config, "method": REFERENCE})


def make_plan(names: Sequence[str], options: Mapping[str, Any], modalities: Sequence[str], stand_ins: Mapping[str, Any]) -> list[Entry]:
    """Return the unimodal models and the methods.

    :param options: options by method; an underscore may stand for each hyphen of a name.
    :param stand_ins: by what it is, an example of everything that a comparison can find for methods that need it.
    :raises InputError: for an unknown method or option, options of a method that is not compared, and a need that cannot be met.
    """
    given = _by_method(names, options)
    entries = [Entry(f"unimodal-{name}", f"{name} alone", {"name": _ALONE, "modality": name}, {}, name) for name in modalities]
    for name in names:
        part = {"name": name, **given[name]}
        entry = Entry(name, name, part, _needs(name, part))
        for path, what in entry.needs.items():
            if what not in stand_ins:
                option = ".".join(("methods", name, *path))
                raise InputError(f"method {name!r} needs {what}, which a comparison cannot find: give them as {option}")
        title = getattr(made_method({"method": with_found(entry, stand_ins).method}), "title", name)
        taken = any(other.label == title for other in entries)
        entries.append(replace(entry, label=f"{title} ({name})" if taken else title))
    folders = [entry.folder for entry in entries]
    for entry in entries:
        if folders.count(entry.folder) > 1:
            raise InputError(f"several methods would write to the folder {entry.folder!r}: leave one of them out")
    return entries


def with_found(entry: Entry, found: Mapping[str, Any]) -> Entry:
    """Return the entry with what it needs filled in.

    :param found: values by what they are, such as ``{"unimodal learning rates": {...}}``.
    """
    part = entry.method
    for path, what in entry.needs.items():
        part = placed(part, path, found[what])
    return replace(entry, method=part)


def members_of(name: str) -> list[str]:
    """Return the methods of which one is composed; itself where it is one alone."""
    return [name] if ":" in name else name.split("+")


def _needs(name: str, part: Mapping[str, Any]) -> dict[tuple[str, ...], str]:
    found: dict[tuple[str, ...], str] = {}
    members = members_of(name)
    for member in members:
        options = part if len(members) == 1 else part.get(member, {})
        for option, what in methods.get(member).prerequisites.items():
            if not isinstance(options, Mapping) or option not in options:
                found[(option,) if len(members) == 1 else (member, option)] = what
    return found


def placed(part: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """Return a copy of a mapping with a value at a place in it."""
    changed = copy.deepcopy(dict(part))
    inner = changed
    for step in path[:-1]:
        inner = inner.setdefault(step, {})
    inner[path[-1]] = value
    return changed


def _by_method(names: Sequence[str], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options of every method under its name as it is written in the list."""
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    spellings = {spelling: name for name in names for spelling in (name.replace("-", "_"), name)}
    for given, chosen in options.items():
        if given not in spellings:
            raise InputError(f"options are given for the method {given!r}, which is not compared: {nearest(str(given), names)}")
        if chosen is None:  # what YAML makes of a name without anything behind it
            continue
        if not isinstance(chosen, Mapping):
            raise InputError(f"methods.{given} = {chosen!r}: a mapping of the method's options is needed")
        if "name" in chosen:
            raise InputError(f"methods.{given} has the option 'name': the method is named by its place")
        name = spellings[given]
        members = {spelling: member for member in members_of(name) for spelling in (member.replace("-", "_"), member)}
        composed = len(set(members.values())) > 1
        named = {members.get(str(key), str(key)) if composed else str(key): value for key, value in chosen.items()}
        found[name] = laid_over(found[name], named)
    return found


def laid_over(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a mapping with changes in it, at any depth."""
    merged = copy.deepcopy(dict(before))
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = laid_over(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else copy.deepcopy(value)
    return merged
