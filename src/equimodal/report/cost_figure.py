"""What scores cost: methods as named points, and the front that no other method is both cheaper and better than."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from equimodal.errors import require
from equimodal.report.panels import add_legend, log_scale, make_panels, settle, shorten
from equimodal.report.placing import Box, place_labels
from equimodal.report.style import INK, MODALITY_STYLES
from equimodal.report.svg import drawing
from equimodal.report.words import metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from equimodal.report.intervals import Estimate

__all__ = ["CostPanel", "CostPoint", "cost_against_score", "pareto_front"]

PANEL = (4.6, 3.4)
NARROW_PANEL = (4.2, 3.6)
POINT_COLOR = MODALITY_STYLES[0].color


@dataclass(frozen=True)
class CostPoint:
    """One method.

    :param label: its name.
    :param cost: what it takes, as a multiple of the method of reference.
    :param score: its score as a fraction, with its interval where it has one.
    """

    label: str
    cost: float
    score: Estimate


@dataclass(frozen=True)
class CostPanel:
    """Methods that are to be compared.

    :param title: what the costs cover, in a few words.
    :param axis: what the horizontal axis has, such as ``"seconds of one run, × Joint"``.
    :param points: the methods.
    """

    title: str
    axis: str
    points: Sequence[CostPoint]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the positions of the pairs of cost and score that no other is at least as good as in both, from the cheapest on.

    >>> pareto_front([(1.0, 0.9), (2.0, 0.8), (1.0, 0.8), (3.0, 0.95)])
    [0, 3]
    """
    front: list[int] = []
    for position in sorted(range(len(points)), key=lambda position: (points[position][0], -points[position][1], position)):
        if not front or points[position][1] > points[front[-1]][1]:
            front.append(position)
    return front


def cost_against_score(panels: Sequence[CostPanel], metric: str, *, split: str = "Test", columns: int = 2) -> Figure:
    """Draw what each method costs against what it scores, with intervals, and join those that are worth their cost.

    A method on the front is filled: none of the others is cheaper and scores as well. Names stand beside their points, moved
    away with a line where there is no room.

    :param panels: at least one, with at least one point each.
    :param metric: the metric's name.
    :param split: the split of the scores, as it reads in front of the metric.
    :param columns: the number of panels side by side.
    :raises MissingDependency: without matplotlib.
    """
    with drawing():
        figure, drawn = make_panels(len(panels), columns, PANEL if columns > 1 else NARROW_PANEL, above=0.5)
        entries: dict[str, Artist] = {}
        for axes, panel in zip(drawn, panels, strict=True):
            entries |= _points(axes, panel)
            axes.set_title(shorten(panel.title, 52))
            axes.set_xlabel(panel.axis)
            _scale(axes, panel)
        for axes in drawn[:: max(1, min(columns, len(drawn)))]:
            axes.set_ylabel(f"{split} {metric_name(metric)} (%)")
        add_legend(figure, entries)
        settle(figure)
        for axes, panel in zip(drawn, panels, strict=True):
            _names(figure, axes, panel)
    return figure


def _points(axes: Axes, panel: CostPanel) -> dict[str, Artist]:
    front = pareto_front([(point.cost, point.score.mean) for point in panel.points])
    steps = [panel.points[position] for position in front]
    entries: dict[str, Artist] = {}
    (line,) = axes.step(
        [*(point.cost for point in steps), max(point.cost for point in panel.points)],
        [100.0 * value for value in (*(point.score.mean for point in steps), steps[-1].score.mean)],
        where="post",
        color=POINT_COLOR,
        alpha=0.45,
        linewidth=1.4,
        marker="o",
        markersize=6.0,
        markevery=list(range(len(steps))),
        markeredgewidth=0.0,
        zorder=2.5,
    )
    # The dots of the line only show in the legend: those of the points lie upon them.
    entries["cheapest for its score"] = line
    for position, point in enumerate(panel.points):
        inside = position in front
        mean = 100.0 * point.score.mean
        if point.score.half_width is not None:
            half = 100.0 * point.score.half_width
            axes.plot([point.cost] * 2, [mean - half, mean + half], color=INK, alpha=0.35, linewidth=1.1, zorder=2.2)
        (dot,) = axes.plot(
            [point.cost],
            [mean],
            linestyle="",
            marker="o",
            markersize=6.0,
            markeredgewidth=1.3,
            markeredgecolor=POINT_COLOR if inside else "#8c8c8c",
            markerfacecolor=POINT_COLOR if inside else "none",
            zorder=3.0,
        )
        if not inside:
            entries["other methods"] = dot
    return entries


