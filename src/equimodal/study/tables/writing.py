"""Tables of a study as files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from equimodal._files import make_folder, write_whole
from equimodal.errors import InputError, nearest
from equimodal.study.tables.making import make_table, table_names

if TYPE_CHECKING:
    from equimodal.report.grid import Grid
    from equimodal.study.records import StudyRecord

__all__ = ["FORMATS", "render_tables", "write_tables"]

FORMATS: Mapping[str, str] = {"text": "txt", "markdown": "md", "csv": "csv", "latex": "tex", "html": "html"}
"""The shapes of a table, with the suffix of a file of each."""

_RENDERED: Mapping[str, Callable[[Grid], str]] = {
    "text": lambda grid: f"{grid}\n",
    "markdown": lambda grid: f"### {grid.title}\n\n{grid.markdown()}",
    "csv": lambda grid: grid.csv(),
    "latex": lambda grid: grid.latex(),
    "html": lambda grid: f"{grid.html()}\n",
}


def render_tables(grids: Iterable[Grid], shape: str = "text") -> str:
    """Return tables below each other.

    :param shape: one of :data:`FORMATS`.
    :raises InputError: for another shape.
    """
    if shape not in _RENDERED:
        raise InputError(f"unknown format {shape!r} of tables: {nearest(shape, _RENDERED)}")
    return "\n".join(_RENDERED[shape](grid) for grid in grids)


def write_tables(
    record: StudyRecord,
    folder: str | Path,
    names: Iterable[str] | None = None,
    shapes: Iterable[str] = tuple(FORMATS),
    data: str | None = None,
) -> list[Path]:
    """Write tables in every shape, each file whole or not at all.

    :param folder: where the files go; made where it does not exist.
    :param names: the tables; by default all.
    :param shapes: of :data:`FORMATS`.
    :param data: the label of the only data set to show; all where not given.
    :returns: the files that were written.
    :raises InputError: for an unknown table, shape or data set, or when a file cannot be written.
    """
    folder = Path(folder)
    made = {name: make_table(record, name, data) for name in (table_names() if names is None else names)}
    files = {f"{name}.{FORMATS[shape]}": render_tables(grids, shape) for name, grids in made.items() for shape in shapes}
    make_folder(folder)
    return [write_whole(folder / name, content) for name, content in files.items()]
