"""Trials by hyper-parameter, and what one option alone does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from equimodal.errors import require
from equimodal.report.panels import add_legend, log_scale, make_panels, settle, shorten
from equimodal.report.style import INK, MODALITY_STYLES, MULTIMODAL_STYLE, modality_styles
from equimodal.report.svg import drawing
from equimodal.report.words import clean, metric_name
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from equimodal.report.intervals import Estimate

__all__ = ["SweepPanel", "TrialPoint", "sweep_curves", "trial_scatter"]

WIDTHS = {1: 4.2, 2: 4.6, 3: 3.07}
POINT_COLOR, FAILED_COLOR = MODALITY_STYLES[0].color, MODALITY_STYLES[1].color


@dataclass(frozen=True)
class TrialPoint:
    """One trial of a search.

    :param number: its number.
    :param params: its hyper-parameters by name.
    :param score: its score as a fraction; None where it has none.
    """

    number: int
    params: Mapping[str, Any]
    score: float | None


@dataclass(frozen=True)
class SweepPanel:
    """What one option does.

    :param title: the panel's title.
    :param option: the option's name, such as ``"τ"``.
    :param values: its values, ascending.
    :param scores: by head, one estimate per value; None where it is not known.
    :param chosen: the value that was selected elsewhere, marked; None for none.
    """

    title: str
    option: str
    values: Sequence[float]
    scores: Mapping[str, Sequence[Estimate | None]]
    chosen: float | None = None


@dataclass
class _Axis:
    """Where the values of one hyper-parameter stand: numbers at themselves, names and switches one after the other."""

    name: str
    log: bool
    places: dict[str, int] = field(default_factory=dict)

    def place(self, value: Any) -> float:
        return float(self.places[_shown(value)]) if self.places else float(value)


def trial_scatter(
    trials: Sequence[TrialPoint],
    params: Mapping[str, str],
    metric: str,
    *,
    split: str = "Validation",
    log: Sequence[str] = (),
    selected: int | None = None,
    columns: int = 3,
) -> Figure:
    """Draw the score of every trial of a search against each of its hyper-parameters.

    The selected trial has a ring; trials without a score are crosses at the foot of each panel.

    :param trials: those that have ended.
    :param params: the hyper-parameters to draw, one per panel: what each is called, by name.
    :param metric: the metric's name.
    :param split: the split of the scores, as it reads in front of the metric.
    :param log: the names of those with a logarithmic axis.
    :param selected: the number of the selected trial.
    :param columns: the largest number of panels side by side, at most 3.
    :raises MissingDependency: without matplotlib.
    """
    columns = max(1, min(columns, len(params), 3))
    with drawing():
        figure, panels = make_panels(len(params), columns, (WIDTHS[columns], 2.6), above=0.5, share_y=True)
        entries: dict[str, Artist] = {}
        for axes, (name, said) in zip(panels, params.items(), strict=True):
            having = [trial for trial in trials if trial.params.get(name) is not None]
            entries |= _trials(axes, _axis(name, [trial.params[name] for trial in having], log=name in log), having, selected)
            axes.set_xlabel(clean(said))
        scores = [100.0 * trial.score for trial in trials if trial.score is not None]
        if scores:
            room = max(max(scores) - min(scores), 1.0)
            # Below the lowest score there is room for the crosses.
            panels[0].set_ylim(min(scores) - 0.2 * room, max(scores) + 0.1 * room)
        for axes in panels[::columns]:
            axes.set_ylabel(f"{split} {metric_name(metric)} (%)")
        if entries:
            add_legend(figure, entries)
        settle(figure)
    return figure


def _axis(name: str, values: Sequence[Any], *, log: bool) -> _Axis:
    if all(isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values):
        return _Axis(name, log and all(value > 0 for value in values))
    return _Axis(name, log=False, places={text: place for place, text in enumerate(sorted({_shown(value) for value in values}))})


def _shown(value: Any) -> str:
    return shorten(str(value), 16)


def _trials(axes: Axes, axis: _Axis, trials: Sequence[TrialPoint], selected: int | None) -> dict[str, Artist]:
    entries: dict[str, Artist] = {}
    scored = [trial for trial in trials if trial.score is not None]
    failed = [trial for trial in trials if trial.score is None]
    if scored:
        (entries["trial"],) = axes.plot(
            [axis.place(trial.params[axis.name]) for trial in scored],
            [100.0 * (trial.score or 0.0) for trial in scored],
            linestyle="",
            marker="o",
            markersize=4.8,
            markeredgewidth=0.0,
            color=POINT_COLOR,
            alpha=0.7,
            clip_on=False,
        )
    for trial in scored:
        if trial.number == selected:
            (entries["selected"],) = axes.plot(
                [axis.place(trial.params[axis.name])],
                [100.0 * (trial.score or 0.0)],
                linestyle="",
                marker="o",
                markersize=9.5,
                markerfacecolor="none",
                markeredgecolor=INK,
                markeredgewidth=1.6,
                clip_on=False,
            )
    if failed:
        (entries["without a score"],) = axes.plot(
            [axis.place(trial.params[axis.name]) for trial in failed],
            [0.04] * len(failed),
            transform=axes.get_xaxis_transform(),
            linestyle="",
            marker="x",
            markersize=5.0,
            markeredgewidth=1.3,
            color=FAILED_COLOR,
        )
    if axis.places:
        axes.set_xticks(list(axis.places.values()), list(axis.places))
        axes.set_xlim(-0.5, len(axis.places) - 0.5)
    else:
        _numbers(axes, sorted({float(trial.params[axis.name]) for trial in trials}), log=axis.log, few=len(trials) / 2)
    return entries


def _numbers(axes: Axes, numbers: Sequence[float], *, log: bool, few: float) -> None:
    """Give a horizontal axis its scale: where there are few different values, those are what it names."""
    ticker = require("matplotlib.ticker", extra="plots")
    low, high = (numbers[0], numbers[-1]) if numbers else (0.0, 1.0)
    if log and low > 0.0:
        log_scale(axes, low, high)
        return
    room = 0.06 * (high - low) or 0.5
    axes.set_xlim(low - room, high + room)
    if len(numbers) <= max(1.0, min(few, 6.0)):
        axes.xaxis.set_major_locator(ticker.FixedLocator(list(_apart(numbers, 0.06 * (high - low)))))
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))


def _apart(values: Sequence[float], least: float) -> list[float]:
    """Return ascending values from the highest down, without those too near to the one above for their numbers to be read."""
    kept: list[float] = []
    for value in sorted(values, reverse=True):
        if not kept or kept[-1] - value >= least:
            kept.append(value)
    return kept[::-1]


def sweep_curves(panels: Sequence[SweepPanel], metric: str, modalities: Sequence[str], *, split: str = "Test", columns: int = 2) -> Figure:
    """Draw what one option does to the multimodal score and to each head while all else stays as it is.

    Values with several seeds have their interval as a bar; a dotted line marks the value that the search selected.

    :param panels: at least one.
    :param metric: the metric's name.
    :param modalities: all modalities of the data set; they decide the colours.
    :param split: the split of the scores, as it reads in front of the metric.
    :param columns: 2 for panels side by side, 1 for panels below each other.
    :raises MissingDependency: without matplotlib.
    """
    styles = {MULTIMODAL: MULTIMODAL_STYLE, **modality_styles(modalities)}
    columns = max(1, min(columns, len(panels), 2))
    with drawing():
        figure, drawn = make_panels(len(panels), columns, (WIDTHS[columns], 2.8), above=0.5, share_y=True)
        entries: dict[str, Artist] = {}
        for axes, panel in zip(drawn, panels, strict=True):
            _sweep_scale(axes, panel)
            for head in (MULTIMODAL, *modalities):
                known = [(value, one) for value, one in zip(panel.values, panel.scores.get(head, ()), strict=False) if one is not None]
                if not known:
                    continue
                style = styles[head]
                options = {**style.options(), "marker": style.marker or "o", "clip_on": False}
                (entries[head],) = axes.plot([value for value, _ in known], [100.0 * one.mean for _, one in known], zorder=3.0, **options)
                for value, one in known:
                    if one.half_width is not None:
                        ends = [100.0 * (one.mean + sign * one.half_width) for sign in (-1, 1)]
                        axes.plot([value] * 2, ends, color=style.color, alpha=0.5, linewidth=1.2, zorder=2.5)
            if panel.chosen is not None:
                line = axes.axvline(panel.chosen, color=INK, alpha=0.55, linewidth=1.1, linestyle=(0, (1.2, 2.0)), zorder=1.5)
                entries["selected"] = line
            axes.set_title(shorten(panel.title, 44))
            axes.set_xlabel(panel.option)
        for axes in drawn[::columns]:
            axes.set_ylabel(f"{split} {metric_name(metric)} (%)")
        if entries:
            add_legend(figure, entries)
        settle(figure)
    return figure


def _sweep_scale(axes: Axes, panel: SweepPanel) -> None:
    ticker = require("matplotlib.ticker", extra="plots")
    values = [*panel.values, *([] if panel.chosen is None else [panel.chosen])]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low > 0.0 and high > 20.0 * low:
        log_scale(axes, low, high)
        logarithms = _apart([math.log(value) for value in panel.values], 0.085 * math.log(high / low))
        named = [value for value in panel.values if math.log(value) in logarithms]
    else:
        room = 0.05 * (high - low) or 0.5
        axes.set_xlim(low - room, high + room)
        named = _apart(panel.values, 0.085 * (high - low))
    axes.xaxis.set_major_locator(ticker.FixedLocator(named))
    axes.xaxis.set_minor_locator(ticker.FixedLocator([value for value in panel.values if value not in named]))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
