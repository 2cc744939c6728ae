"""Tables IV and V: the selected configuration of MILES with τ or μ varied."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from equimodal.report.grid import Cell, Column, Grid
from equimodal.report.intervals import estimate
from equimodal.report.records import number
from equimodal.study import paper
from equimodal.study.tables import shared
from equimodal.study.tables.notes import heading, paper_name, protocol_notes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from equimodal.study.records import DataRecord, SeriesRecord, StudyRecord, TrialRecord

__all__ = ["OPTIONS", "by_value", "sensitivity_grid", "sweeps"]

OPTIONS = {"tau": ("Table IV", "τ", "table4"), "mu": ("Table V", "μ", "table5")}


def sweeps(record: StudyRecord, data: str, option: str) -> dict[str, SeriesRecord]:
    """Return the sweeps of an option of MILES on a data set, by fusion.

    :param option: ``"tau"`` or ``"mu"``.
    """
    return {one.fusion: one for one in record.find("sweep", data) if one.option is not None and one.option.rpartition(".")[2] == option}


def by_value(series: SeriesRecord) -> dict[float, list[TrialRecord]]:
    """Return the trials of a sweep by the option's value, the largest first as in the paper."""
    found: dict[float, list[TrialRecord]] = {}
    for trial in series.trials:
        value = number(trial.params.get(series.option or ""))
        if value is not None:
            found.setdefault(value, []).append(trial)
    return dict(sorted(found.items(), reverse=True))


def sensitivity_grid(record: StudyRecord, data: DataRecord, option: str) -> Grid:
    """Return the table of one data set: every value with every fusion, and the paper's figures for LUMA.

    :param option: ``"tau"`` or ``"mu"``.
    """
    table, letter, name = OPTIONS[option]
    found = sweeps(record, data.label, option)
    rows: list[tuple[Cell, ...]] = []
    rules: set[int] = set()
    for fusion, series in found.items():
        rules |= {len(rows)} if rows else set()
        figures = (paper.tau_figures if option == "tau" else paper.mu_figures)(fusion)
        rows += [_row(record, data, (fusion, value), trials, figures) for value, trials in by_value(series).items()]
    several = any(len(trials) > 1 for series in found.values() for trials in by_value(series).values())
    notes = [f"{paper_name(paper.SENSITIVITY)}: the paper's figures for LUMA, the only data set for which it has them, one run each."]
    if data.name != paper.SENSITIVITY:
        notes[-1] += " They are no target."
    if option == "mu":
        notes.append("The paper's Table V has the headers of its last two columns swapped; they are the right way round here.")
    if found:
        how = "Means over the runs of a value, ± half of the 95 % interval (Student's t)." if several else "One run per value."
        notes.append(f"{how} All else is as in the selected configuration of MILES: {_fixed(record, found, option)}.")
    else:
        notes.append(f"This study does not vary {letter} on {data.label}.")
    columns = [Column(f"Fusion, {letter}", key="row"), Column("fusion", shown=False), Column(option, shown=False)]
    for key, head, signed in shared.head_names(data.modalities):
        meaning = shared.difference_meaning(data.modalities) if signed else ""
        columns += [Column(head, meaning, key=f"test_{key}"), Column(f"{head} half interval", key=f"test_{key}_half_interval", shown=False)]
    columns.append(Column("runs", shown=several))
    columns += [Column(head, group=paper_name(paper.SENSITIVITY), key=f"paper_{head}") for head in _paper_heads()]
    return Grid(
        title=heading(record, f"{table}: {letter} of MILES varied, {data.label}, {shared.metric_title(data)}"),
        columns=(*columns, *shared.record_columns()),
        rows=tuple(rows),
        rules=frozenset(rules),
        notes=(*notes, *protocol_notes(record, list(found.values()))),
        name=f"{name}-{data.label}",
    )


def _paper_heads() -> tuple[str, ...]:
    return tuple(key for key, _, signed in shared.head_names(paper.modalities_of(paper.SENSITIVITY)) if not signed)


def _row(
    record: StudyRecord,
    data: DataRecord,
    what: tuple[str, float],
    trials: Sequence[TrialRecord],
    figures: Mapping[float, paper.Figures],
) -> tuple[Cell, ...]:
    scores = [shared.test_scores(trial, data.modalities) for trial in trials]
    fusion, value = what
    cells = [Cell(f"{fusion}, {value:g}"), Cell(fusion), Cell(f"{value:g}", value)]
    for key, _, signed in shared.head_names(data.modalities):
        cells += shared.estimate_cells(estimate(found.get(key) for found in scores), signed=signed)
    count = sum(bool(found) for found in scores)
    cells.append(Cell(str(count), count))
    theirs = next((found for known, found in figures.items() if math.isclose(known, value, abs_tol=1e-9)), {})
    cells += [shared.paper_cell(theirs.get(head)) for head in _paper_heads()]
    return (*cells, *shared.record_cells(record))


def _fixed(record: StudyRecord, found: Mapping[str, SeriesRecord], option: str) -> str:
    """Say what the other hyper-parameters were, by fusion."""
    parts = []
    for fusion, series in found.items():
        search = record.one("search", series.data, fusion, series.row)
        trials = () if search is None else search.trials
        params = next((trial.params for trial in trials if trial.number == series.selected), {})
        shown = shared.parameters({path: value for path, value in params.items() if path.rpartition(".")[2] != option})
        parts.append(f"{fusion} {shown or 'not selected yet'}")
    return "; ".join(parts)
