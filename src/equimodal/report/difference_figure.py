"""Paired differences with their intervals, row by row: what a method adds to a method of reference with the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from equimodal.report.panels import make_panels, settle, shorten
from equimodal.report.style import INK, MODALITY_STYLES
from equimodal.report.svg import drawing
from equimodal.report.words import metric_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Difference", "DifferencePanel", "differences_with_intervals"]

WIDTHS = {1: 4.2, 2: 4.6}
CLEAR_COLOR, UNCLEAR_COLOR = MODALITY_STYLES[0].color, "#8c8c8c"


@dataclass(frozen=True)
class Difference:
    """A method's score minus that of the reference.

    :param label: the method's name.
    :param mean: the mean difference, as a fraction.
    :param low: the lower end of its interval; None where it has none.
    :param high: the upper end of its interval.
    """

    label: str
    mean: float
    low: float | None
    high: float | None

    @property
    def is_clear(self) -> bool:
        """Whether its interval leaves zero out."""
        return self.low is not None and self.high is not None and (self.low > 0.0 or self.high < 0.0)


@dataclass(frozen=True)
class DifferencePanel:
    """Differences that are to be compared."""

    title: str
    rows: Sequence[Difference]


def differences_with_intervals(panels: Sequence[DifferencePanel], metric: str, reference: str, *, columns: int = 2) -> Figure:
    """Draw the mean paired difference of each method to a method of reference, with its interval.

    Intervals that leave zero out are in colour; of the others nothing is said with certainty.

    :param panels: at least one; all on one scale.
    :param metric: the metric's name.
    :param reference: the label of the method that all are compared with.
    :param columns: 2 for panels side by side, 1 for panels below each other.
    :raises MissingDependency: without matplotlib.
    """
    columns = max(1, min(columns, len(panels), 2))
    longest = max(len(panel.rows) for panel in panels)
    with drawing():
        figure, drawn = make_panels(len(panels), columns, (WIDTHS[columns], 0.9 + 0.24 * longest), above=0.1, share_x=True)
        for axes, panel in zip(drawn, panels, strict=True):
            _rows(axes, panel, longest)
            axes.set_xlabel(f"difference in {metric_name(metric)} to {shorten(reference, 24)} (points)")
            axes.tick_params(axis="x", labelbottom=True)
        settle(figure)
    return figure


def _rows(axes: Axes, panel: DifferencePanel, longest: int) -> None:
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.axvline(0.0, color=INK, alpha=0.6, linewidth=1.0, zorder=1.5)
    for place, row in enumerate(panel.rows):
        color = CLEAR_COLOR if row.is_clear else UNCLEAR_COLOR
        if row.low is not None and row.high is not None:
            axes.plot([100.0 * row.low, 100.0 * row.high], [place, place], color=color, linewidth=1.6, zorder=2.5)
        marker = "o" if row.is_clear else "s"
        axes.plot([100.0 * row.mean], [place], linestyle="", marker=marker, markersize=5.5, markeredgewidth=0.0, color=color, zorder=3.0)
    axes.set_yticks(range(len(panel.rows)), [shorten(row.label, 22) for row in panel.rows])
    axes.set_ylim(longest - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.set_title(shorten(panel.title, 44))
