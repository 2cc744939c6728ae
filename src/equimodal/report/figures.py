"""The figures of a run: learning curves (Figure 1 of the MILES paper), learning dynamics (Figure 2), and simulations.

Each function returns a matplotlib ``Figure`` that stands apart from ``pyplot`` and its global state. ``figure_to_svg`` and ``write_figure``
turn it into text or a file.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from equimodal.errors import require
from equimodal.report.panels import add_legend, make_panels, percentages, settle, shorten
from equimodal.report.records import RunRecord, checked_modalities
from equimodal.report.style import INK, MODALITY_STYLES, MULTIMODAL_STYLE, LineStyle, modality_styles
from equimodal.report.svg import drawing, figure_to_svg, write_figure
from equimodal.report.words import metric_name
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["figure_to_svg", "learning_curves", "learning_dynamics", "plot_simulation", "write_figure"]

PANEL_WIDTH = {1: 4.2, 2: 4.6}
"""Width of one panel in inches, by the number of columns."""

MARKERS_PER_LINE = 12
OTHER_GROUP_STYLE = LineStyle("#8c8c8c", (1.0, 1.0), "", width=1.2)


def learning_curves(
    multimodal_run: RunRecord, unimodal_runs: Sequence[RunRecord] = (), *, modalities: Iterable[str] | None = None, columns: int = 2
) -> Figure:
    """Draw Figure 1: what each modality reaches inside a multimodal model, and what it reaches alone.

    The first panel has the validation score of the multimodal prediction and of each unimodal head inside the multimodal model; the
    second one, on the same scale, the validation score of the independent unimodal models. Epochs without a score leave a gap.

    :param multimodal_run: the run of the multimodal model.
    :param unimodal_runs: runs that trained one modality each; without any the second panel is left out.
    :param modalities: all modalities of the data set; by default those of the runs. They decide the colours.
    :param columns: 2 for panels side by side, 1 for panels below each other.
    :raises MissingDependency: without matplotlib.
    """
    runs = [multimodal_run, *unimodal_runs]
    styles = _styles(modalities, runs)
    metric = metric_name(multimodal_run.metric)
    with drawing():
        figure, panels = _panels(2 if unimodal_runs else 1, columns, share_scale=True)
        lines = _scores(panels[0], multimodal_run, styles)
        _titles(panels[0], f"Inside the multimodal model: {multimodal_run.label}", f"Validation {metric} (%)")
        if unimodal_runs:
            for run in unimodal_runs:
                for name in run.modalities:
                    lines |= {name: _line(panels[1], run.epoch_numbers, percentages(run.series("scores", "val", name)), styles[name])}
            _titles(panels[1], "Each modality trained alone", f"Validation {metric} (%)" if columns == 1 else "")
        _finish(figure, panels, lines, columns)
    return figure


def learning_dynamics(run: RunRecord, tau: float | None = None, *, modalities: Iterable[str] | None = None, columns: int = 2) -> Figure:
    """Draw Figure 2: four panels that show how a run treated its modalities.

    Conditional utilization rate of each modality; utilization gap δ with the threshold τ (shaded where δ lies above it); effective
    learning rate of each parameter group; validation score of each head. Undefined values leave a gap.

    :param run: the run of a multimodal model.
    :param tau: the threshold τ; by default the run's own, and no line where it has none.
    :param modalities: all modalities of the data set; by default those of the run. They decide the colours.
    :param columns: 2 for panels two by two, 1 for panels below each other.
    :raises MissingDependency: without matplotlib.
    """
    styles = _styles(modalities, [run])
    tau = run.tau if tau is None else tau
    epochs = run.epoch_numbers
    with drawing():
        figure, panels = _panels(4, columns)
        lines = _scores(panels[3], run, styles)
        _titles(panels[3], f"Validation {metric_name(run.metric)}", f"{metric_name(run.metric)} (%)")
        _utilization(panels[0], epochs, {name: run.series("utilization", name) for name in styles}, styles)
        _gap(panels[1], epochs, run.series("gap"), tau)
        rates = {name: run.series("learning_rates", name) for name in (MULTIMODAL, *styles, *run.names("learning_rates"))}
        lines |= _learning_rates(panels[2], epochs, rates, styles)
        _finish(figure, panels, lines, columns)
    return figure


def plot_simulation(
    records: Sequence[Mapping[str, Any]], tau: float, modalities: Iterable[str] | None = None, *, columns: int = 1
) -> Figure:
    """Draw what MILES would have done with a trace of scores: utilization, gap δ with τ, and the multipliers.

    :param records: one mapping per epoch with ``"epoch"``, ``"scores"``, ``"utilization"``, ``"gap"`` and ``"multipliers"``.
    :param tau: the threshold τ.
    :param modalities: their names; by default those of the records.
    :param columns: the number of panels side by side.
    :raises MissingDependency: without matplotlib.
    """
    run = RunRecord("simulation", "miles", {}, [{**record, "scores": {"val": record.get("scores") or {}}} for record in records])
    styles = _styles(modalities, [run])
    epochs = run.epoch_numbers
    with drawing():
        figure, panels = _panels(3, columns)
        lines = _utilization(panels[0], epochs, {name: run.series("utilization", name) for name in styles}, styles)
        _gap(panels[1], epochs, run.series("gap"), tau)
        for name, style in styles.items():
            lines[name] = _line(panels[2], epochs, run.series("multipliers", name), style, steps=True)
        panels[2].set_ylim(0.0, 1.08)
        _titles(panels[2], "Learning-rate multiplier", "multiplier f")
        _finish(figure, panels, lines, columns)
    return figure


def _styles(modalities: Iterable[str] | None, runs: Sequence[RunRecord]) -> dict[str, LineStyle]:
    if modalities is None:
        modalities = dict.fromkeys(name for run in runs for name in run.modalities)
    names = checked_modalities(modalities, runs)
    styles = modality_styles(names)
    return {name: styles[name] for name in names}


def _panels(count: int, columns: int, *, share_scale: bool = False) -> tuple[Figure, list[Axes]]:
    columns = max(1, min(columns, count))
    height = 3.0 if count <= columns else 2.6
    return make_panels(count, columns, (PANEL_WIDTH.get(columns, 4.0), height), share_y=share_scale)


def _titles(axes: Axes, title: str, label: str) -> None:
    axes.set_title(shorten(title, 44))
    axes.set_ylabel(label)


def _line(axes: Axes, epochs: Sequence[int], values: Sequence[float | None], style: LineStyle, *, steps: bool = False) -> Line2D:
    """Draw one series; markers of different series stand at different epochs, and a value between two gaps is a dot."""
    numbers = [math.nan if value is None else value for value in values]
    every = max(1, math.ceil(len(numbers) / MARKERS_PER_LINE))
    # Where lines coincide the solid ones lie below, so that they show between the dashes.
    layer = MODALITY_STYLES.index(style) if style in MODALITY_STYLES else -1
    (line,) = axes.plot(
        epochs,
        numbers,
        markevery=(layer % every, every),
        drawstyle="steps-mid" if steps else "default",
        zorder=3.0 + 0.1 * layer,
        **style.options(),
    )
    alone = [
        position
        for position, value in enumerate(numbers)
        if not math.isnan(value)
        and all(not 0 <= beside < len(numbers) or math.isnan(numbers[beside]) for beside in (position - 1, position + 1))
    ]
    if alone:
        axes.plot(
            [epochs[position] for position in alone],
            [numbers[position] for position in alone],
            linestyle="",
            marker=style.marker or "o",
            markersize=style.marker_size,
            markeredgewidth=0.0,
            color=style.color,
            zorder=3.05 + 0.1 * layer,
        )
    return line


def _scores(axes: Axes, run: RunRecord, styles: Mapping[str, LineStyle]) -> dict[str, Line2D]:
    lines = {MULTIMODAL: _line(axes, run.epoch_numbers, percentages(run.series("scores", "val", MULTIMODAL)), MULTIMODAL_STYLE)}
    for name, style in styles.items():
        lines[name] = _line(axes, run.epoch_numbers, percentages(run.series("scores", "val", name)), style)
    return lines


def _utilization(
    axes: Axes, epochs: Sequence[int], series: Mapping[str, Sequence[float | None]], styles: Mapping[str, LineStyle]
) -> dict[str, Line2D]:
    axes.axhline(0.0, color=INK, alpha=0.5, linewidth=0.8, zorder=1)
    _titles(axes, "Conditional utilization rate", "u")
    return {name: _line(axes, epochs, values, styles[name]) for name, values in series.items()}


def _gap(axes: Axes, epochs: Sequence[int], gap: Sequence[float | None], tau: float | None) -> None:
    _line(axes, epochs, gap, LineStyle(INK, (), "", width=1.8))
    _titles(axes, "Utilization gap", "δ")
    if tau is None:
        axes.set_ylim(bottom=0.0)
        return
    axes.axhline(tau, color=INK, linewidth=1.1, linestyle=(0, (4.0, 3.0)), zorder=1.5)
    values = [math.nan if value is None else value for value in gap]
    above = [value > tau for value in values]
    if any(above):
        axes.fill_between(list(epochs), values, tau, where=above, interpolate=True, color=INK, alpha=0.1, linewidth=0.0)
    top = max([tau, *(value for value in values if not math.isnan(value))])
    axes.set_ylim(0.0, 1.12 * top if top > 0.0 else 1.0)
    axes.annotate(
        f"τ = {tau:.3g}",
        xy=(1.0, tau),
        xycoords=("axes fraction", "data"),
        xytext=(0.0, 3.0),
        textcoords="offset points",
        ha="right",
        va="bottom",
    )


def _learning_rates(
    axes: Axes, epochs: Sequence[int], rates: Mapping[str, Sequence[float | None]], styles: Mapping[str, LineStyle]
) -> dict[str, Line2D]:
    """Draw the rates of all parameter groups; return the lines of those that belong to no head, for the legend."""
    ticker = require("matplotlib.ticker", extra="plots")
    _titles(axes, "Effective learning rate", "learning rate")
    others = {}
    for name, values in rates.items():
        # Wider than elsewhere: the other rates lie upon it whenever they are not reduced.
        style = replace(MULTIMODAL_STYLE, width=3.4) if name == MULTIMODAL else styles.get(name, OTHER_GROUP_STYLE)
        line = _line(axes, epochs, values, style, steps=True)
        if style is OTHER_GROUP_STYLE:
            others[name] = line
    known = [value for values in rates.values() for value in values if value is not None]
    if known and min(known) > 0.0 and max(known) > 8.0 * min(known):
        axes.set_yscale("log")
        if max(known) < 100.0 * min(known):
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    elif known and min(known) >= 0.0:
        axes.set_ylim(0.0, 1.08 * max(known) or 1.0)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:.4g}"))
    return others


def _finish(figure: Figure, panels: Sequence[Axes], lines: Mapping[str, Line2D], columns: int) -> None:
    ticker = require("matplotlib.ticker", extra="plots")
    for position, axes in enumerate(panels):
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        axes.margins(x=0.02)
        if position >= len(panels) - min(columns, len(panels)):
            axes.set_xlabel("epoch")
        low, high = axes.get_xlim()
        if high - low < 1.0:
            axes.set_xlim((low + high) / 2 - 0.5, (low + high) / 2 + 0.5)
    add_legend(figure, lines)
    settle(figure)
