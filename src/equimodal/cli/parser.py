"""The parser of all commands: argparse with errors of one line that name the nearest right word."""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from equimodal.errors import InputError, nearest

__all__ = ["WIDTH", "Parser", "count", "cut", "folder", "no_more", "number", "paragraph", "say", "whole_number"]


WIDTH = 80
"""How many columns the output is made for."""


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

    def nearest_flag(self, flag: str, others: Sequence[str] = ()) -> str:
        """Return a hint that names the flag that was probably meant, else where they are listed."""
        hint = nearest(flag, [*self.flags(), *others])
        return f"see {self.prog} --help" if hint.startswith("known") else hint


def no_more(extra: Sequence[str], parser: Parser) -> None:
    """Refuse arguments that a command does not know."""
    if extra:
        flag = extra[0].partition("=")[0]
        if flag.startswith("-"):
            raise InputError(f"unknown option {flag}: {parser.nearest_flag(flag)}")
        raise InputError(f"unexpected argument {flag!r}; see {parser.prog} --help")


def folder(text: str) -> Path:
    """Return a path from the command line, with ``~`` filled in."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: {error}") from None


def whole_number(text: str) -> int:
    """Return a whole number from the command line."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def count(text: str) -> int:
    """Return a whole number of at least 1 from the command line."""
    value = whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return value


def number(text: str) -> float:
    """Return a finite number from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number")
    return value


def cut(name: str, cell: int) -> str:
    """Return a name that fits a cell: of a long one the beginning and the end, where names differ."""
    return name if len(name) <= cell else f"{name[: cell - 4]}…{name[-3:]}"


def say(text: str = "") -> None:
    """Print a line at once, also into a pipe, and with question marks where the terminal lacks a letter."""
    try:
        print(text, flush=True)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        print(text.encode(encoding, "replace").decode(encoding), flush=True)


def paragraph(text: str) -> None:
    """Print a text in lines of :data:`WIDTH`, broken between words: a path or a name stays whole, to be copied."""
    say(textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False))
