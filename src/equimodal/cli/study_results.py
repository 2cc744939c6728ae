"""What comes out of a study: ``equimodal study table``, ``figures`` and ``export``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from equimodal.cli.parser import Parser, folder, no_more, say
from equimodal.errors import InputError, nearest
from equimodal.report.terminal import paragraph

__all__ = ["add_actions"]


def add_actions(actions: Any, action: Callable[..., Parser]) -> None:
    """Declare the actions.

    :param action: makes the parser of one.
    """
    table = action(actions, "table", "tables of the paper and beyond", show_tables, epilog=_TABLES)
    table.add_argument("names", nargs="*", metavar="TABLE", help="such as table2, II or budget; default Tables I to VI")
    table.add_argument("--data", metavar="NAME", help="of this data set alone")
    table.add_argument("--format", default="text", metavar="SHAPE", help="text (default), markdown, csv, latex or html")
    table.add_argument("--to", type=folder, metavar="FOLDER", help="write files in every format there instead")
    figures = action(actions, "figures", "figures of the paper and beyond, as files", draw_figures, epilog=_FIGURES)
    figures.add_argument("names", nargs="*", metavar="FIGURE", help="such as figure1 or budget; default all")
    figures.add_argument("--to", type=folder, metavar="FOLDER", help="where the files go; default figures in the study's folder")
    figures.add_argument("--format", default="svg,pdf", metavar="A,B", help="svg, pdf, png; default svg,pdf")
    export = action(actions, "export", "everything in one folder or zip", export_study, epilog=_EXPORT)
    export.add_argument(
        "--to", type=folder, metavar="PATH", help="a folder, or a file that ends in .zip; default NAME.zip in the study's folder"
    )


_TABLES = """\
  table1 … table6   those of the paper, beside its own figures; also I … VI
  budget            what the best of fewer trials would have scored
  trials            the distribution over the trials of every search
  paired            paired tests between methods over the fresh seeds
  costs             seconds and optimizer steps, searches included
  failures          failed trials with their reasons

example:
  equimodal study table avdigits table2 --format latex
"""

_FIGURES = """\
  figure1, figure2  those of the paper
  differences       each method against joint training, paired, with intervals
  budget            score against search budget
  costs             cost against score
  sensitivity       what τ and μ do
  trials            the score of every trial by its hyper-parameters

example:
  equimodal study figures avdigits figure2 --to figures
"""

_EXPORT = """\
The archive holds the study file, every run's configuration, epochs, result and
environment, all tables and figures, and a page. All of them can be made from it
again, on any machine: give its path in place of the study file.

example:
  equimodal study export avdigits --to avdigits.zip
  equimodal study table avdigits.zip table2
"""


def _gather_names(arguments: argparse.Namespace, extra: list[str]) -> None:
    """Add the names that stand behind a flag, which argparse does not count in."""
    arguments.names += [word for word in extra if not word.startswith("-")]
    no_more([word for word in extra if word.startswith("-")], arguments.parser)


def show_tables(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Print tables, or write them as files."""
    _gather_names(arguments, extra)
    from equimodal.cli.study import open_record
    from equimodal.study.tables import FORMATS, make_table, render_tables, write_tables

    if arguments.format not in FORMATS:
        raise InputError(f"--format {arguments.format!r}: {nearest(arguments.format, FORMATS)}")
    record = open_record(arguments)
    names = arguments.names or [f"table{number}" for number in range(1, 7)]
    if arguments.to is not None:
        written = write_tables(record, arguments.to, names, data=arguments.data)
        say(f"{len(written)} files in {arguments.to}")
        return 0
    grids = [grid for name in names for grid in make_table(record, name, arguments.data)]
    say(render_tables(grids, arguments.format).rstrip("\n"))
    return 0


def draw_figures(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Write figures as files."""
    _gather_names(arguments, extra)
    from equimodal.cli.study import open_record
    from equimodal.study.figures import make_figures, write_figures

    record = open_record(arguments)
    names = arguments.names or None
    written = write_figures(record, _beside(arguments, record.name, "figures"), names, arguments.format.split(","))
    for path in written:
        say(str(path))
    for drawing in make_figures(record, names):
        if drawing.reason is not None:
            say("\n".join(paragraph(f"not drawn: {drawing.title}: {drawing.reason}")))
    return 0 if written else 1


def export_study(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Write an archive."""
    no_more(extra, arguments.parser)
    from equimodal.cli.study import open_record
    from equimodal.study.archive import write_archive

    record = open_record(arguments)
    say("writing runs, tables, figures and the page")
    path = write_archive(record, _beside(arguments, record.name, f"{record.name}.zip"))
    ended = sum(trial.done for trial in record.trials)
    say(f"{path}: {ended} of {len(record.trials)} trials")
    return 0


def _beside(arguments: argparse.Namespace, study: str, name: str) -> Path:
    """Return where something goes: where it was said, else into the study's folder, or beside its archive."""
    from equimodal.study.archive import is_archive

    if arguments.to is not None:
        return Path(arguments.to)
    if is_archive(Path(arguments.study)):
        return Path(arguments.study).with_name(name)
    return Path(arguments.out or Path("studies") / study) / name
