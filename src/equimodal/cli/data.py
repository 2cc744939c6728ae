"""``equimodal data``: what data sets there are; fetching, preparing and verifying them, and looking at them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.cli.options import dotted_options
from equimodal.cli.parser import Parser, count, folder, no_more, say
from equimodal.errors import InputError, nearest

if TYPE_CHECKING:
    from equimodal.data.base import Dataset

__all__ = ["Wanted", "add_parser", "asked", "run"]

ACTIONS = {
    "fetch": ("to",),
    "prepare": ("from", "skip_damaged", "replace", "workers", "out"),
    "verify": ("data_dir",),
    "page": ("out", "data_dir"),
}

_EPILOG = """\
examples:
  equimodal data                   all data sets
  equimodal data avdigits          one of them
  equimodal data fetch avdigits    download its original files, and verify them

Data sets whose originals you bring are prepared once, from a folder or an
archive that is only ever read; options of the data set are given as for
equimodal train:
  equimodal data prepare cremad --from CREMA-D --dataset.split actor
  equimodal data verify cremad     compute every checksum anew
  equimodal data page cremad --out cremad.html
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser: Parser = commands.add_parser(
        "data",
        help="list, fetch, prepare, verify and show data sets",
        description="List the data sets, or fetch, prepare, verify or show one.",
        epilog=_EPILOG,
    )
    parser.add_argument("words", nargs="*", metavar="[ACTION] NAME", help=f"the data set; before it {', '.join(ACTIONS)} or nothing")
    parser.add_argument("--to", type=folder, metavar="FOLDER", help="fetch: where the files go; default the cache")
    parser.add_argument("--from", type=folder, metavar="PATH", help="prepare: the folder or archive of originals")
    parser.add_argument("--skip-damaged", action="store_true", default=None, help="prepare: leave out what cannot be used")
    parser.add_argument("--replace", action="store_true", default=None, help="prepare: give up a set that was made from other files")
    parser.add_argument("--workers", type=count, metavar="N", help="prepare: threads that read; default by the processor")
    parser.add_argument("--data-dir", type=folder, metavar="PATH", help="verify, page: the originals, where they are not in the cache")
    parser.add_argument("--out", type=folder, metavar="FILE", help="page, prepare: where the summary page goes")
    parser.set_defaults(run=run, parser=parser)


class Wanted:
    """What a command line asks of ``equimodal data``.

    :param action: one of ``ACTIONS``, or ``"show"``.
    :param name: the data set's; empty for all of them.
    :param options: the data set's.
    :param flags: the values of the flags that were given, by name without dashes.
    """

    def __init__(self, action: str, name: str, options: dict[str, Any], flags: dict[str, Any]) -> None:
        self.action = action
        self.name = name
        self.options = options
        self.flags = flags

    def dataset(self) -> Dataset:
        """Return the data set, with the options that were given.

        :raises InputError: for an unknown name or a wrong option.
        """
        from equimodal._configurable import construct
        from equimodal.data import datasets

        return construct(datasets.get(self.name), self.options, f"data set {self.name!r}")

    def path(self, flag: str) -> Path | None:
        """Return the value of a flag that takes a path."""
        return self.flags.get(flag)


def asked(arguments: argparse.Namespace, extra: Sequence[str]) -> Wanted:
    """Return what a command line asks for.

    :raises InputError: for an unknown action, and for a flag or an option that does not belong to it.
    """
    parser: Parser = arguments.parser
    late, dotted = _sorted(extra)
    action, name = _action([*arguments.words, *late], parser)
    options = dotted_options(dotted, parser, ("dataset",)).get("dataset", {})
    flags = {flag: value for flag, value in vars(arguments).items() if value is not None and flag not in ("words", "run", "parser")}
    for flag in flags:
        if flag not in ACTIONS.get(action, ()):
            homes = " and ".join(f"data {home}" for home, known in ACTIONS.items() if flag in known)
            raise InputError(f"--{flag.replace('_', '-')} belongs to {homes}; see {parser.prog} --help")
    if options and not name:
        raise InputError(f"--dataset.{next(iter(options))} needs the name of a data set; see {parser.prog} --help")
    return Wanted(action, name, options, flags)


def _sorted(extra: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words that stand behind a flag, where argparse takes them for unknown, and the options with their values."""
    words: list[str] = []
    options: list[str] = []
    for word in extra:
        is_value = bool(options) and options[-1].startswith("--") and "=" not in options[-1]
        (options if word.startswith("-") or is_value else words).append(word)
    return words, options


def _action(words: list[str], parser: Parser) -> tuple[str, str]:
    """Return the action and the name that the words ask for; the name is empty for all data sets."""
    if not words or (len(words) == 1 and words[0] not in ACTIONS):
        return "show", "".join(words)
    if words[0] not in ACTIONS:
        raise InputError(f"unknown action {words[0]!r}: {nearest(words[0], ACTIONS)}")
    if len(words) == 1:
        raise InputError(f"data {words[0]} needs the name of a data set; see {parser.prog} --help")
    no_more(words[2:], parser)
    return words[0], words[1]


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Do what is asked."""
    wanted = asked(arguments, extra)
    if wanted.action == "show":
        _show(wanted)
    else:
        from equimodal.cli import data_actions

        getattr(data_actions, wanted.action)(wanted)
    return 0


def _show(wanted: Wanted) -> None:
    """Print a few lines for each data set, or for one."""
    from equimodal.data import datasets

    chosen = [datasets.get(wanted.name)] if wanted.name else list(datasets.classes().values())
    say("\n\n".join(dataset.description() for dataset in chosen))
    if wanted.name:
        from equimodal.cli.data_actions import state

        if found := state(wanted):
            say(found)
