"""Tables for a terminal: columns as wide as their cells, dealt out to blocks where one line cannot hold them all."""

from __future__ import annotations

import itertools
import textwrap
import unicodedata
from collections.abc import Collection, Sequence

__all__ = ["cells_of", "fit", "lay_out", "paragraph", "wrap"]

GAP = 2
"""Cells between two columns."""


def lay_out(
    headers: Sequence[Sequence[str]],
    body: Sequence[Sequence[str]],
    rules: Collection[int],
    *,
    width: int,
    together: int = 0,
    groups: Sequence[str] = (),
    left: Collection[int] = (0,),
) -> list[str]:
    """Return the lines of a table; after each block, whose first column is the table's first one, stands an empty line.

    :param headers: one header or several that say the same, of which the first is taken that fits the width in the fewest blocks. A name
        may have two lines.
    :param body: the rows, without line breaks.
    :param rules: the positions of the rows that have a line above them.
    :param width: the number of character cells of a line.
    :param together: how many columns at the end stay in one block, where they fit.
    :param groups: for each column the name above it and its neighbours of the same name, which stay in one block where they fit; empty for
        a column without one. By default none has any.
    :param left: the columns whose cells stand at the left.
    """
    layouts = [_layout(header, body, width, together, groups) for header in headers]
    header, widths, blocks = min(layouts, key=lambda layout: _badness(layout[1], layout[2], width))
    lines = []
    for columns in blocks:
        rule = "─" * _width_of(columns, widths)
        if any(groups[column] for column in columns[1:] if groups):
            lines.append(_group_line(columns, widths, groups))
        lines += [_line(names, columns, widths, left) for names in header if any(names[column] for column in columns)]
        lines.append(rule)
        for position, row in enumerate(body):
            if position in rules:
                lines.append(rule)
            # A row that goes on another one's text may have none in this block.
            if any(row[column] for column in columns):
                lines.append(_line(row, columns, widths, left))
        lines.append("")
    return lines


Layout = tuple[list[list[str]], list[int], list[list[int]]]


def _layout(names: Sequence[str], body: Sequence[Sequence[str]], width: int, together: int, groups: Sequence[str]) -> Layout:
    """Return the lines of the header, names standing on the last of them, the widths of the columns, and the columns of each block."""
    stacks = [name.split("\n") for name in names]
    height = max(map(len, stacks))
    header = [[""] * (height - len(stack)) + stack for stack in stacks]
    widths = [max(cells_of(text) for text in (*lines, *(row[column] for row in body))) for column, lines in enumerate(header)]
    parts = _parts(widths, width, together, groups)
    for part in parts:
        # A group's name has room above its columns, where the line has it.
        lacking = cells_of(_titled(groups[part[0]])) - _width_of(part, widths) if groups and groups[part[0]] else 0
        if lacking > 0 and _width_of([0, *part], widths) + lacking <= width:
            for place in range(lacking):
                widths[part[place % len(part)]] += 1
    return [list(line) for line in zip(*header, strict=True)], widths, _blocks(parts, widths, width)


def _badness(widths: Sequence[int], blocks: Sequence[Sequence[int]], width: int) -> tuple[bool, int]:
    return any(_width_of(columns, widths) > width for columns in blocks), len(blocks)


def _width_of(columns: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[column] for column in columns) + GAP * (len(columns) - 1)


def _parts(widths: Sequence[int], width: int, together: int, groups: Sequence[str]) -> list[list[int]]:
    """Return the columns behind the first one, in parts that stay in one block."""
    columns = list(range(1, len(widths)))
    if groups:
        found = [list(members) for _, members in itertools.groupby(columns, lambda column: groups[column] or column)]
        return [part for members in found for part in _chunks(members, widths, width)]
    if together and _width_of([0, *columns[-together:]], widths) <= width:
        return [*([column] for column in columns[:-together]), columns[-together:]]
    return [[column] for column in columns]


def _chunks(members: Sequence[int], widths: Sequence[int], width: int) -> list[list[int]]:
    """Return the columns of a group in as few parts as fit behind the first column."""
    chunks: list[list[int]] = [[]]
    for column in members:
        if chunks[-1] and _width_of([0, *chunks[-1], column], widths) > width:
            chunks.append([])
        chunks[-1].append(column)
    return chunks


def _blocks(parts: Sequence[Sequence[int]], widths: Sequence[int], width: int) -> list[list[int]]:
    """Deal the columns out to blocks that fit the width, the first column leading each."""
    blocks = [[0]]
    for part in parts:
        if _width_of([*blocks[-1], *part], widths) > width and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1] += part
    return blocks


def _group_line(columns: Sequence[int], widths: Sequence[int], groups: Sequence[str]) -> str:
    """Return the line with the names of groups, each drawn out over its columns."""
    parts = []
    for name, members in itertools.groupby(columns, lambda column: groups[column]):
        room = _width_of(list(members), widths)
        text = fit(_titled(name), room) if name else ""
        parts.append(text + ("─" if name else " ") * (room - cells_of(text)))
    return (" " * GAP).join(parts).rstrip()


def _titled(group: str) -> str:
    return f"─ {group} ─"


def _line(cells: Sequence[str], columns: Sequence[int], widths: Sequence[int], left: Collection[int]) -> str:
    parts = []
    for column in columns:
        space = " " * (widths[column] - cells_of(cells[column]))
        parts.append(cells[column] + space if column in left else space + cells[column])
    return (" " * GAP).join(parts).rstrip()


def cells_of(text: str) -> int:
    """Return the number of character cells that a terminal gives the text: two for wide letters, none for combining marks."""
    return sum(0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def fit(text: str, cells: int) -> str:
    """Return the text, cut where it needs more character cells.

    >>> fit("joint", 5), fit("jointly", 5)
    ('joint', 'join…')
    """
    if cells_of(text) <= cells:
        return text
    while cells_of(text) > cells - 1:
        text = text[:-1]
    return f"{text.rstrip()}…"


def paragraph(text: str, width: int = 80) -> list[str]:
    """Return the lines of a text that is broken between words; those after the first stand two cells further in.

    >>> paragraph("  one two three", 9)
    ['  one two', '    three']
    """
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def wrap(line: str, width: int) -> str:
    r"""Break a line of text between words; rules stay as they are.

    >>> wrap("one two three", 8)
    'one two\nthree'
    """
    if cells_of(line) <= width or set(line) == {"─"}:
        return line
    words, lines = line.split(" "), [""]
    for word in words:
        if lines[-1] and cells_of(f"{lines[-1]} {word}") > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".lstrip() if lines[-1] or word else lines[-1]
    return "\n".join(lines)
