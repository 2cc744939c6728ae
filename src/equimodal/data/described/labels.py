"""From the cells of a table to targets and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from equimodal.data.described.description import SPLITS, Description
from equimodal.data.splitting import by_group, by_hash, check_disjoint
from equimodal.errors import InputError, nearest, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from equimodal.data.described.table import Table

__all__ = ["Targets", "check_classes", "read_splits", "read_targets"]

_SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
_SEPARATORS = (";", ",", "|", "/")


class Targets:
    """The targets of all samples.

    :param values: int64 ``[samples]``, uint8 ``[samples, labels]`` or float32 ``[samples, outputs]``.
    :param names: of the classes or labels; of the columns for regression.
    """

    def __init__(self, values: NDArray[Any], names: Sequence[str]) -> None:
        self.values = values
        self.names = tuple(names)


def read_targets(description: Description, table: Table) -> Targets:
    """Read the targets from the column or columns that hold them.

    :raises InputError: for a label that is no class, a cell that is empty or no number; naming its line, column and value.
    """
    numpy, place = require("numpy", extra="data"), description.place("target")
    if description.task == "regression":
        values = [table.numbers(name, "target", place) for name in description.target]
        for name, column in zip(description.target, values, strict=True):
            for row, value in enumerate(column):
                if value != value:
                    raise InputError(f"{table.where(row)}: column {name!r} is empty: a number is needed")
        return Targets(numpy.array(values, dtype="float32").T.copy(), description.target)
    if description.task in ("single-label", "ordinal"):
        return _classes(description, table)
    return _labels(description, table) if len(description.target) == 1 else _indicators(description, table)


def _classes(description: Description, table: Table) -> Targets:
    numpy, name = require("numpy", extra="data"), description.target[0]
    cells = table.texts(name, "target", description.place("target"))
    names = description.classes or _in_order(cells)
    if description.classes is None:
        _check_spelling(names, name, cells, table)
        _check_ordered(names, description)
    if len(names) < 2:
        raise InputError(f"table {table.path}: column {name!r} holds {names[0]!r} alone: two classes or more are needed")
    numbers = {label: number for number, label in enumerate(names)}
    return Targets(numpy.array([_number(numbers, cell, name, row, table) for row, cell in enumerate(cells)], dtype="int64"), names)


def _check_spelling(names: Sequence[str], column: str, cells: Sequence[str], table: Table) -> None:
    """Refuse two classes that differ in case or spaces alone: one of them is a slip of the pen."""
    spelled: dict[str, str] = {}
    for name in names:
        other = spelled.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            rare = min((name, other), key=lambda label: sum(cell == label for cell in cells))
            raise InputError(
                f"{table.where(list(cells).index(rare))}: column {column!r} holds {rare!r}, and elsewhere"
                f" {name if rare == other else other!r}: write them alike, or list both under 'classes' in the description"
            )


def _check_ordered(names: Sequence[str], description: Description) -> None:
    """Refuse ordinal classes of which nothing tells the order: that of the alphabet is seldom the one that is meant."""
    if description.task == "ordinal" and not all(_is_whole(name) for name in names):
        one = next(name for name in names if not _is_whole(name))
        raise InputError(
            f"{description.place('task')}: ordinal classes that are no whole numbers, such as {one!r},"
            " have no order of their own: list them under 'classes', the lowest first"
        )


def _is_whole(label: str) -> bool:
    return label.removeprefix("-").isdecimal()


def _labels(description: Description, table: Table) -> Targets:
    numpy, name = require("numpy", extra="data"), description.target[0]
    cells = table.column(name, "target", description.place("target"))
    held = [
        [label.strip() for label in (cell if isinstance(cell, tuple) else cell.split(description.separator)) if label.strip()]
        for cell in cells
    ]
    if not any(len(labels) > 1 for labels in held):
        _look_for_separator(description, table, cells)
    names = description.classes or _in_order([label for labels in held for label in labels])
    if not names:
        raise InputError(f"table {table.path}: column {name!r} holds no label at all")
    numbers = {label: number for number, label in enumerate(names)}
    values = numpy.zeros((len(held), len(names)), dtype="uint8")
    for row, labels in enumerate(held):
        for label in labels:
            values[row, _number(numbers, label, name, row, table)] = 1
    return Targets(values, names)


def _look_for_separator(description: Description, table: Table, cells: Sequence[Any]) -> None:
    """Refuse labels that seem to be separated by something else than the separator."""
    for row, cell in enumerate(cells):
        for other in _SEPARATORS:
            if isinstance(cell, str) and other in cell and cell not in (description.classes or ()):
                raise InputError(
                    f"{table.where(row)}: column {description.target[0]!r} holds {cell!r}, and no cell holds the separator"
                    f" {description.separator!r}: set 'separator: \"{other}\"' if that is what separates labels"
                )


def _indicators(description: Description, table: Table) -> Targets:
    numpy, place = require("numpy", extra="data"), description.place("target")
    columns = []
    for name in description.target:
        column = table.numbers(name, "target", place, gaps=True)
        for row, value in enumerate(column):
            if value not in (0, 1):
                said = table.cells(name)[row]
                raise InputError(f"{table.where(row)}: column {name!r} holds {said!r}: 0 or 1 is needed, as one column per label is given")
        columns.append(column)
    return Targets(numpy.array(columns, dtype="uint8").T.copy(), description.target)


def _in_order(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the different labels in alphabetical order, numbers by size."""
    different = set(labels)
    if all(map(_is_whole, different)):
        return tuple(sorted(different, key=lambda label: (int(label), label)))
    return tuple(sorted(different))


