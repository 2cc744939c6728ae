"""``equimodal data``: what data sets there are; ``fetch`` brings the originals of one."""

from __future__ import annotations

import argparse
from typing import Any

from equimodal.cli.parser import Parser, folder, no_more, say

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser: Parser = commands.add_parser("data", help="list the data sets, or fetch one", description=__doc__)
    parser.add_argument("action", nargs="?", choices=("list", "fetch"), default="list", metavar="list|fetch", help="default list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the data set")
    parser.add_argument("--data-dir", type=folder, metavar="FOLDER", help="where fetched files go; default the cache")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Print the data sets, or download one."""
    no_more(extra, arguments.parser)
    from equimodal.data import datasets

    if arguments.action == "fetch":
        if arguments.name is None:
            arguments.parser.error("data fetch needs the name of a data set")
        say(f"{arguments.name}: verified in {datasets.get(arguments.name)().fetch(arguments.data_dir)}")
        return 0
    chosen = [datasets.get(arguments.name)] if arguments.name is not None else list(datasets.classes().values())
    say("\n\n".join(dataset.description() for dataset in chosen))
    return 0
