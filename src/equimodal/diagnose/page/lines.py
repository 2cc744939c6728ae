"""Plots of lines over epochs or shares, and of confidence against accuracy: one mark per place, which tells all values there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from equimodal.diagnose.page.numbers import DASH, Axis, Numbers, text
from equimodal.diagnose.page.rows import ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equimodal.diagnose.quantities import Bin, Interval

__all__ = ["MARKERS", "Series", "line_plot", "line_swatch", "reliability_plot", "table"]

MARKERS = (
    '<circle r="3.6"/>',
    '<rect x="-3.4" y="-3.4" width="6.8" height="6.8"/>',
    '<path d="M0 -4.4L4.2 3.2H-4.2Z"/>',
    '<path d="M0 -4.6L4.6 0L0 4.6L-4.6 0Z"/>',
    '<path d="M0 4.4L4.2 -3.2H-4.2Z"/>',
    '<path d="M-1.5 -4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5V-1.5H-1.5Z"/>',
)
DASHES = ("", "8 3", "8 3 2 3", "2 3", "12 4", "5 3")
_MARKED = 16
"""Lines of more points than this have no markers."""


@dataclass(frozen=True)
class Series:
    """A line.

    :param color: a class of the palette.
    :param points: one for each place; None where there is none.
    """

    name: str
    color: str
    points: tuple[Interval | None, ...]

    @property
    def look(self) -> int:
        """The number of its dashes and marker: those of its colour."""
        return int(self.color[1:]) if self.color[1:].isdigit() else 0


def line_plot(series: Sequence[Series], places: Sequence[float], x: Axis, y: Axis, numbers: Numbers, *, name: str, unit: str) -> str:
    """Return lines over common places.

    :param places: of the points, in units of the horizontal scale.
    :param x: the horizontal scale.
    :param y: the vertical scale.
    :param numbers: writes values.
    :param name: what it shows, for screen readers.
    :param unit: what the places are, such as ``"epoch"``.
    """
    bands = "".join(_band(one, places, x, y) for one in series)
    lines = "".join(_line(one, places, x, y) for one in series)
    marked = len(places) <= _MARKED
    dots = "".join(_dots(one, places, x, y) for one in series if marked or sum(point is not None for point in one.points) < 2)
    inner = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%" overflow="visible">{bands}{lines}</svg>'
    marks = "".join(_place(number, series, places, x, numbers, unit) for number in range(len(places)))
    body = f"{_grid(y)}{inner}{dots}{marks}"
    return _framed(body, x, y, name, unit)


def line_swatch(color: str) -> str:
    """Return a small sample of a line."""
    number = int(color[1:]) if color[1:].isdigit() else 0
    width = 3 if color == "cm" else 2
    return (
        f'<svg class="swatch {color}" style="width:34px;height:16px" aria-hidden="true"><line x1="0" x2="34" y1="8" y2="8"'
        f' stroke="currentColor" stroke-width="{width}" stroke-dasharray="{DASHES[number % len(DASHES)]}"/>'
        f'<g transform="translate(17 8)" fill="currentColor">{MARKERS[number % len(MARKERS)]}</g></svg>'
    )


def reliability_plot(bins: Sequence[Bin], color: str, x: Axis, y: Axis, *, name: str, unit: str, total: int) -> str:
    """Return accuracy against confidence, bin by bin, with the diagonal on which a head is as often right as it is sure."""
    width = 100 / max(len(bins), 1)
    bars, dots, marks = [], [], []
    filled = [place for place, one in enumerate(bins) if one.count and one.accuracy is not None and one.confidence is not None]
    for place in filled:
        one = bins[place]
        assert one.accuracy is not None
        assert one.confidence is not None
        high = y.place(one.accuracy)
        share = one.count / max(total, 1)
        bars.append(f'<rect x="{place * width + 0.6:.2f}" width="{width - 1.2:.2f}" y="{100 - high:.2f}" height="{high:.2f}"/>')
        dots.append(
            f'<circle cx="{x.place(one.confidence)}%" cy="{100 - high:.2f}%" r="{2.5 + 6 * share**0.5:.1f}"'
            ' fill="currentColor" stroke="var(--paper)"/>'
        )
        ends = f"{100 * place / len(bins):.0f} to {100 * (place + 1) / len(bins):.0f}"
        said = (
            f"Sure by {ends} %; mean confidence {100 * one.confidence:.1f} %; right in {100 * one.accuracy:.1f} %;"
            f" {one.count:,} of {total:,} answers"
        )
        marks.append(_hit(place * width, width, said, first=place == filled[0]))
    inner = (
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%">'
        f'<g fill="currentColor" fill-opacity=".25">{"".join(bars)}</g>'
        '<line class="chance" x1="0" y1="100" x2="100" y2="0" vector-effect="non-scaling-stroke"/></svg>'
    )
    body = f'{_grid(y)}<g class="{color}">{inner}{"".join(dots)}</g>{"".join(marks)}'
    return _framed(body, x, y, name, unit, extra=" square")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> str:
    """Return numbers as a table that scrolls sideways where it must."""
    top = "".join(f'<th scope="col">{text(cell)}</th>' if cell else "<td></td>" for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{text(first)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{text(name)}" tabindex="0"><table class="scores"><thead><tr>{top}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _framed(body: str, x: Axis, y: Axis, name: str, unit: str, extra: str = "") -> str:
    vertical = "".join(
        f'<text x="100%" y="{100 - y.place(value)}%" dy=".35em" text-anchor="end">{text(said)}</text>' for value, said in y.ticks
    )
    return (
        f'<div class="lines{extra}" data-plot><svg class="y-axis" aria-hidden="true">{vertical}</svg>'
        f'<svg class="plot" role="group" aria-label="{text(name)}">{body}</svg>'
        f'<svg class="x-axis" aria-hidden="true">{ticks(x)}</svg><p class="unit">{text(unit)}</p></div>'
    )


def _grid(y: Axis) -> str:
    return "".join(
        f'<line class="{"zero" if value == 0 else "grid"}" x1="0" x2="100%" y1="{100 - y.place(value)}%" y2="{100 - y.place(value)}%"/>'
        for value, _ in y.ticks
    )


def _line(series: Series, places: Sequence[float], x: Axis, y: Axis) -> str:
    known = [(place, point.value) for place, point in zip(places, series.points, strict=True) if point and point.value is not None]
    points = " ".join(f"{x.place(place)},{100 - y.place(value):.2f}" for place, value in known)
    return (
        f'<polyline class="{series.color}" points="{points}" fill="none" stroke="currentColor"'
        f' stroke-width="{3 if series.color == "cm" else 2}" stroke-dasharray="{DASHES[series.look % len(DASHES)]}"'
        ' vector-effect="non-scaling-stroke"/>'
    )


def _band(series: Series, places: Sequence[float], x: Axis, y: Axis) -> str:
    known = [
        (x.place(place), 100 - y.place(point.low), 100 - y.place(point.high))
        for place, point in zip(places, series.points, strict=True)
        if point and point.low is not None and point.high is not None
    ]
    if len(known) < 2:
        return ""
    outline = [f"{place},{high:.2f}" for place, _, high in known] + [f"{place},{low:.2f}" for place, low, _ in reversed(known)]
    return f'<polygon class="{series.color}" points="{" ".join(outline)}" fill="currentColor" fill-opacity=".14"/>'


def _dots(series: Series, places: Sequence[float], x: Axis, y: Axis) -> str:
    return "".join(
        f'<svg class="{series.color}" x="{x.place(place)}%" y="{100 - y.place(point.value):.2f}%" overflow="visible" fill="currentColor">'
        f"{MARKERS[series.look % len(MARKERS)]}</svg>"
        for place, point in zip(places, series.points, strict=True)
        if point and point.value is not None
    )


def _place(number: int, series: Sequence[Series], places: Sequence[float], x: Axis, numbers: Numbers, unit: str) -> str:
    """Return what is under the pointer around one place: from halfway to the one before to halfway to the next."""
    centres = [x.place(place) for place in places]
    middles = [0.0, *((one + other) / 2 for one, other in pairwise(centres)), 100.0]
    said = [f"{unit} {places[number]:g}"]
    for one in series:
        point = one.points[number]
        said.append(f"{one.name} {DASH if point is None else numbers.interval(point)}")
    return _hit(middles[number], middles[number + 1] - middles[number], "; ".join(said), first=number == 0, line=centres[number])


def _hit(start: float, width: float, said: str, *, first: bool, line: float | None = None) -> str:
    across = "" if line is None else f'<line x1="{line}%" x2="{line}%" y1="0" y2="100%"/>'
    return (
        f'<g class="hit" role="img" tabindex="{0 if first else -1}" data-mark aria-label="{text(said)}">'
        f'<rect x="{start:.2f}%" width="{max(width, 0.0):.2f}%" y="0" height="100%"/>{across}</g>'
    )
