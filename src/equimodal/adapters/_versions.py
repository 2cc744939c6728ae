"""Which release of another package an adapter needs."""

from __future__ import annotations

import re

from equimodal.errors import MissingDependency, require

__all__ = ["at_least"]


def at_least(package: str, least: str, *, extra: str) -> None:
    """Refuse a package that is not installed, or older than an adapter needs.

    >>> at_least("torch", "2.0", extra="all")
    >>> at_least("torch", "99.0", extra="all")
    Traceback (most recent call last):
    ...
    equimodal.errors.MissingDependency: torch 99.0 or newer is needed here and ... is installed: pip install --upgrade 'equimodal[all]'

    :param package: the module's name.
    :param least: the oldest release that will do, as ``"5.0"``.
    :param extra: the extra of this package that brings it.
    :raises MissingDependency: in one line.
    """
    installed = str(getattr(require(package, extra=extra), "__version__", "0"))
    found = _numbers(installed)  # none in what documentation puts in a package's place
    if found and found < _numbers(least):
        raise MissingDependency(
            f"{package} {least} or newer is needed here and {installed} is installed: pip install --upgrade 'equimodal[{extra}]'"
        )


def _numbers(version: str) -> list[int]:
    """Return what a version begins with: ``"5.23.0.dev0"`` is 5, 23."""
    return [int(number) for number in re.findall(r"\d+", version)[:2]]
