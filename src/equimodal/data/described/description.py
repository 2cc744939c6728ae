"""The description of a user's own data: a YAML file, read with the line of everything that may be wrong in it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from equimodal.data.reading.originals import read_bytes
from equimodal.errors import InputError, nearest, require
from equimodal.tasks import get_task

__all__ = ["KINDS", "SPLITS", "Described", "Description", "read_description"]

KINDS = ("vector", "sequence", "picture", "tokens", "tensor")
SPLITS = ("train", "val", "test")
_TASKS = ("single-label", "multilabel", "regression", "ordinal")
_TOP = ("table", "folder", "id", "target", "task", "classes", "separator", "split", "splits", "seed", "disjoint", "metric", "modalities")
_MODALITY = (
    "file",
    "member",
    "columns",
    "kind",
    "channels",
    "lengths",
    "max_length",
    "padding",
    "optional",
    "present",
    "standardise",
    "encoder",
)


@dataclass(frozen=True)
class Described:
    """One modality, as its lines say; see the guide on own data for what each key means.

    :param place: the file and line that describe it, for messages.
    """

    name: str
    place: str
    file: str | None = None
    member: str | None = None
    columns: tuple[str, ...] = ()
    kind: str | None = None
    channels: str | None = None
    lengths: str | None = None
    max_length: int | None = None
    padding: int = 0
    optional: bool = False
    present: str | None = None
    standardise: bool = False
    encoder: Mapping[str, Any] | None = None

    def content(self) -> dict[str, Any]:
        """Return what was said, as plain values; what was left out is left out."""
        said = {key: getattr(self, key) for key in _MODALITY}
        return {"name": self.name, **{key: _listed(value) for key, value in said.items() if value not in (None, False, ())}}


@dataclass(frozen=True)
class Description:
    """A whole description.

    :param path: the YAML file.
    :param folder: the folder to which the paths in it are relative, in which all of them lie.
    :param lines: the line of each key.
    """

    path: Path
    folder: Path
    table: str
    modalities: tuple[Described, ...]
    id: str = "id"
    target: tuple[str, ...] = ("label",)
    task: str = "single-label"
    classes: tuple[str, ...] | None = None
    separator: str = ";"
    split: str | None = None
    splits: Mapping[str, float] | None = None
    seed: int = 0
    disjoint: str | None = None
    metric: str | None = None
    base: str | None = None
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    def place(self, key: str) -> str:
        """Return file and line of a key, for messages."""
        return f"{self.path}, line {self.lines[key]}" if key in self.lines else str(self.path)

    def content(self) -> dict[str, Any]:
        """Return what the file says, as plain values: two files that say the same have the same content."""
        said = {key: getattr(self, "base" if key == "folder" else key) for key in _TOP if key != "modalities"}
        kept: dict[str, Any] = {key: _listed(value) for key, value in said.items() if value is not None}
        return {**kept, "modalities": [modality.content() for modality in self.modalities]}


def read_description(path: Path) -> Description:
    """Read a description, and check everything in it that can be checked without its files.

    :raises InputError: for a file that is missing or no YAML, an unknown key (with the nearest right one), or a value that does not fit.
    """
    return _Reader(path).read()


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Description:
        top = self._loaded()
        self._keys(top, _TOP, "")
        self._needs(top, "table", "the file with one row per sample, such as 'table: samples.csv'")
        self._needs(top, "modalities", "where each modality's arrays are, such as 'modalities: {audio: audio/{id}.npy}'")
        given: dict[str, Any] = {
            key: self._text(top, key) for key in ("table", "id", "task", "separator", "split", "disjoint", "metric") if key in top
        }
        if "target" in top:
            given["target"] = self._texts(top, "target")
        if "classes" in top:
            given["classes"] = self._texts(top, "classes")
        if "splits" in top:
            given["splits"] = self._proportions(top)
        if "seed" in top:
            given["seed"] = self._whole(top, "seed", least=None)
        base = self._text(top, "folder") if "folder" in top else None
        # Not resolved: links may lead to another disk, and the table may name files by either path.
        folder = Path(os.path.abspath(self.path.parent / Path(base or "").expanduser()))  # noqa: PTH100
        lines = {str(key): _line(top, key) for key in top}
        found = Description(self.path, folder, base=base, modalities=self._modalities(top), lines=lines, **given)
        self._consistent(top, found)
        return found

    def _loaded(self) -> Any:
        yaml = require("ruamel.yaml", extra="cli")
        content = read_bytes(self.path, "description")
        try:
            # The round-trip reader is the one that knows lines; like the safe one it makes plain values alone.
            found = yaml.YAML(typ="rt", pure=True).load(content.decode("utf-8-sig"))
        except (yaml.error.YAMLError, ValueError, RecursionError) as error:
            place = getattr(error, "problem_mark", None)
            where = f", line {place.line + 1}" if place is not None else ""
            said = " ".join(str(getattr(error, "problem", None) or error).split())
            raise InputError(f"description {self.path}{where} cannot be read as YAML: {said}") from None
        if not isinstance(found, Mapping):
            raise InputError(f"description {self.path} holds no mapping: lines such as 'table: samples.csv' are needed")
        return found

    def _refuse(self, mapping: Any, key: Any, text: str) -> NoReturn:
        raise InputError(f"{self.path}, line {_line(mapping, key)}: {text}")

    def _keys(self, mapping: Any, known: Collection[str], where: str) -> None:
        for key in mapping:
            if key not in known:
                self._refuse(mapping, key, f"unknown key {key!r}{where}: {nearest(str(key), known)}")

    def _needs(self, mapping: Any, key: str, what: str) -> None:
        if key not in mapping:
            raise InputError(f"description {self.path} lacks the key {key!r}: {what}")

    def _text(self, mapping: Any, key: str) -> str:
        value = mapping[key]
        if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value):
            self._refuse(mapping, key, f"{key} = {_plain(value)!r}: a text is needed")
        return str(value)

    def _texts(self, mapping: Any, key: str) -> tuple[str, ...]:
        value = mapping[key]
        if not isinstance(value, list):
            return (self._text(mapping, key),)
        for item in value:
            if isinstance(item, (bool, list, Mapping)) or item is None or not str(item):
                self._refuse(mapping, key, f"{key} holds {_plain(item)!r}: a list of texts is needed; put it in quotes if it is one")
        found = tuple(str(_plain(item)) for item in value)
        if not found:
            self._refuse(mapping, key, f"{key} is an empty list: name at least one")
        if len(set(found)) < len(found):
            twice = next(item for item in found if found.count(item) > 1)
            self._refuse(mapping, key, f"{key} names {twice!r} more than once")
        return found

    def _whole(self, mapping: Any, key: str, least: int | None = 1) -> int:
        value = mapping[key]
        if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
            self._refuse(
                mapping, key, f"{key} = {_plain(value)!r}: a whole number{'' if least is None else f' of at least {least}'} is needed"
            )
        return int(value)

    def _truth(self, mapping: Any, key: str) -> bool:
        value = mapping[key]
        if not isinstance(value, bool):
            self._refuse(mapping, key, f"{key} = {_plain(value)!r}: true or false is needed")
        return value

    def _chosen(self, mapping: Any, key: str, known: Collection[str]) -> str:
        value = self._text(mapping, key)
        if value not in known:
            self._refuse(mapping, key, f"{key} = {value!r}: {nearest(value, known)}")
        return value

    def _proportions(self, top: Any) -> dict[str, float]:
        given = top["splits"]
        if not isinstance(given, Mapping):
            self._refuse(
                top, "splits", f"splits = {_plain(given)!r}: proportions are needed, such as 'splits: {{train: 70, val: 15, test: 15}}'"
            )
        self._keys(given, SPLITS, " in splits")
        for name in SPLITS:
            share = given.get(name)
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not math.isfinite(share) or share <= 0:
                self._refuse(top, "splits", f"splits.{name} = {_plain(share)!r}: each of train, val and test needs a share above 0")
        return {name: _plain(given[name]) for name in SPLITS}

    def _modalities(self, top: Any) -> tuple[Described, ...]:
        given = top["modalities"]
        if not isinstance(given, Mapping) or len(given) < 2:
            self._refuse(top, "modalities", "modalities must name two or more, the stronger one first, each with its file")
        return tuple(self._modality(given, name) for name in given)

    def _modality(self, modalities: Any, name: Any) -> Described:
        if not isinstance(name, str) or not name.isidentifier() or name == "multimodal":
            self._refuse(modalities, name, f"modality {name!r}: give a name of letters, digits and _, other than 'multimodal'")
        place, part = f"{self.path}, line {_line(modalities, name)}", modalities[name]
        if isinstance(part, str):
            return Described(name, place, file=part)
        if not isinstance(part, Mapping):
            self._refuse(modalities, name, f"modality {name!r} = {_plain(part)!r}: a file, or a mapping with the key 'file', is needed")
        self._keys(part, _MODALITY, f" of modality {name!r}")
        if "file" not in part and "columns" not in part:
            self._refuse(modalities, name, f"modality {name!r} names neither a file nor columns of the table")
        readers: dict[str, Any] = {
            **dict.fromkeys(("file", "member", "lengths", "present"), self._text),
            **dict.fromkeys(("optional", "standardise"), self._truth),
            "columns": self._texts,
            "kind": lambda part, key: self._chosen(part, key, KINDS),
            "channels": lambda part, key: self._chosen(part, key, ("first", "last")),
            "max_length": self._whole,
            "padding": lambda part, key: self._whole(part, key, least=None),
            "encoder": self._encoder,
        }
        given = {key: readers[key](part, key) for key in part}
        found = Described(name, place, **given)
        self._goes_together(part, found)
        return found

    def _goes_together(self, part: Any, found: Described) -> None:
        what = f"modality {found.name!r}"
        if found.present and not found.optional:
            self._refuse(part, "present", f"{what} has a column that tells where it is present: add 'optional: true'")
        if found.kind == "tokens" and found.standardise:
            self._refuse(part, "standardise", f"{what} holds tokens, which are no quantities: leave standardise out")
        if found.kind in ("tokens", "tensor") and found.encoder is None:
            example = "{name: text, vocabulary: 5000}" if found.kind == "tokens" else "{name: 'module:Class'}"
            self._refuse(part, "kind", f"{what} of kind {found.kind} has no encoder of its own: add one, such as 'encoder: {example}'")

    def _encoder(self, part: Any, key: str) -> dict[str, Any]:
        given = part[key]
        if isinstance(given, str):
            return {"name": given}
        try:
            plain = _plain(given)
            json.dumps(plain, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            plain = None
        if not isinstance(plain, dict) or not isinstance(plain.get("name"), str):
            self._refuse(part, key, f"{key} = {_plain(given)!r}: a name, or a mapping with 'name' and options, is needed")
        return plain

    def _consistent(self, top: Any, found: Description) -> None:
        if found.task not in _TASKS:
            self._refuse(top, "task", f"task = {found.task!r}: {nearest(found.task, _TASKS)}")
        try:
            get_task(found.task).metric(found.metric)
        except InputError as error:
            self._refuse(top, "metric", str(error))
        if found.split is not None and found.splits is not None:
            self._refuse(top, "splits", "split names a column and splits gives proportions: leave one of them out")
        one_class = found.task in ("single-label", "ordinal")
        if one_class and len(found.target) > 1:
            self._refuse(
                top, "target", f"target names {len(found.target)} columns: {found.task} takes one; set task to multilabel or regression"
            )
        if found.classes is not None and (found.task == "regression" or len(found.target) > 1):
            self._refuse(top, "classes", "classes are the labels in one column: leave them out for regression, or for one column per label")
        if found.classes is not None and len(found.classes) < 2 and one_class:
            self._refuse(top, "classes", f"classes names {len(found.classes)}: two or more are needed")


def _line(mapping: Any, key: Any) -> int:
    """Return the line of a key, counted from 1."""
    try:
        return int(mapping.lc.key(key)[0]) + 1
    except (AttributeError, KeyError, TypeError):  # what a merge key (<<) brought has no line of its own
        return int(getattr(getattr(mapping, "lc", None), "line", 0)) + 1


def _plain(value: Any) -> Any:
    """Return a value of the YAML reader as Python's own types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
