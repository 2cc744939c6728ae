"""The errors a user can cause. Each message is one line: what is wrong, the value, where, and what to do."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

__all__ = [
    "Busy",
    "CannotWrite",
    "InputError",
    "MissingDependency",
    "StorageAway",
    "TrainingDiverged",
    "UnusableRun",
    "first_line",
    "nearest",
    "require",
]


class InputError(ValueError):
    """Something given by the user cannot be used. The command line prints it in one line and exits with 2."""


class CannotWrite(InputError):
    """A file cannot be written, as on a full disk: nothing is wrong with what was to be written into it."""


class Busy(InputError):
    """Another process is at work there."""


class StorageAway(InputError):
    """A database did not answer for longer than anyone waits."""


class UnusableRun(InputError):
    """A run folder cannot be gone on with: it holds another run, or is damaged."""


class TrainingDiverged(InputError):
    """A training loss became NaN or infinite; the run stopped and its last good checkpoint stays."""


class MissingDependency(ImportError):
    """An optional package is needed and not installed."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module, or say in one line how to install it.

    :param module: the module's full name, such as ``"numpy"``.
    :param extra: the extra of this package that brings it, such as ``"data"``.
    :returns: the imported module.
    :raises MissingDependency: when the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name):
            raise
        raise MissingDependency(
            f"{module.partition('.')[0]} is needed here and is not installed; install it with: pip install 'equimodal[{extra}]'"
        ) from None


def first_line(error: BaseException) -> str:
    r"""Return what another package's error says, in one line.

    >>> first_line(ValueError("wrong size\nat ...")), first_line(KeyError())
    ('wrong size', 'KeyError')
    """
    return next(iter(str(error).splitlines()), type(error).__name__)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, else all of them.

    >>> nearest("mile", ["joint", "miles"])
    "did you mean 'miles'?"
    >>> nearest("xyz", ["joint", "miles"])
    'known: joint, miles'
    """
    words = sorted(known)
    spelled = {word.casefold(): word for word in words}
    match = difflib.get_close_matches(name.casefold(), spelled, n=1)
    return f"did you mean {spelled[match[0]]!r}?" if match else f"known: {', '.join(words) or 'none'}"
