"""Checks of the options that several data sets have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from equimodal.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["check_choice", "check_seed", "check_sizes"]


def check_choice(dataset: str, option: str, value: Any, known: Iterable[str]) -> None:
    """Refuse a value that is not among the known ones, with the nearest."""
    words = list(known)  # what JSON holds need not be hashable
    if value not in words:
        raise InputError(f"{dataset}: unknown {option} {value!r}: {nearest(str(value), words)}")


def check_seed(dataset: str, option: str, value: Any, example: int = 20240501) -> None:
    """Refuse a seed that is no whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{dataset}: {option}={value!r} is not a whole number: give one such as {example}")


def check_sizes(dataset: str, sizes: Mapping[str, Any], available: Mapping[str, int]) -> None:
    """Refuse a number of samples of a split that is not available.

    :param sizes: the number wanted, by split.
    :param available: the most that there are, by split.
    """
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= available[name]:
            raise InputError(f"{dataset}: {name}={size!r} samples are not available: choose a whole number from 1 to {available[name]}")
