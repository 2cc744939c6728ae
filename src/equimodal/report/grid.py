"""A finished table of any kind and its shapes: text for a terminal, Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import csv
import html
import io
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from equimodal.errors import InputError
from equimodal.report import latex, terminal
from equimodal.report.intervals import MISSING
from equimodal.report.result_table import as_markdown
from equimodal.report.words import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cell", "Column", "Grid"]

LEAST_WIDTH = 40


@dataclass(frozen=True)
class Column:
    """One column.

    :param name: its header, in one line.
    :param meaning: what it holds, where the name alone does not tell; printed with the notes.
    :param group: the header that it shares with its neighbours of the same group; empty for none.
    :param left: whether its cells stand at the left, as texts do. The first column always does.
    :param key: its name in CSV, where that must differ, as in groups it should.
    :param shown: False for one that stands in CSV alone.
    """

    name: str
    meaning: str = ""
    group: str = ""
    left: bool = False
    key: str | None = None
    shown: bool = True


@dataclass(frozen=True)
class Cell:
    """One cell.

    :param text: as it is shown, in one line.
    :param value: the same for programs. Where there is none, CSV has the text, or nothing for a dash.
    :param strong: whether it is emphasised.
    """

    text: str
    value: str | float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Grid:
    """Columns, rows and notes.

    >>> print(Grid("Scores (%)", (Column("model"), Column("test")), ((Cell("MILES"), Cell("75.1", 0.751)),), notes=("One run.",)))
    Scores (%)
    <BLANKLINE>
    model  test
    ───────────
    MILES  75.1
    <BLANKLINE>
    One run.

    :param title: what the table is, without a full stop.
    :param columns: at least one that is shown, the first of which names the rows.
    :param rows: each with one cell per column.
    :param rules: the positions of the rows that have a line above them.
    :param notes: sentences below the table.
    :param emphasis: what an emphasised cell is, such as ``"best multimodal score"``.
    :param name: what a file with the table is called, without an ending.
    :raises InputError: for a row with another number of cells than there are columns, or no column to show.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    rules: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    emphasis: str = ""
    name: str = "table"

    def __post_init__(self) -> None:
        if not self._shown:
            raise InputError(f"the table {self.title!r} has no column to show: give at least one")
        for position, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise InputError(f"row {position} of the table {self.title!r} has {len(row)} cells for {len(self.columns)} columns")

    @property
    def _shown(self) -> list[int]:
        return [position for position, column in enumerate(self.columns) if column.shown]

    @property
    def _left(self) -> frozenset[int]:
        """The positions, among the shown columns, of those at the left."""
        return frozenset(place for place, position in enumerate(self._shown) if place == 0 or self.columns[position].left)

    @property
    def _groups(self) -> list[str]:
        return [clean(self.columns[position].group) for position in self._shown]

    @property
    def _spans(self) -> list[tuple[str, int]]:
        """The groups from left to right with how many columns each is over; a column without a group is by itself."""
        places = range(len(self._groups))
        runs = itertools.groupby(places, lambda place: self._groups[place] or place)
        found = [list(members) for _, members in runs]
        return [(self._groups[members[0]], len(members)) for members in found]

    @property
    def explanations(self) -> tuple[str, ...]:
        """What columns mean, and the notes."""
        meant = {column.name: column.meaning for column in self.columns if column.shown and column.meaning}
        meanings = ["; ".join(f"{name}: {meaning}" for name, meaning in meant.items()) + "."] if meant else []
        return tuple(clean(note) for note in (*meanings, *self.notes))

    def _shown_cells(self) -> tuple[list[str], list[list[Cell]]]:
        names = [clean(self.columns[position].name) for position in self._shown]
        return names, [[row[position] for position in self._shown] for row in self.rows]

    def text(self, width: int = 80) -> str:
        """Return the table for a terminal; columns that do not fit the width follow in further blocks below, long texts in further lines.

        :param width: the number of character cells of a line, at least 40.
        """
        width = max(width, LEAST_WIDTH)
        names, rows = self._shown_cells()
        # The first column leads every block, so half the line is left for the others.
        limits = [width // 2 - 2, *[width - width // 2] * (len(names) - 1)] if len(names) > 1 else [width]
        body: list[list[str]] = []
        rules = set()
        for position, row in enumerate(rows):
            if position in self.rules:
                rules.add(len(body))
            body += self._lines_of(row, limits)
        header = [terminal.fit(name, limit) for name, limit in zip(names, limits, strict=True)]
        headers = [header, [name.replace(" ", "\n", 1) for name in header]]
        lines = [clean(self.title), ""]
        lines += terminal.lay_out(headers, body, rules, width=width, groups=self._groups, left=self._left)
        starred = any(cell.strong for row in rows for cell in row)
        lines += [f"* {clean(self.emphasis)}."] if starred and self.emphasis else []
        lines += self.explanations
        return "\n".join(terminal.fit(part, width) for line in lines for part in terminal.wrap(line, width).split("\n")).rstrip("\n")

    def __str__(self) -> str:
        return self.text()

    def _lines_of(self, row: Sequence[Cell], limits: Sequence[int]) -> list[list[str]]:
        """Return a row as lines: a text that is longer than its limit goes on below, a number is cut."""
        columns = []
        for place, (cell, limit) in enumerate(zip(row, limits, strict=True)):
            shown = f"*{clean(cell.text)}" if cell.strong else clean(cell.text)
            parts = terminal.wrap(shown, limit).split("\n") if place in self._left else [shown]
            columns.append([terminal.fit(part, limit) for part in parts])
        return [list(line) for line in itertools.zip_longest(*columns, fillvalue="")]

    def markdown(self) -> str:
        """Return the table in Markdown (pipes), emphasised cells in bold."""
        names, rows = self._shown_cells()
        grouped = [f"{name} ({group})" if group else name for name, group in zip(names, self._groups, strict=True)]
        lines = [[as_markdown(name) for name in grouped], ["---" if place in self._left else "---:" for place in range(len(names))]]
        for row in rows:
            cells = [as_markdown(clean(cell.text)) for cell in row]
            lines.append([f"**{text}**" if cell.strong else text for cell, text in zip(row, cells, strict=True)])
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        notes = "".join(f" {as_markdown(note)}" for note in self.explanations)
        return f"{table}\n\n{as_markdown(clean(self.title))}.{notes}\n"

    def latex(self) -> str:
        r"""Return the table as a ``tabular`` for LaTeX, emphasised cells in bold.

        The document needs ``\usepackage{booktabs}``. Title and notes stand in comments above, for the caption.
        """
        names, rows = self._shown_cells()
        body = []
        for row in rows:
            cells = [latex.escape(clean(cell.text)) for cell in row]
            body.append([rf"\textbf{{{text}}}" if cell.strong else text for cell, text in zip(row, cells, strict=True)])
        comment = " ".join([f"{clean(self.title)}.", *self.explanations])
        spans = [(latex.escape(name), count) for name, count in self._spans]
        return latex.tabular([latex.escape(name) for name in names], body, self.rules, comment, left=self._left, groups=spans)

    def csv(self) -> str:
        """Return the table for programs: numbers in full precision, empty where there is none, and the columns that are not shown."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(clean(column.name if column.key is None else column.key) for column in self.columns)
        writer.writerows([_raw(cell) for cell in row] for row in self.rows)
        return buffer.getvalue()

    def html(self) -> str:
        """Return a ``<table>`` with a caption and headers, emphasised cells in ``<strong>``; every name is escaped."""
        names, rows = self._shown_cells()
        caption = " ".join([f"{clean(self.title)}.", *self.explanations])
        parts = [f'<table class="scores"><caption>{html.escape(caption)}</caption>', f"<thead>{self._html_header(names)}</thead>"]
        starts = sorted({0, *(position for position in self.rules if 0 < position < len(rows))})
        for start, end in itertools.pairwise([*starts, len(rows)]):
            lines = [self._html_row(row) for row in rows[start:end]]
            if lines:
                parts.append(f"<tbody>{''.join(lines)}</tbody>")
        return "\n".join([*parts, "</table>"])

    def _html_header(self, names: Sequence[str]) -> str:
        cells = [self._html_cell("th", html.escape(name), place, scope="col") for place, name in enumerate(names)]
        if not any(self._groups):
            return f"<tr>{''.join(cells)}</tr>"
        above, below, place = [], [], 0
        for name, count in self._spans:
            if name:
                above.append(f'<th class="split" scope="colgroup" colspan="{count}">{html.escape(name)}</th>')
                below += cells[place : place + count]
            else:
                above.append(self._html_cell("th", html.escape(names[place]), place, scope="col", rowspan="2"))
            place += count
        return f"<tr>{''.join(above)}</tr><tr>{''.join(below)}</tr>"

    def _html_row(self, row: Sequence[Cell]) -> str:
        texts = [html.escape(clean(cell.text)) for cell in row]
        texts = [f"<strong>{text}</strong>" if cell.strong else text for cell, text in zip(row, texts, strict=True)]
        cells = [self._html_cell("td", text, place) for place, text in enumerate(texts)]
        return f'<tr><th scope="row">{texts[0]}</th>{"".join(cells[1:])}</tr>'

    def _html_cell(self, tag: str, content: str, place: int, **attributes: str) -> str:
        given = "".join(f' {name}="{value}"' for name, value in attributes.items())
        style = ' style="text-align: left; white-space: normal"' if place in self._left and place else ""
        return f"<{tag}{given}{style}>{content}</{tag}>"


def _raw(cell: Cell) -> str:
    """Return a cell's value for programs."""
    if cell.value is None:
        return "" if cell.text == MISSING else clean(cell.text)
    if isinstance(cell.value, float):
        return repr(cell.value + 0.0) if math.isfinite(cell.value) else ""
    return clean(str(cell.value))
