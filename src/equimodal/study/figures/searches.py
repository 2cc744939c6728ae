"""What searches and sweeps of a study show: score against budget, trials by hyper-parameter, and what one option does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from equimodal.errors import InputError
from equimodal.methods.space import LogUniform
from equimodal.report.budget_figure import BudgetCurve, budget_curves
from equimodal.report.intervals import Estimate, estimate, percent
from equimodal.report.trial_figures import SweepPanel, TrialPoint, sweep_curves, trial_scatter
from equimodal.report.words import clean, listing, metric_name
from equimodal.scores import MULTIMODAL
from equimodal.study.figures.drawing import Drawing, oracle_note, search_split, split_name
from equimodal.study.figures.runs import selected_trial
from equimodal.study.records import ALONE, TRAINING_SCORES, DataRecord, SeriesRecord, StudyRecord
from equimodal.study.spaces import LEARNING_RATE, method_space, shared_space
from equimodal.study.statistics import best_of
from equimodal.study.tables.shared import JOINT, MILES

__all__ = ["draw_budgets", "draw_sensitivity", "draw_trials"]

BAND = (0.05, 0.95)
SYMBOLS = {LEARNING_RATE: "learning rate", "method.tau": "τ", "method.mu": "μ"}
WIDE_SPREAD = 50.0
"""Positive values further apart than so many times were hardly drawn evenly; asked only of a method that is not known here."""


def draw_budgets(record: StudyRecord) -> Iterator[Drawing]:
    """Yield one figure per data set and fusion, and one of the models of one modality: the expected best of k trials of every row."""
    for data in record.data:
        for fusion in (*record.fusions(data.label), ALONE):
            searches = list(record.find("search", data.label, fusion))
            if searches:
                yield _budgets(record, data, fusion, searches)


def _budgets(record: StudyRecord, data: DataRecord, fusion: str, searches: Sequence[SeriesRecord]) -> Drawing:
    stem = f"budget-{data.label}-{fusion}"
    title = f"Score against search budget on {data.label}, {_of(fusion)}"
    curves = [curve for series in searches if (curve := _curve(series)) is not None]
    if not curves:
        return Drawing("budget", stem, title, reason="No trial of these searches has succeeded yet.")
    labels = [curve.label for curve in curves]
    joint = next((series.label for series in searches if series.row == JOINT and series.label in labels), None)
    caption = (
        f"The multimodal validation {metric_name(data.metric)} that the best of k trials has, on average (line) and in "
        "90 % of searches (band), were k trials drawn with replacement from those that were made. The right end rests on the few best "
        "trials alone."
    )
    if fusion == ALONE:
        caption = caption.replace("The multimodal", "The")
    else:
        caption += " A method that only looks better because it was searched more lies no higher at the same number of trials."
    lacking = [series.label for series in searches if series.label not in labels]
    unfinished = [f"{series.label} ({series.done} of {len(series.trials)} trials)" for series in searches if _is_partial(series)]
    caption += f" Not drawn, as no trial has succeeded yet: {listing(lacking)}." if lacking else ""
    caption += f" Not finished: {listing(unfinished)}." if unfinished else ""
    ends = [f"{curve.label} {100 * curve.expected[0]:.1f} to {100 * curve.expected[-1]:.1f} %" for curve in curves]
    return Drawing(
        "budget",
        stem,
        title,
        f"{caption}{oracle_note(record)}",
        f"{len(curves)} small line charts. Expected score from one trial to all of them: {', '.join(ends)}.",
        lambda narrow: budget_curves(curves, data.metric, reference=joint, columns=2 if narrow else 5 if len(curves) in (5, 9, 10) else 4),
    )


def _curve(series: SeriesRecord) -> BudgetCurve | None:
    scores = [trial.score() for trial in series.trials if trial.done]
    if all(score is None for score in scores):
        return None
    found = [best_of(scores, size, BAND) for size in range(1, len(scores) + 1)]
    low, high = ([one.quantiles[level] for one in found] for level in BAND)
    return BudgetCurve(series.label, [one.mean or 0.0 for one in found], low, high)


def draw_trials(record: StudyRecord) -> Iterator[Drawing]:
    """Yield one figure per search: the score of every trial against each of its hyper-parameters."""
    for series in record.find("search"):
        data = next(one for one in record.data if one.label == series.data)
        yield _trials(record, data, series)


def _trials(record: StudyRecord, data: DataRecord, series: SeriesRecord) -> Drawing:
    stem = f"trials-{series.data}-{series.fusion}-{series.row}"
    place = "" if series.is_unimodal else f", {_of(series.fusion)}"
    title = f"Trials of {series.label} on {series.data}{place}"
    ended = [trial for trial in series.trials if trial.done]
    points = [TrialPoint(trial.number, trial.params, trial.score(search_split(record))) for trial in ended]
    params = {name: _symbol(name) for name in dict.fromkeys(name for trial in ended for name in trial.params)}
    if not points or not params:
        return Drawing("trials", stem, title, reason=f"No trial has ended yet (0 of {len(series.trials)}).")
    chosen = selected_trial(record, series.data, series.fusion, series.row)
    number = None if chosen is None else chosen.number
    lost = sum(point.score is None for point in points)
    scores = [point.score for point in points if point.score is not None]
    caption = f"Every trial of the search by each of its hyper-parameters; {series.done} of {len(series.trials)} have ended"
    caption += f", {lost} of them without a score (crosses at the foot)." if lost else "."
    said = "" if chosen is None else f" Selected: trial {chosen.number}, with {_values(chosen.params)}."
    spread = f" Scores lie between {100 * min(scores):.1f} and {100 * max(scores):.1f} %." if scores else ""
    log = _log_drawn(record, series, params)
    return Drawing(
        "trials",
        stem,
        title,
        f"{caption}{said}{oracle_note(record)}",
        f"Scatter of {len(scores)} trials with a score and {lost} without, by {listing(params.values())}.{spread}{said}",
        lambda narrow: trial_scatter(
            points, params, data.metric, split=split_name(record), log=log, selected=number, columns=1 if narrow else 3
        ),
    )


def _symbol(name: str) -> str:
    return SYMBOLS.get(name) or clean(name.removeprefix("method.").replace("_", " "))


def _values(params: Mapping[str, Any]) -> str:
    shown = [f"{_symbol(name)} {value:.3g}" if isinstance(value, float) else f"{_symbol(name)} {value}" for name, value in params.items()]
    return listing(map(clean, shown)) if shown else "no hyper-parameters"


def _log_drawn(record: StudyRecord, series: SeriesRecord, params: Iterable[str]) -> list[str]:
    """Return the hyper-parameters that were drawn evenly in their logarithm."""
    search = record.declaration.get("search") or {}
    row = MILES if series.row == TRAINING_SCORES else series.row
    try:
        space = shared_space(search)
        if not series.is_unimodal:
            space |= method_space(row, (search.get("methods") or {}).get(row))
    except InputError:  # a method of someone's own that is not at hand where the figures are drawn
        space = shared_space({})
    return [name for name in params if (isinstance(space[name], LogUniform) if name in space else _is_widespread(series, name))]


def _is_widespread(series: SeriesRecord, name: str) -> bool:
    values = [trial.params.get(name) for trial in series.trials]
    known = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return bool(known) and min(known) > 0 and max(known) > WIDE_SPREAD * min(known)


def draw_sensitivity(record: StudyRecord) -> Iterator[Drawing]:
    """Yield one figure per data set: what τ and μ do to each head, fusion by fusion (Tables IV and V)."""
    for data in record.data:
        sweeps = list(record.find("sweep", data.label))
        if not sweeps:
            continue
        stem, title = f"sensitivity-{data.label}", f"Sensitivity of MILES to its options on {data.label}"
        panels = [panel for series in sweeps if (panel := _panel(record, data, series)) is not None]
        if not panels:
            yield Drawing("sensitivity", stem, title, reason="No run of these sweeps has succeeded yet.")
            continue
        unfinished = [
            f"{_symbol(series.option or '')} with {series.fusion} ({series.done} of {len(series.trials)} runs)"
            for series in sweeps
            if series.done < len(series.trials)
        ]
        caption = (
            f"Test {metric_name(data.metric)} of the multimodal prediction and of each head with one option varied and all else as the "
            "search selected it. Bars are 95 % intervals over seeds; a point without one is a single run. Look for whether the weaker head "
            "gains more than the multimodal prediction loses."
        )
        caption += f" Not finished: {listing(unfinished)}." if unfinished else ""
        yield Drawing(
            "sensitivity",
            stem,
            title,
            f"{caption}{oracle_note(record)}",
            "Line charts of scores by option. " + " ".join(_said(panel) for panel in panels),
            _sweeps(panels, data),
        )


def _sweeps(panels: Sequence[SweepPanel], data: DataRecord) -> Any:
    return lambda narrow: sweep_curves(panels, data.metric, data.modalities, columns=1 if narrow else 2)


def _panel(record: StudyRecord, data: DataRecord, series: SeriesRecord) -> SweepPanel | None:
    option = series.option or ""
    by_value: dict[float, list[Mapping[str, float | None]]] = {}
    for trial in series.complete:
        value = trial.params.get(option)
        if trial.run is not None and isinstance(value, int | float):
            by_value.setdefault(float(value), []).append(trial.run.final_scores("test"))
    if not by_value:
        return None
    values = sorted(by_value)
    scores: dict[str, list[Estimate | None]] = {
        head: [estimate(found.get(head) for found in by_value[value]) for value in values] for head in (MULTIMODAL, *data.modalities)
    }
    if all(one is None for found in scores.values() for one in found):
        return None
    chosen = selected_trial(record, data.label, series.fusion, MILES)
    selected = None if chosen is None else chosen.params.get(option)
    return SweepPanel(
        f"{_symbol(option)}, {_of(series.fusion)}",
        _symbol(option),
        values,
        scores,
        float(selected) if isinstance(selected, int | float) else None,
    )


def _said(panel: SweepPanel) -> str:
    shown = [f"{value:g}: {percent(one)}" for value, one in zip(panel.values, panel.scores[MULTIMODAL], strict=True)]
    return f"{panel.title}, multimodal score in percent by value: {', '.join(shown)}."


def _of(fusion: str) -> str:
    return "models of one modality" if fusion == ALONE else fusion


def _is_partial(series: SeriesRecord) -> bool:
    return 0 < series.done < len(series.trials)