def _scale(axes: Axes, panel: CostPanel) -> None:
    ticker = require("matplotlib.ticker", extra="plots")
    costs = [point.cost for point in panel.points]
    low, high = min(costs), max(costs)
    if low > 0.0 and high > 2.5 * low:
        log_scale(axes, low, high, 0.1)
        axes.set_xlim(right=high * (high / low) ** 0.22)
    else:
        room = max(high - low, 0.1)
        axes.set_xlim(low - 0.12 * room, high + 0.25 * room)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:.4g}"))
    ends = [100.0 * (point.score.mean + sign * (point.score.half_width or 0.0)) for point in panel.points for sign in (-1, 1)]
    room = 0.12 * max(max(ends) - min(ends), 1.0)
    axes.set_ylim(min(ends) - room, max(ends) + room)


def _names(figure: Figure, axes: Axes, panel: CostPanel) -> None:
    """Write the names of the points where there is room; the panels must have their final place."""
    names = [shorten(point.label, 24) for point in panel.points]
    scale = 72.0 / figure.dpi

    def in_points(cost: float, score: float) -> tuple[float, float]:
        x, y = axes.transData.transform((cost, 100.0 * score))
        return scale * float(x), scale * float(y)

    places = [in_points(point.cost, point.score.mean) for point in panel.points]
    corners = [places[position] for position in pareto_front([(point.cost, point.score.mean) for point in panel.points])]
    ends = [*(x for x, _ in corners[1:]), max(x for x, _ in places)]
    bars = [Box(x, y - 1.5, end, y + 1.5) for (x, y), end in zip(corners, ends, strict=True)]
    bars += [Box(x - 1.5, y, x + 1.5, above) for (_, y), (x, above) in itertools.pairwise(corners)]
    for point, (x, y) in zip(panel.points, places, strict=True):
        if point.score.half_width:
            end = in_points(point.cost, point.score.mean + point.score.half_width)[1]
            bars.append(Box(x - 1.5, 2.0 * y - end, x + 1.5, end))
    sizes = [_extent(name) for name in names]
    window = axes.get_window_extent()
    frame = Box(*(scale * value for value in (window.x0, window.y0, window.x1, window.y1)))
    labels = place_labels(places, sizes, frame, bars)
    for point, name, (x, y), placed in zip(panel.points, names, places, labels, strict=True):
        box = placed.box
        middle = ((box.left + box.right) / 2 - x, (box.bottom + box.top) / 2 - y)
        axes.annotate(
            name,
            xy=(point.cost, 100.0 * point.score.mean),
            xytext=middle,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8.5,
            zorder=4.0,
            arrowprops={"arrowstyle": "-", "color": INK, "alpha": 0.4, "linewidth": 0.7, "shrinkA": 1.0, "shrinkB": 4.0}
            if placed.is_far
            else None,
        )


def _extent(name: str) -> tuple[float, float]:
    """Return width and height of a name in points."""
    text_path = require("matplotlib.textpath", extra="plots")
    font = require("matplotlib.font_manager", extra="plots").FontProperties(family="DejaVu Sans", size=8.5)
    width, _, _ = text_path.text_to_path.get_text_width_height_descent(name, font, ismath=False)
    return math.ceil(width) + 2.0, 11.0
