"""What every row cost: a run, its search, and the searches that it needs beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.report.cost import Cost, duration, multiple
from equimodal.report.grid import Cell, Column, Grid
from equimodal.report.intervals import MISSING
from equimodal.study.records import ALONE
from equimodal.study.tables import shared
from equimodal.study.tables.notes import heading, protocol_notes
from equimodal.study.tables.searches import searches_of, selected_trial

if TYPE_CHECKING:
    from collections.abc import Iterable

    from equimodal.study.records import DataRecord, SeriesRecord, StudyRecord, TrialRecord

__all__ = ["RowCost", "costs_grid", "row_cost", "total_cost"]


class RowCost:
    """What a row cost.

    :ivar run: one training of the selected configuration; unknown before there is one.
    :ivar search: all trials of its search that have ended, failed ones too.
    :ivar before: the searches that the method needs beforehand.
    :ivar unknown: how many ended trials of the search did not record what they cost, and are missing in it.
    """

    def __init__(self, record: StudyRecord, search: SeriesRecord) -> None:
        final = record.one("final", search.data, search.fusion, search.row)
        number = selected_trial(record, search)
        runs = [trial for trial in final.complete if trial.number == 0] if final is not None else []
        runs += [trial for trial in search.complete if trial.number == number]
        self.run = next((trial.cost for trial in runs), Cost(None, None))
        self.search, self.unknown = total_cost(trial for trial in search.trials if trial.done)
        self.before = search.before

    @property
    def total(self) -> Cost:
        """The search and what it needs beforehand."""
        return self.search + self.before


def row_cost(record: StudyRecord, data: str, fusion: str, row: str) -> RowCost | None:
    """Return what a row cost; None where the study lacks it."""
    search = record.one("search", data, fusion, row)
    return None if search is None else RowCost(record, search)


def total_cost(trials: Iterable[TrialRecord]) -> tuple[Cost, int]:
    """Return what some trials cost together, and how many did not record it; nothing is known without any that did."""
    costs = [trial.cost for trial in trials]
    seconds = [cost.seconds for cost in costs if cost.seconds is not None]
    steps = [cost.steps for cost in costs if cost.steps is not None]
    unknown = sum(cost.seconds is None or cost.steps is None for cost in costs)
    return Cost(sum(seconds) if seconds else None, sum(steps) if steps else None), unknown


def costs_grid(record: StudyRecord, data: DataRecord, fusion: str) -> Grid:
    """Return the costs of all rows of a data set and fusion, as such and as multiples of those of joint training."""
    searches = searches_of(record, data, fusion)
    found = {one.name: RowCost(record, one) for one in searches}
    joint = row_cost(record, data.label, fusion, shared.JOINT)
    rows = []
    for one in searches:
        cost = found[one.name]
        cells = [Cell(one.label), Cell(one.row)]
        for part in (cost.run, cost.search, cost.before, cost.total):
            cells += [_seconds(part), _steps(part)]
        for ours, theirs in ((cost.run, joint.run), (cost.total, joint.total)) if joint else ((Cost(None, None),) * 2,) * 2:
            ratio = ours.relative_to(theirs)
            cells += [Cell(multiple(value), value) for value in (ratio.seconds, ratio.steps)]
        rows.append((*cells, Cell(str(cost.unknown), cost.unknown)))
    columns = [Column("Model"), Column("method", shown=False)]
    named = (("run", "run"), ("search", "search"), ("before", "before"), ("total", "all"))
    for key, group in named:
        columns += [Column("time", group=group, key=f"{key}_seconds"), Column("steps", group=group, key=f"{key}_steps")]
    # The models of one modality have no joint training beside them.
    for key, group in (("run", "run × Joint"), ("total", "all × Joint")):
        shown = fusion != ALONE
        columns += [Column("time", group=group, key=f"{key}_relative_seconds", shown=shown)]
        columns += [Column("steps", group=group, key=f"{key}_relative_steps", shown=shown)]
    columns.append(Column("unknown", key="trials_of_unknown_cost", shown=False))
    where = "one modality alone" if fusion == ALONE else f"fusion {fusion}"
    return Grid(
        title=heading(record, f"Costs: {data.label}, {where}"),
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(*_notes(found.values(), fusion, has_reference=joint is not None), *protocol_notes(record, searches)),
        name=f"costs-{fusion}-{data.label}",
    )


def _notes(found: Iterable[RowCost], fusion: str, *, has_reference: bool) -> list[str]:
    notes = [
        "Run: one training of the selected configuration. Search: all trials that have ended, failed ones too. Steps: optimizer steps, "
        "trainings beside a run included. Time depends on the machines and on what else they had to do; steps do not."
    ]
    if fusion != ALONE:
        notes.append(
            "Before: one-time searches that a method needs, such as MSLR's for the learning rates of single modalities, charged in full to "
            "every method that needs it. All: search and before."
        )
        notes += [] if has_reference else ["This study lacks the row joint, so there is nothing that costs could be multiples of."]
    unknown = sum(cost.unknown for cost in found)
    notes += [f"{unknown} trial(s) did not record what they cost and are missing in their search." for _ in range(1) if unknown]
    return notes


def _seconds(cost: Cost) -> Cell:
    return Cell(MISSING) if cost.seconds is None else Cell(duration(cost.seconds), float(cost.seconds))


def _steps(cost: Cost) -> Cell:
    return Cell(MISSING) if cost.steps is None else Cell(f"{cost.steps:,.0f}", cost.steps)
