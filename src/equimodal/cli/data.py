"""``equimodal data``: what data sets there are; ``fetch`` brings the originals of one."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from equimodal.cli.parser import Parser, folder, no_more, say
from equimodal.errors import InputError, nearest

__all__ = ["add_parser"]

_EPILOG = """\
examples:
  equimodal data                   all data sets
  equimodal data avdigits          one of them
  equimodal data fetch avdigits    download its original files, and verify them
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser: Parser = commands.add_parser(
        "data",
        help="list the data sets, or fetch one",
        description="List the data sets, or fetch the original files of one.",
        epilog=_EPILOG,
    )
    parser.add_argument("words", nargs="*", metavar="[fetch] NAME", help="the data set, and whether to fetch it")
    parser.add_argument("--to", type=folder, metavar="FOLDER", help="where fetched files go; default the cache")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Print the data sets, or download one."""
    no_more(extra, arguments.parser)
    action, name = _asked(arguments.words, arguments.parser)
    from equimodal.data import datasets

    if action == "fetch":
        with _shown("equimodal.data"):
            place = datasets.get(name)().fetch(arguments.to)
        say(f"{name}: verified in {place}")
        return 0
    chosen = [datasets.get(name)] if name else list(datasets.classes().values())
    say("\n\n".join(dataset.description() for dataset in chosen))
    return 0


def _asked(words: list[str], parser: Parser) -> tuple[str, str]:
    """Return the action and the name that the words ask for; the name is empty for all data sets."""
    if words == ["fetch"]:
        raise InputError(f"data fetch needs the name of a data set; see {parser.prog} --help")
    if len(words) > 1 and words[0] != "fetch":
        raise InputError(f"unknown action {words[0]!r}: {nearest(words[0], ['fetch'])}")
    no_more(words[2:], parser)
    return ("fetch", words[1]) if words[1:] else ("show", "".join(words))


@contextmanager
def _shown(logger_name: str) -> Iterator[None]:
    """Print what a logger has to say."""
    logger, handler = logging.getLogger(logger_name), logging.StreamHandler(sys.stdout)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
