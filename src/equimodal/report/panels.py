"""What figures have in common below their content: panels in a grid, a legend above them, and a layout that stays as it is."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from equimodal.errors import require
from equimodal.report.words import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["add_legend", "log_scale", "make_panels", "percentages", "settle", "shorten"]


def make_panels(
    count: int, columns: int, size: tuple[float, float], *, above: float = 0.4, share_x: bool = False, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure with panels row by row.

    :param count: the number of panels.
    :param columns: how many of them stand side by side.
    :param size: width and height of one panel in inches.
    :param above: inches for what stands above the panels.
    :param share_x: whether all panels have one horizontal scale.
    :param share_y: whether all panels have one vertical scale.
    :raises MissingDependency: without matplotlib.
    """
    figure_module = require("matplotlib.figure", extra="plots")
    columns = max(1, min(columns, count))
    rows = math.ceil(count / columns)
    figure: Figure = figure_module.Figure(figsize=(columns * size[0], rows * size[1] + above), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06, wspace=0.06, hspace=0.06)  # type: ignore[union-attr,call-arg]
    grid = figure.subplots(rows, columns, squeeze=False, sharex=share_x, sharey=share_y)
    panels = [axes for row in grid for axes in row]
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels[:count]


def settle(figure: Figure) -> None:
    """Lay the figure out, once: each further run would move the panels a little, and the same figure must always give the same file."""
    figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]
    figure.set_layout_engine("none")


def add_legend(figure: Figure, entries: Mapping[str, Artist]) -> None:
    """Name what is drawn above the panels, row by row, as many entries to a row as fit."""
    names = [shorten(name, 24) for name in entries]
    room = 12.9 * figure.get_figwidth()  # in letters; a line's sample and the space beside it take nine
    per_row = len(names)
    while per_row > 1 and sum(9 + max(map(len, names[column::per_row])) for column in range(per_row)) > room:
        per_row -= 1
    # matplotlib fills columns first.
    order = [position for column in range(per_row) for position in range(column, len(names), per_row)]
    handles = list(entries.values())
    figure.legend(
        [handles[position] for position in order],
        [names[position] for position in order],
        loc="outside upper left",
        ncols=per_row,
        columnspacing=1.4,
        borderpad=0.0,
        borderaxespad=0.4,
    )


def log_scale(axes: Axes, low: float, high: float, apart: float = 0.17) -> None:
    """Give a horizontal axis a logarithmic scale with as many round numbers as fit.

    :param low: the lowest value that is drawn, above 0.
    :param high: the highest one.
    :param apart: the least distance of two numbers, as a share of the axis.
    """
    ticker = require("matplotlib.ticker", extra="plots")
    axes.set_xscale("log")
    room = (high / low) ** 0.06 if high > low else 2.0
    axes.set_xlim(low / room, high * room)
    axes.xaxis.set_major_locator(ticker.FixedLocator(_round_numbers(low / room, high * room, apart)))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _short_number(value)))


def _round_numbers(low: float, high: float, apart: float) -> list[float]:
    """Return the finest of some sets of round numbers whose members lie far enough apart in their logarithm; one where none does.

    >>> _round_numbers(0.0009, 0.011, 0.17), _round_numbers(0.9, 3.2, 0.1)
    ([0.001, 0.002, 0.005, 0.01], [1.0, 1.2, 1.5, 2.0, 2.5, 3.0])
    """
    least = apart * math.log(high / low)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for digits in ((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [value for decade in decades for digit in digits if low <= (value := float(f"{digit}e{decade}")) <= high]
        if len(found) > 1 and all(math.log(after / before) >= least for before, after in itertools.pairwise(found)):
            return found
    return found[:: max(1, math.ceil(least / math.log(10)))] or [low]


def _short_number(value: float) -> str:
    """Return a number as it stands on an axis.

    >>> _short_number(0.0005), _short_number(1e-05), _short_number(20.0)
    ('0.0005', '1e−5', '20')
    """
    digits, _, power = f"{value:g}".partition("e")
    return f"{digits}e{int(power)}".replace("-", "−") if power else digits


def shorten(text: str, length: int) -> str:
    """Return the text with at most so many letters, cut ones shown by an ellipsis.

    >>> shorten("late fusion", 6)
    'late…'
    """
    text = clean(text)
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def percentages(values: Sequence[float | None]) -> list[float | None]:
    """Return fractions in percent; what is undefined stays so."""
    return [None if value is None else 100.0 * value for value in values]
