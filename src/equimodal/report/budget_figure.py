"""The score that a search of a given size can be expected to select: one small panel per method, all on one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from equimodal.errors import require
from equimodal.report.panels import add_legend, make_panels, settle, shorten
from equimodal.report.style import INK, MODALITY_STYLES
from equimodal.report.svg import drawing
from equimodal.report.words import metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BudgetCurve", "budget_curves"]

WIDTH, NARROW_WIDTH, HEIGHT = 9.2, 4.2, 1.7
BAND_COLOR = MODALITY_STYLES[0].color
TICKS = (1, 2, 3, 5, 10, 20, 40, 80, 160, 320, 640)


@dataclass(frozen=True)
class BudgetCurve:
    """What a search of one method can be expected to select, by its size.

    :param label: the method's name.
    :param expected: the expected score of the best of 1, 2, … trials, as fractions.
    :param low: the lower end of its band; None where that is a search in which every trial fails.
    :param high: the upper end of its band.
    """

    label: str
    expected: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]


def budget_curves(
    curves: Sequence[BudgetCurve], metric: str, *, split: str = "Validation", reference: str | None = None, columns: int = 4
) -> Figure:
    """Draw score against search budget: the expected best of k trials, with the band it falls into, for each method.

    Each panel has one method in colour, the others in grey and the method of reference dashed, so that methods are compared at the same
    number of trials instead of with whatever each was given.

    :param curves: one per method, in the order of the panels; at least one.
    :param metric: the metric's name.
    :param split: the split of the scores, as it reads in front of the metric.
    :param reference: the label of the method that is dashed in every panel.
    :param columns: the number of panels side by side.
    :raises MissingDependency: without matplotlib.
    """
    with drawing():
        figure, panels = make_panels(
            len(curves), columns, (WIDTH / columns if columns > 2 else NARROW_WIDTH / 2, HEIGHT), above=0.7, share_x=True, share_y=True
        )
        entries: dict[str, Artist] = {}
        for axes, own in zip(panels, curves, strict=True):
            entries |= _panel(axes, own, curves, reference)
        _scale(panels, curves)
        figure.supylabel(f"{split} {metric_name(metric)} (%)", fontsize=9.0)
        figure.supxlabel("trials searched", fontsize=9.0)
        add_legend(figure, entries)
        settle(figure)
    return figure


def _panel(axes: Axes, own: BudgetCurve, curves: Sequence[BudgetCurve], reference: str | None) -> dict[str, Artist]:
    others: Artist | None = None
    dashed: Artist | None = None
    for other in curves:
        if other.label == reference:
            (dashed,) = axes.plot(*_points(other), color=INK, alpha=0.8, linewidth=1.2, linestyle=(0, (4.0, 2.0)), zorder=2.5)
        elif other is not own:
            (others,) = axes.plot(*_points(other), color=INK, alpha=0.18, linewidth=0.8, zorder=2.0)
    sizes = range(1, len(own.expected) + 1)
    band = axes.fill_between(sizes, _percent(own.low), _percent(own.high), color=BAND_COLOR, alpha=0.18, linewidth=0.0, zorder=2.2)
    marker = "o" if len(own.expected) == 1 else ""
    (line,) = axes.plot(*_points(own), color=BAND_COLOR, linewidth=2.0, marker=marker, markersize=4.5, zorder=3.0)
    axes.set_title(shorten(own.label, 24), fontsize=9.0)
    entries: dict[str, Artist] = {"expected best": line, "where 90 % fall": band}
    if dashed is not None and reference is not None:
        entries[reference] = dashed
    return entries if others is None else {**entries, "others": others}


def _points(curve: BudgetCurve) -> tuple[list[int], list[float]]:
    return list(range(1, len(curve.expected) + 1)), _percent(curve.expected)


def _percent(values: Sequence[float | None]) -> list[float]:
    """Return percentages; a search without any success has nothing, which is 0."""
    return [100.0 * (value or 0.0) for value in values]


def _scale(panels: Sequence[Axes], curves: Sequence[BudgetCurve]) -> None:
    ticker = require("matplotlib.ticker", extra="plots")
    longest = max(len(curve.expected) for curve in curves)
    for axes in panels:
        axes.set_xscale("log")
        axes.set_xlim(0.92, max(longest, 2) * 1.09)
        axes.xaxis.set_major_locator(ticker.FixedLocator(_ticks(longest)))
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:.0f}"))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.yaxis.set_major_locator(ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.tick_params(axis="x", labelbottom=True)
    # How low a single trial may fall would press the curves together: a band may leave the panel below.
    low = min(min(curve.expected) for curve in curves)
    high = max(value for curve in curves for value in (*curve.high, *curve.expected) if value is not None)
    floor = max(min(value or 0.0 for curve in curves for value in curve.low), low - 0.15 * max(high - low, 0.01))
    room = 0.06 * max(high - floor, 0.01)
    panels[0].set_ylim(100.0 * (floor - room), 100.0 * (high + room))


def _ticks(longest: int) -> list[int]:
    """Return round sizes and the largest one, none so near to the next that their numbers would touch."""
    ticks = [tick for tick in TICKS if tick < 0.8 * longest]
    spread = longest ** (1 / 7)
    kept: list[int] = []
    for tick in ticks:
        if not kept or tick / kept[-1] >= max(spread, 1.3):
            kept.append(tick)
    while len(kept) > 1 and longest / kept[-1] < max(spread, 1.3):
        kept.pop()
    return [*kept, longest] if longest > 1 else [1]
