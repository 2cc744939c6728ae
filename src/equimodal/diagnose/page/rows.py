"""Plots of rows: a label, marks on a scale, and the numbers beside them. They bend to any width, for positions are in percent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from equimodal.diagnose.page.numbers import Axis, aligned, breakable, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equimodal.diagnose.quantities import Interval

__all__ = ["SHAPES", "Mark", "Row", "legend", "panels", "row_plot", "swatch", "ticks"]

LINE = 24
"""Height in pixels of one mark with its number."""
_LETTER, _BETWEEN, _NARROWEST = 7, 10, 180
"""Widths in pixels of a digit, of the space between two numbers, and of a scale on a small telephone."""
_LONG = 20
"""Beside longer numbers a telephone has no room for the plot."""
Shape = Literal["dot", "ring", "bar", "open bar", "none"]
SHAPES = {
    "dot": '<circle r="5.5" fill="currentColor"/>',
    "ring": '<path d="M0 -6L6 0L0 6L-6 0Z" fill="var(--paper)" stroke="currentColor" stroke-width="2"/>',
}
"""Marks around (0, 0): a full circle, and an empty diamond."""


@dataclass(frozen=True)
class Mark:
    """One number of a row.

    :param value: the number with its interval.
    :param color: a class of the palette.
    :param shape: how it is drawn; ``"none"`` is only written.
    :param number: as it is written beside the plot.
    :param strong: whether that is in bold.
    """

    value: Interval
    color: str
    shape: Shape
    number: str
    strong: bool = False


@dataclass(frozen=True)
class Row:
    """A label with its numbers.

    :param said: what hovering and screen readers tell, parts separated by ``"; "``.
    """

    label: str
    marks: tuple[Mark, ...]
    said: str


def row_plot(rows: Sequence[Row], axis: Axis, name: str, *, unit: str = "", line: tuple[float, str] | None = None) -> str:
    """Return a plot of rows on one scale.

    :param name: what it shows, for screen readers.
    :param unit: what stands under the scale.
    :param line: a value across all rows, and what it is, such as the score of chance.
    """
    grid = "".join(
        f'<line class="{"zero" if value == 0 else "grid"}" x1="{axis.place(value)}%" x2="{axis.place(value)}%" y1="0" y2="100%"/>'
        for value, _ in axis.ticks
    )
    if line is not None:
        place = axis.place(line[0])
        grid += f'<line class="chance" x1="{place}%" x2="{place}%" y1="0" y2="100%"/>'
    long = max((len(mark.number) for row in rows for mark in row.marks), default=0) > _LONG
    written = iter(aligned([mark.number for row in rows for mark in row.marks]))
    drawn = "\n".join(_row(row, [next(written) for _ in row.marks], axis, grid, first=not number) for number, row in enumerate(rows))
    chance = "" if line is None else f'<span class="chance-name">{text(line[1])}</span>'
    return (
        f'<div class="rows{" long" if long else ""}" data-plot><div role="list" aria-label="{text(name)}">\n{drawn}\n</div>\n'
        f'<svg class="scale" aria-hidden="true">{ticks(axis)}</svg>'
        f'<p class="unit"><span>{text(unit)}</span>{chance}</p></div>'
    )


def _row(row: Row, written: Sequence[str], axis: Axis, grid: str, *, first: bool) -> str:
    height = LINE * sum(mark.shape != "none" for mark in row.marks)
    marks = "".join(_mark(mark, axis, LINE * (number + 0.5)) for number, mark in enumerate(row.marks))
    numbers = "".join(
        f"<span{' class=strong' if mark.strong else ''}>{text(number)}</span>" for mark, number in zip(row.marks, written, strict=True)
    )
    return (
        f'<div class="row" role="listitem" tabindex="{0 if first else -1}" data-mark aria-label="{text(row.said)}">'
        f'<span class="label">{breakable(row.label)}</span>'
        f'<svg class="track" style="height:{height}px" aria-hidden="true">{grid}{marks}</svg>'
        f'<span class="number">{numbers}</span></div>'
    )


def _mark(mark: Mark, axis: Axis, y: float) -> str:
    value, low, high = mark.value
    if value is None or mark.shape == "none":
        return ""
    parts = []
    place = axis.place(value)
    if mark.shape in ("bar", "open bar"):
        zero = axis.place(min(max(0.0, axis.low), axis.high))
        start, length = min(zero, place), abs(place - zero)
        look = 'fill="currentColor"' if mark.shape == "bar" else 'fill="currentColor" fill-opacity=".22" stroke="currentColor"'
        parts.append(f'<rect x="{start}%" width="{max(length, 0.25):.2f}%" y="{y - 6:g}" height="12" {look}/>')
    if low is not None and high is not None:
        ends = axis.place(low), axis.place(high)
        over = mark.shape == "bar"
        if over:  # a rim in the paper's colour keeps it apart from the bar that it crosses
            parts.append(f'<line class="rim" x1="{ends[0]}%" x2="{ends[1]}%" y1="{y:g}" y2="{y:g}"/>')
        kind = "whisker ink" if mark.shape in ("bar", "open bar") else "whisker"
        parts.append(f'<line class="{kind}" x1="{ends[0]}%" x2="{ends[1]}%" y1="{y:g}" y2="{y:g}"/>')
    if mark.shape in SHAPES:
        parts.append(f'<svg x="{place}%" y="{y:g}" overflow="visible">{SHAPES[mark.shape]}</svg>')
    return f'<g class="{mark.color}">{"".join(parts)}</g>'


def ticks(axis: Axis) -> str:
    """Return the numbers of a horizontal scale; on a telephone every second one of many has to do."""
    drawn = []
    zero = next((number for number, (value, _) in enumerate(axis.ticks) if value == 0), 0)
    crowded = sum(_LETTER * len(name) + _BETWEEN for _, name in axis.ticks) > _NARROWEST
    for number, (value, name) in enumerate(axis.ticks):
        place = axis.place(value)
        # Long numbers would stick out of the page at its edges, and signs into the scale before.
        anchor = "start" if place <= 2 and len(name) > 1 else "end" if place >= 98 and len(name) > 3 else "middle"
        kept = not crowded or number % 2 == zero % 2
        drawn.append(f'<text class="{"tick" if kept else "spare"}" x="{place}%" y="14" text-anchor="{anchor}">{text(name)}</text>')
    return "".join(drawn)


def swatch(color: str, shape: Shape) -> str:
    """Return a small sample of a mark."""
    if shape in SHAPES:
        inside = f'<line class="whisker" x1="1" x2="23" y1="8" y2="8"/><g transform="translate(12 8)">{SHAPES[shape]}</g>'
    else:
        look = 'fill="currentColor"' if shape == "bar" else 'fill="currentColor" fill-opacity=".22" stroke="currentColor"'
        inside = f'<rect x="1" y="3" width="22" height="10" {look}/>'
    return f'<svg class="swatch {color}" style="width:24px;height:16px" aria-hidden="true">{inside}</svg>'


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Return what the marks mean.

    :param entries: samples of marks, as markup, and their names.
    """
    return '<p class="legend">' + "".join(f"<span>{sample}<span>{breakable(name)}</span></span>" for sample, name in entries) + "</p>"


def panels(parts: Sequence[tuple[str, str]], *, columns: int = 3) -> str:
    """Return plots side by side, below one another where there is no room.

    :param parts: the title of each, and its markup.
    :param columns: at most so many side by side.
    """
    drawn = "".join(f'<div class="panel"><p class="panel-name">{breakable(title)}</p>{plot}</div>' for title, plot in parts)
    return f'<div class="panels" style="--count: {min(len(parts), columns)}">{drawn}</div>'