def _number(numbers: Mapping[str, int], label: str, column: str, row: int, table: Table) -> int:
    if label not in numbers:
        raise InputError(f"{table.where(row)}: column {column!r} holds the unknown label {label!r}: {nearest(label, numbers)}")
    return numbers[label]


def read_splits(description: Description, table: Table, ids: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the rows of each split: as a column says, or dealt out by id or by group.

    :raises InputError: for an unknown split, a split without samples, a group in two splits, or where nothing tells how to split.
    """
    groups = None
    if description.disjoint is not None:
        groups = table.texts(description.disjoint, "disjoint", description.place("disjoint"))
    if description.splits is None:
        found = _told(description, table)
        if groups is not None:
            check_disjoint(groups, found, str(description.disjoint), f"table {table.path}")
        return found
    if groups is None:
        found, dealt = by_hash(ids, description.splits, description.seed), f"{len(ids)} samples"
    else:
        found, dealt = by_group(groups, description.splits, description.seed), f"{len(set(groups))} groups of {description.disjoint!r}"
    for name, rows in found.items():
        if not len(rows):
            raise InputError(f"{description.place('splits')}: {dealt} leave the {name} split empty: raise its share, or name a column")
    return found


def _told(description: Description, table: Table) -> dict[str, NDArray[Any]]:
    """Return the rows of each split as a column tells them."""
    numpy, name = require("numpy", extra="data"), description.split or "split"
    if description.split is None and name not in table.names:
        raise InputError(
            f"{description.path} does not say how to split: table {table.path} has no column 'split'; name one with 'split: COLUMN',"
            " or give proportions such as 'splits: {train: 70, val: 15, test: 15}'"
        )
    found: dict[str, list[int]] = {split: [] for split in SPLITS}
    for row, cell in enumerate(table.texts(name, "split", description.place("split"))):
        if cell.lower() not in _SPLIT_NAMES:
            raise InputError(f"{table.where(row)}: column {name!r} holds {cell!r}: {nearest(cell.lower(), SPLITS)}")
        found[_SPLIT_NAMES[cell.lower()]].append(row)
    for split, rows in found.items():
        if not rows:
            raise InputError(f"table {table.path}: no row has {split!r} in the column {name!r}: every split needs samples")
    return {split: numpy.array(rows, dtype="int64") for split, rows in found.items()}


def check_classes(description: Description, table: Table, targets: Targets, train: NDArray[Any]) -> None:
    """Refuse a class that no training sample has, unless the description lists it: it is more often a slip of the pen.

    :raises InputError: naming the first sample that has it.
    """
    if description.classes is not None or description.task not in ("single-label", "ordinal"):
        return
    names, learnt = targets.names, set(targets.values[train].tolist())
    for row, number in enumerate(targets.values.tolist()):
        if number not in learnt:
            known = [names[other] for other in learnt]
            raise InputError(
                f"{table.where(row)}: no training sample has the label {names[number]!r} ({nearest(names[number], known)});"
                " correct it, or list all labels under classes"
            )
