"""The parser: standard flags by argparse, component options (``--method.tau 0.3``) by their dotted path."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, NoReturn

from equimodal import __version__
from equimodal.errors import InputError, nearest

__all__ = ["Parser", "dotted_options", "make_parser", "no_more"]

_COMMANDS = ("demo", "train", "methods", "data", "simulate")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with the nearest right word."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise InputError(f"{message}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            what = "command" if isinstance(action, argparse._SubParsersAction) else "/".join(action.option_strings) or action.dest
            raise InputError(f"unknown {what} {value!r}: {nearest(str(value), map(str, action.choices))}")

    def flags(self) -> list[str]:
        """Return the long flags that this parser knows."""
        return [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]


def make_parser() -> Parser:
    """Return the parser of all commands."""
    # Each command's module declares its own flags, and imports what it runs with only when it runs.
    from equimodal.cli import data, demo, methods, simulate, train

    parser = Parser(prog="equimodal", description="Balanced training of multimodal networks.")
    parser.add_argument("--version", action="version", version=f"equimodal {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for module in (demo, train, methods, data, simulate):
        module.add_parser(commands)
    return parser


def value_of(text: str) -> Any:
    """Read a value from the command line: JSON where it is JSON, a number such as ``.5`` or ``inf``, else the text itself.

    >>> value_of("1e-3"), value_of("[8, 4]"), value_of("null"), value_of("concat")
    (0.001, [8, 4], None, 'concat')
    """
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if not math.isnan(number) else text


def dotted_options(extra: list[str], parser: Parser, roots: tuple[str, ...]) -> dict[str, Any]:
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
        path = name.removeprefix("--").replace("-", "_").split(".")
        if not name.startswith("--"):
            raise InputError(f"unexpected argument {word!r}; see {parser.prog} --help")
        if len(path) < 2 or path[0] not in roots or "" in path:
            known = [*parser.flags(), *(f"--{root}.OPTION" for root in roots)]
            raise InputError(f"unknown option {name}: {nearest(name, known)}")
        if not equals:
            value = next(words, "--")
            if value.startswith("--"):
                raise InputError(f"option {name} lacks its value: write {name} VALUE")
        place = found
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = value_of(value)
    return found


def no_more(extra: list[str], parser: Parser) -> None:
    """Refuse arguments that a command does not know."""
    if extra:
        flag = extra[0].partition("=")[0]
        raise InputError(
            f"unknown option {flag}: {nearest(flag, parser.flags())}" if flag.startswith("-") else f"unexpected argument {flag!r}"
        )


def folder(text: str) -> Path:
    """Return a path from the command line, with ``~`` filled in."""
    return Path(text).expanduser()


def whole_number(text: str) -> int:
    """Return a whole number from the command line."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def say(text: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True, file=sys.stdout)
