"""Table VI: MILES that looks at training scores against MILES that looks at validation scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.report.grid import Cell, Column, Grid
from equimodal.report.intervals import MISSING, Estimate, estimate
from equimodal.study import paper
from equimodal.study.records import TRAINING_SCORES
from equimodal.study.tables import shared
from equimodal.study.tables.notes import heading, paper_name, protocol_notes

if TYPE_CHECKING:
    from equimodal.study.records import DataRecord, StudyRecord

__all__ = ["splits_grid"]

ROWS = ((TRAINING_SCORES, "training", "train"), (shared.MILES, "validation", "val"))


def splits_grid(record: StudyRecord, data: DataRecord) -> Grid:
    """Return the table of one data set: both rows of every fusion, and the paper's figures for LUMA."""
    fusions = [fusion for fusion in record.fusions(data.label) if record.one("search", data.label, fusion, TRAINING_SCORES)]
    theirs = tuple(key for key, _, signed in shared.head_names(paper.modalities_of(paper.SENSITIVITY)) if not signed)
    names = shared.head_names(data.modalities)
    rows: list[tuple[Cell, ...]] = []
    rules: set[int] = set()
    for fusion in fusions:
        rules |= {len(rows)} if rows else set()
        for row, shown, split in ROWS:
            found = shared.readings(record.one("final", data.label, fusion, row), data.modalities)
            figures = paper.training_figures(fusion, split) or {}
            cells = [Cell(f"{fusion}, {shown}"), Cell(fusion), Cell(shown)]
            cells += [shared.one_cell(found.selected.get(key), signed=signed) for key, _, signed in names]
            cells.append(shared.number_cell(found.selected_epoch))
            cells += [shared.paper_cell(figures.get(head)) for head in theirs]
            cells.append(shared.number_cell(figures.get(paper.EPOCH), "{:.0f}".format))
            for key, _, signed in names:
                cells += shared.estimate_cells(found.mean(key), signed=signed)
            cells += _epoch_cells(estimate(found.epochs.values()))
            count = len(found.fresh)
            rows.append((*cells, Cell(str(count), count), *shared.record_cells(record)))
    meaning = shared.difference_meaning(data.modalities)
    columns = [Column("Fusion, scores", key="row"), Column("fusion", shown=False), Column("scores", shown=False)]
    columns += [Column(head, meaning if signed else "", group="selected run", key=f"selected_{key}") for key, head, signed in names]
    columns.append(Column("epoch", group="selected run", key="selected_epoch"))
    columns += [Column(head, group=paper_name(paper.SENSITIVITY), key=f"paper_{head}") for head in (*theirs, paper.EPOCH)]
    for key, head, _ in names:
        columns += shared.estimate_columns(head, "mean over fresh seeds", f"mean_{key}")
    columns += shared.estimate_columns("epoch", "mean over fresh seeds", "mean_epoch")
    columns.append(Column("seeds", shown=False))
    notes = [
        "Epoch: the one with the best multimodal validation score, the earliest on a tie. Both rows were tuned anew.",
        f"{paper_name(paper.SENSITIVITY)}: the paper's figures for LUMA, the only data set for which it has them, one run each; its "
        "validation rows are those of its Tables II and III.",
    ]
    if not fusions:
        notes.append(f"This study has no MILES with training scores on {data.label}.")
    shown_rows = [row for row, *_ in ROWS]
    series = [one for fusion in fusions for kind in shared.TUNED for one in record.find(kind, data.label, fusion) if one.row in shown_rows]
    return Grid(
        title=heading(record, f"Table VI: MILES by training or validation scores, {data.label}, {shared.metric_title(data)}"),
        columns=(*columns, *shared.record_columns()),
        rows=tuple(rows),
        rules=frozenset(rules),
        notes=(*notes, *protocol_notes(record, series)),
        name=f"table6-{data.label}",
    )


def _epoch_cells(value: Estimate | None) -> list[Cell]:
    if value is None:
        return [Cell(MISSING), Cell("")]
    half = "" if value.half_width is None else f" ± {value.half_width:.1f}"
    return [Cell(f"{value.mean:.1f}{half}", value.mean), Cell("", value.half_width)]
