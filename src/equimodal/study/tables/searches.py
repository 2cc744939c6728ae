"""What the searches found: the best of smaller budgets, and the distribution over all trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.report.grid import Cell, Column, Grid
from equimodal.report.intervals import MISSING
from equimodal.report.words import metric_name
from equimodal.study.records import ALONE
from equimodal.study.statistics import best_of, budgets, is_near
from equimodal.study.tables import shared
from equimodal.study.tables.notes import heading, protocol_notes

if TYPE_CHECKING:
    from equimodal.study.records import DataRecord, SeriesRecord, StudyRecord

__all__ = ["budget_grid", "selected_trial", "trials_grid"]

EDGES = (0.05, 0.5, 0.95)


def searches_of(record: StudyRecord, data: DataRecord, fusion: str) -> list[SeriesRecord]:
    """Return the searches of a data set and fusion in the order of the rows."""
    return list(record.find("search", data.label, fusion))


def selected_trial(record: StudyRecord, search: SeriesRecord) -> int | None:
    """Return the number of the trial that was selected; None while that is not known."""
    final = record.one("final", search.data, search.fusion, search.row)
    return search.selected if final is None or final.selected is None else final.selected


def budget_grid(record: StudyRecord, data: DataRecord, fusion: str) -> Grid:
    """Return for each row of a data set and fusion what the best of fewer trials would have scored on the validation split."""
    searches = searches_of(record, data, fusion)
    ended = {one.name: [trial.score() for trial in one.trials if trial.done] for one in searches}
    longest = max(map(len, ended.values()), default=0)
    asked = budgets(longest)
    rows = []
    for one in searches:
        scores = ended[one.name]
        cells = [Cell(one.label), Cell(one.row), Cell(f"{len(scores)} of {len(one.trials)}", len(scores))]
        spread: list[Cell] = []
        hidden: list[Cell] = []
        for budget in asked:
            found = best_of(scores, budget, EDGES) if budget <= len(scores) else None
            cells.append(shared.one_cell(None if found is None else found.mean))
            low, middle, high = (None, None, None) if found is None else (found.quantiles[edge] for edge in EDGES)
            known = [shared.one_cell(edge).text for edge in (low, high)]
            spread.append(Cell(MISSING if low is high is None else f"{known[0]} to {known[1]}"))
            hidden += [shared.number_cell(value) for value in (low, middle, high, None if found is None else found.lost)]
        rows.append((*cells, *spread, *hidden, *shared.record_cells(record)))
    columns = [Column("Model"), Column("method", shown=False), Column("trials", key="trials_done")]
    columns += [Column(f"{budget}", group="mean of the best of … trials", key=f"best_of_{budget}_mean") for budget in asked]
    columns += [Column(f"{budget}", group="middle 90 % of the best of … trials", key=f"best_of_{budget}_middle_90") for budget in asked]
    for budget in asked:
        columns += [Column(f"{what} {budget}", key=f"best_of_{budget}_{what}", shown=False) for what in ("q05", "q50", "q95", "lost")]
    return Grid(
        title=heading(record, f"Best of a smaller search: {_where(data, fusion)}, validation {metric_name(data.metric)} (%)"),
        columns=(*columns, *shared.record_columns()),
        rows=tuple(rows),
        notes=(*_budget_notes(asked, longest, searches), *protocol_notes(record, searches)),
        name=f"budget-{fusion}-{data.label}",
    )


def _budget_notes(asked: tuple[int, ...], longest: int, searches: list[SeriesRecord]) -> list[str]:
    notes = ["Exact distribution of the best validation score of so many trials, drawn with replacement from those that have ended."]
    if any(trial.done and trial.score() is None for one in searches for trial in one.trials):
        notes.append("A failed or pruned trial uses up its place; the mean is over draws with at least one success.")
    near = [str(budget) for budget in asked if budget > 1 and is_near(budget, longest)]
    if near:
        notes.append(
            f"CAUTION: budgets near the number of trials ({', '.join(near)} of {longest}) rest on the few best of them alone; what other "
            "trials would have given is not in them."
        )
    if not asked:
        notes.append("No trial has ended yet.")
    return notes


def trials_grid(record: StudyRecord, data: DataRecord, fusion: str) -> Grid:
    """Return the distribution over the trials of every search of a data set and fusion, and what was selected."""
    searches = searches_of(record, data, fusion)
    rows = []
    for one in searches:
        scores = [trial.score() for trial in one.trials]
        known = [score for score in scores if score is not None]
        states = [trial.state for trial in one.trials]
        cells = [Cell(one.label), Cell(one.row), Cell(f"{one.done} of {len(one.trials)}", one.done), Cell("", len(one.trials))]
        cells += [Cell(str(states.count("failed")), states.count("failed")), Cell(str(states.count("pruned")), states.count("pruned"))]
        found = best_of(known, 1, (0.25, 0.5, 0.75)).quantiles
        edges = (min(known, default=None), found[0.25], found[0.5], found[0.75], max(known, default=None))
        cells += [shared.one_cell(value) for value in edges]
        number = selected_trial(record, one)
        chosen = next((trial for trial in one.trials if trial.number == number), None)
        cells += [shared.number_cell(number), Cell(MISSING if chosen is None else shared.parameters(chosen.params) or MISSING)]
        rows.append((*cells, *shared.record_cells(record)))
    group = f"validation {metric_name(data.metric)} (%)"
    columns = [Column("Model"), Column("method", shown=False), Column("trials", key="trials_done"), Column("planned", shown=False)]
    columns += [Column("failed"), Column("pruned")]
    columns += [Column(name, group=group, key=name) for name in ("min", "25 %", "50 %", "75 %", "max")]
    columns += [Column("trial", group="selected", key="selected_trial"), Column("hyper-parameters", group="selected", left=True)]
    return Grid(
        title=heading(record, f"Trials of every search: {_where(data, fusion)}"),
        columns=(*columns, *shared.record_columns()),
        rows=tuple(rows),
        notes=("Quartiles are over the trials that succeeded.", *protocol_notes(record, searches)),
        name=f"trials-{fusion}-{data.label}",
    )


def _where(data: DataRecord, fusion: str) -> str:
    return f"{data.label}, one modality alone" if fusion == ALONE else f"{data.label}, fusion {fusion}"
