"""``equimodal reproduce``: a table or figure of the paper, from nothing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from equimodal.cli.parser import Parser, no_more, say
from equimodal.errors import InputError, nearest
from equimodal.report.terminal import paragraph

__all__ = ["add_parser"]

_EPILOG = """\
parts:
  table1    models of one modality       table4    MILES with other τ
  table2    concatenation, all methods   table5    MILES with other μ
  table3    summation, all methods       table6    training against validation
  figure1   modalities inside and alone  figure2   learning dynamics
  all       everything

Fetches or prepares the data, does what of the study the part needs, prints the
tables and writes figures and a page. The study is the one of that name that
comes with the package: what one part has trained, the others find. Killed at
any moment, the same command goes on.

example:
  equimodal reproduce table2 --dataset avdigits --workers 2
"""


_OF_METHODS = ("budget", "costs", "differences")
_DRAWN = {
    "figure1": ("figure1",),
    "figure2": ("figure2",),
    "table4": ("sensitivity",),
    "table5": ("sensitivity",),
    "all": None,
}
"""The figures that go with a part; those of the methods where it is not among them."""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    from equimodal.cli.study import add_place, add_running

    parser: Parser = commands.add_parser(
        "reproduce",
        help="a table or figure of the paper, from nothing",
        description="Reproduce a table or figure of the MILES paper, from nothing.",
        epilog=_EPILOG,
    )
    parser.add_argument("part", metavar="PART", help="such as table2, figure1, or all")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="smnist, cremad, luma, mmimdb or avdigits; or a study file")
    add_place(parser)
    add_running(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Do what a part needs, and show it."""
    no_more(extra, arguments.parser)
    from equimodal.cli.study import declared, do_trials, open_record, the_folder
    from equimodal.study.declaration import ready_files
    from equimodal.study.figures import write_figures
    from equimodal.study.page import write_study_page
    from equimodal.study.parts import PARTS, parts_shown
    from equimodal.study.tables import make_table, render_tables

    if arguments.part not in PARTS:
        raise InputError(f"unknown part {arguments.part!r}: {nearest(arguments.part, PARTS)}")
    if arguments.dataset not in ready_files() and not Path(arguments.dataset).is_file() and not Path(arguments.dataset).suffix:
        names = ", ".join(ready_files())
        raise InputError(f"no study of {arguments.dataset!r} comes with the package: there are {names}; or give the path of a study file")
    arguments.study = arguments.dataset
    declaration = declared(arguments)
    done, failed = do_trials(declaration, arguments, [arguments.part])
    record, place = open_record(arguments), the_folder(arguments, declaration)
    grids = [grid for name in parts_shown(arguments.part) for grid in make_table(record, name)]
    if grids:
        say(f"\n{render_tables(grids).rstrip()}")
    say("\nwriting figures and the page")
    figures = write_figures(record, place / "figures", _DRAWN.get(arguments.part, _OF_METHODS))
    page = write_study_page(place / "report.html", record)
    say()
    for line in (f"figures: {len(figures)} files in {place / 'figures'}", f"everything: {page}"):
        say("\n".join(paragraph(line)))
    return 0 if done and not failed else 1
