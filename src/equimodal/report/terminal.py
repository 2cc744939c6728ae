"""Tables for a terminal: columns as wide as their cells, dealt out to blocks where one line cannot hold them all."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

__all__ = ["fit", "lay_out", "wrap"]

GAP = 2
"""Cells between two columns."""


def lay_out(
    headers: Sequence[Sequence[str]], body: Sequence[Sequence[str]], rules: Collection[int], *, width: int, together: int = 0
) -> list[str]:
    """Return the lines of a table; after each block, whose first column is the table's first one, stands an empty line.

    :param headers: one header or several that say the same, of which the first is taken that fits the width in the fewest blocks. A name
        may have two lines.
    :param body: the rows, without line breaks.
    :param rules: the positions of the rows that have a line above them.
    :param width: the number of character cells of a line.
    :param together: how many columns at the end stay in one block, where they fit.
    """
    layouts = [_layout(header, body, width, together) for header in headers]
    header, widths, blocks = min(layouts, key=lambda layout: _badness(layout[1], layout[2], width))
    lines = []
    for columns in blocks:
        rule = "─" * _width_of(columns, widths)
        lines += [_line(names, columns, widths) for names in header if any(names[column] for column in columns)]
        lines.append(rule)
        for position, row in enumerate(body):
            if position in rules:
                lines.append(rule)
            lines.append(_line(row, columns, widths))
        lines.append("")
    return lines


Layout = tuple[list[list[str]], list[int], list[list[int]]]


def _layout(names: Sequence[str], body: Sequence[Sequence[str]], width: int, together: int) -> Layout:
    """Return the lines of the header, names standing on the last of them, the widths of the columns, and the columns of each block."""
    parts = [name.split("\n") for name in names]
    height = max(map(len, parts))
    header = [[""] * (height - len(part)) + part for part in parts]
    widths = [max(_cells_of(text) for text in (*lines, *(row[column] for row in body))) for column, lines in enumerate(header)]
    return [list(line) for line in zip(*header, strict=True)], widths, _blocks(widths, width, together)


def _badness(widths: Sequence[int], blocks: Sequence[Sequence[int]], width: int) -> tuple[bool, int]:
    return any(_width_of(columns, widths) > width for columns in blocks), len(blocks)


def _width_of(columns: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[column] for column in columns) + GAP * (len(columns) - 1)


def _blocks(widths: Sequence[int], width: int, together: int) -> list[list[int]]:
    """Deal the columns out to blocks that fit the width, the first column leading each."""
    columns = list(range(1, len(widths)))
    if together and _width_of([0, *columns[-together:]], widths) <= width:
        parts = [*([column] for column in columns[:-together]), columns[-together:]]
    else:
        parts = [[column] for column in columns]
    blocks = [[0]]
    for part in parts:
        if _width_of([*blocks[-1], *part], widths) > width and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1] += part
    return blocks


def _line(cells: Sequence[str], columns: Sequence[int], widths: Sequence[int]) -> str:
    parts = []
    for column in columns:
        space = " " * (widths[column] - _cells_of(cells[column]))
        parts.append(cells[column] + space if column == 0 else space + cells[column])
    return (" " * GAP).join(parts).rstrip()


def _cells_of(text: str) -> int:
    """Return the number of character cells that a terminal gives the text: two for wide letters, none for combining marks."""
    return sum(0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def fit(text: str, cells: int) -> str:
    """Return the text, cut where it needs more character cells.

    >>> fit("joint", 5), fit("jointly", 5)
    ('joint', 'join…')
    """
    if _cells_of(text) <= cells:
        return text
    while _cells_of(text) > cells - 1:
        text = text[:-1]
    return f"{text.rstrip()}…"


def wrap(line: str, width: int) -> str:
    r"""Break a line of text between words; rules stay as they are.

    >>> wrap("one two three", 8)
    'one two\nthree'
    """
    if _cells_of(line) <= width or set(line) == {"─"}:
        return line
    words, lines = line.split(" "), [""]
    for word in words:
        if lines[-1] and _cells_of(f"{lines[-1]} {word}") > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".lstrip() if lines[-1] or word else lines[-1]
    return "\n".join(lines)
