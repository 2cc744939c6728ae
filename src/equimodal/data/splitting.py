"""Who is in which split: sizes in proportion, membership by hash, and checks of what a split promises."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from equimodal.errors import InputError, nearest, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["by_group", "by_hash", "check_disjoint", "check_unique", "class_numbers", "shares"]


def shares(total: int, sizes: Mapping[str, int | float]) -> dict[str, int]:
    """Divide a number in the proportion of the sizes, in whole samples (largest remainders); the sizes themselves where they add up to it.

    >>> shares(7442, {"train": 5210, "val": 1116, "test": 1116})
    {'train': 5210, 'val': 1116, 'test': 1116}
    >>> shares(10, {"train": 5210, "val": 1116, "test": 1116})
    {'train': 7, 'val': 2, 'test': 1}

    :param total: how many samples there are.
    :param sizes: the proportions by split.
    """
    whole = sum(sizes.values())
    exact = {name: total * size / whole for name, size in sizes.items()}
    found = {name: int(share) for name, share in exact.items()}
    for name in sorted(sizes, key=lambda name: found[name] - exact[name])[: total - sum(found.values())]:
        found[name] += 1
    return found


def by_hash(ids: Sequence[str], sizes: Mapping[str, int | float], seed: object) -> dict[str, NDArray[Any]]:
    """Deal samples out to splits in an order that depends on the seed and on each sample's own name alone.

    A sample more or fewer moves at most as many others from one split to the next as the boundaries between them shift; the rest stay.

    >>> {name: len(rows) for name, rows in by_hash([f"clip{k}" for k in range(10)], {"train": 7, "val": 2, "test": 1}, 0).items()}
    {'train': 7, 'val': 2, 'test': 1}

    :param ids: the samples' names.
    :param sizes: proportions by split.
    :param seed: anything with a fixed ``repr``.
    :returns: numbers of the samples by split, ascending.
    """
    numpy = require("numpy", extra="data")
    order = sorted(range(len(ids)), key=lambda row: _rank(seed, ids[row]))
    found, start = {}, 0
    for name, size in shares(len(ids), sizes).items():
        found[name] = numpy.array(sorted(order[start : start + size]), dtype="int64")
        start += size
    return found


def by_group(groups: Sequence[str], sizes: Mapping[str, int | float], seed: object) -> dict[str, NDArray[Any]]:
    """Deal whole groups (actors, speakers) out to splits, in proportion to the number of groups; see :func:`by_hash`.

    :param groups: the group of each sample.
    :returns: numbers of the samples by split, ascending.
    """
    numpy = require("numpy", extra="data")
    names = sorted(set(groups))
    home = {names[number]: split for split, numbers in by_hash(names, sizes, seed).items() for number in numbers.tolist()}
    return {split: numpy.array([row for row, group in enumerate(groups) if home[group] == split], dtype="int64") for split in sizes}


def _rank(seed: object, name: str) -> bytes:
    # Names of files may hold bytes that are no UTF-8, which Python keeps as lone surrogates.
    return hashlib.sha256(f"{seed!r} {name}".encode("utf-8", "surrogatepass")).digest()


def check_unique(ids: Sequence[str], where: str) -> None:
    """Refuse a name that two samples have.

    :raises InputError: naming the first of them.
    """
    if len(set(ids)) == len(ids):
        return
    twice = [name for name, times in Counter(ids).items() if times > 1]
    raise InputError(f"{where}: {twice[0]!r} stands there more than once ({len(twice)} such names): remove the duplicates")


def check_disjoint(groups: Sequence[Any], splits: Mapping[str, Any], what: str, where: str) -> None:
    """Refuse a split that leaks: the same person in two of its parts.

    :param groups: the group of each sample.
    :param splits: numbers of the samples by split.
    :param what: what a group is, such as ``"actor"``.
    :raises InputError: naming the first group and its splits.
    """
    homes: dict[Any, str] = {}
    for name, rows in splits.items():
        for group in dict.fromkeys(groups[row] for row in rows):
            if homes.setdefault(group, name) != name:
                raise InputError(
                    f"{where}: {what} {str(group)!r} is in {homes[group]} and in {name}: a split by {what} must keep them apart"
                )


def class_numbers(labels: Sequence[str], names: Sequence[str], where: str) -> NDArray[Any]:
    """Return the number of each label.

    >>> class_numbers(["SAD", "ANG"], ["ANG", "SAD"], "labels.csv").tolist()
    [1, 0]

    :param names: the classes, in their order.
    :raises InputError: for a label that is no class, with the nearest one and its row.
    """
    numpy = require("numpy", extra="data")
    known = {name: number for number, name in enumerate(names)}
    for row, label in enumerate(labels, start=1):
        if label not in known:
            raise InputError(f"{where}: unknown label {label!r} of sample {row}: {nearest(str(label), names)}")
    found: NDArray[Any] = numpy.array([known[label] for label in labels], dtype="int64")
    return found
