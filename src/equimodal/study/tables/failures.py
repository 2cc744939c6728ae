"""What went wrong: every failed trial with its reason, and series that cannot begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.report.grid import Cell, Column, Grid
from equimodal.report.intervals import MISSING
from equimodal.study.tables.notes import heading, protocol_notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equimodal.study.records import DataRecord, StudyRecord

__all__ = ["failures_grid"]


def failures_grid(record: StudyRecord, chosen: Sequence[DataRecord]) -> Grid:
    """Return the failures of some data sets."""
    labels = {data.label for data in chosen}
    series = [one for one in record.series if one.data in labels]
    rows = []
    for one in series:
        for trial in one.trials:
            if trial.state == "failed":
                named = (Cell(f"{one.name} {trial.number}"), Cell(one.name), Cell(str(trial.number), trial.number))
                rows.append((*named, Cell(str(trial.attempts), trial.attempts), Cell(trial.reason or "no reason recorded")))
        if one.blocked:
            named = (Cell(one.name), Cell(one.name), Cell(MISSING))
            rows.append((*named, Cell(MISSING), Cell(f"cannot begin: {one.blocked}")))
    trials = [trial for one in series for trial in one.trials]
    failed, taken_over = sum(trial.state == "failed" for trial in trials), sum(trial.attempts > 1 for trial in trials)
    notes = [f"{failed} of {sum(trial.done for trial in trials)} trials that have ended failed; {len(trials)} are planned."]
    notes.append(f"{taken_over} of all trials were begun more than once because a process or machine was lost or a new attempt was made.")
    names = (Column("Series and trial", key="what"), Column("series", shown=False), Column("trial", shown=False))
    columns = (*names, Column("attempts"), Column("reason", left=True))
    return Grid(heading(record, "Failures"), columns, tuple(rows), notes=(*notes, *protocol_notes(record, [])), name="failures")
