"""Tables II and III: every method on one data set with one fusion, beside the paper's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.report.grid import Cell, Column, Grid
from equimodal.report.intervals import MISSING
from equimodal.study import paper
from equimodal.study.records import TRAINING_SCORES
from equimodal.study.tables import shared
from equimodal.study.tables.notes import heading, paper_name, paper_note, protocol_notes

if TYPE_CHECKING:
    from equimodal.study.records import DataRecord, StudyRecord
    from equimodal.study.tables.shared import Readings

__all__ = ["NUMBERS", "fusion_grid"]

NUMBERS = {"concat": "Table II", "sum": "Table III"}
FILES = {"concat": "table2", "sum": "table3"}


def fusion_grid(record: StudyRecord, data: DataRecord, fusion: str) -> Grid:
    """Return the table of one data set and fusion."""
    rows = shared.rows_with_joint(record, data.label, fusion)
    found = {row: shared.readings(record.one("final", data.label, fusion, row), data.modalities) for row in rows}
    series = [one for one in record.series if one.data == data.label and one.fusion == fusion and one.row != TRAINING_SCORES]
    series = [one for one in series if one.kind in shared.TUNED]
    like = paper.likeness(data.name)
    cells = []
    for row in rows:
        figures = None if like is None else paper.scores(like.key, fusion, row)
        cells.append(_row(record, data, fusion, row, found[row], dict(figures or {})))
    columns = _columns(data, fusion)
    for place, column in enumerate(columns):
        if column.key in ("selected_multimodal", "mean_multimodal", "paper_multimodal"):
            shared.mark_best(cells, place)
    counts = {len(one.fresh) for one in found.values() if one.fresh}
    if len(counts) > 1:
        place = next(place for place, column in enumerate(columns) if column.key == "seeds")
        columns[place] = Column("seeds", group="mean over fresh seeds", key="seeds")
    notes = [] if fusion in NUMBERS or like is None else ["The paper has no figures for this fusion."]
    notes += [paper_note(data)] if fusion in NUMBERS else []
    notes += _notes(record, rows, data, fusion)
    title = f"{NUMBERS.get(fusion, 'Methods')}: {data.label}, fusion {fusion}, {shared.metric_title(data)}"
    return Grid(
        title=heading(record, title),
        columns=tuple(columns),
        rows=tuple(map(tuple, cells)),
        notes=(*notes, *protocol_notes(record, series)),
        emphasis="best multimodal score of its column",
        name=f"{FILES.get(fusion, f'methods-{fusion}')}-{data.label}",
    )


def _columns(data: DataRecord, fusion: str) -> list[Column]:
    meaning = shared.difference_meaning(data.modalities)
    columns = [Column("Model"), Column("method", shown=False)]
    for key, name, signed in shared.head_names(data.modalities):
        columns.append(Column(name, meaning if signed else "", group="selected run", key=f"selected_{key}"))
    # The paper's heads stand in its own order, in which its Δ is their difference.
    if fusion in NUMBERS and (like := paper.likeness(data.name)) is not None:
        for key, name, _ in shared.head_names(paper.modalities_of(like.key)):
            columns.append(Column(name, group=paper_name(data.name), key=f"paper_{key}"))
    for key, name, _ in shared.head_names(data.modalities):
        columns += shared.estimate_columns(name, "mean over fresh seeds", f"mean_{key}")
    columns.append(Column("seeds", key="seeds", shown=False))
    return [*columns, *shared.record_columns()]


def _row(record: StudyRecord, data: DataRecord, fusion: str, row: str, found: Readings, figures: dict[str, float]) -> list[Cell]:
    cells = [Cell(shared.label_of(record, data.label, fusion, row)), Cell(row)]
    names = shared.head_names(data.modalities)
    cells += [shared.one_cell(found.selected.get(key), signed=signed) for key, _, signed in names]
    if fusion in NUMBERS and (like := paper.likeness(data.name)) is not None:
        cells += [shared.paper_cell(figures.get(key), signed=signed) for key, _, signed in shared.head_names(paper.modalities_of(like.key))]
    for key, _, signed in names:
        cells += shared.estimate_cells(found.mean(key), signed=signed)
    return [*cells, Cell(str(len(found.fresh)), len(found.fresh)) if found.fresh else Cell(MISSING), *shared.record_cells(record)]


def _notes(record: StudyRecord, rows: tuple[str, ...], data: DataRecord, fusion: str) -> list[str]:
    notes = []
    if not record.rows(data.label, fusion):
        notes.append(f"This study has no methods on {data.label} with the fusion {fusion}.")
    elif shared.JOINT not in record.rows(data.label, fusion):
        notes.append("This study lacks the row joint, without which nothing tells the losses of single modalities from a scheduler.")
    if fusion in NUMBERS and shared.JOINT in rows:
        notes.append("The paper has no row Joint: the losses of single modalities without any scheduler.")
    return notes
