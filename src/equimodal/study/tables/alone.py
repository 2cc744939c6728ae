"""Table I: the model of each modality alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.report.grid import Cell, Column, Grid
from equimodal.report.words import metric_name
from equimodal.study import paper
from equimodal.study.records import ALONE
from equimodal.study.tables import shared
from equimodal.study.tables.notes import heading, paper_note, protocol_notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equimodal.study.records import DataRecord, StudyRecord

__all__ = ["alone_grid"]


def alone_grid(record: StudyRecord, chosen: Sequence[DataRecord]) -> Grid:
    """Return the table of all modalities of some data sets."""
    rows: list[tuple[Cell, ...]] = []
    rules: set[int] = set()
    notes: list[str] = []
    for data in chosen:
        rules |= {len(rows)} if rows else set()
        like = paper.likeness(data.name)
        for modality in data.modalities:
            found = shared.readings(record.one("final", data.label, ALONE, modality), [modality])
            figure = None if like is None else paper.unimodal_figure(like.key, modality)
            rows.append(
                (
                    Cell(f"{data.label}, {modality}"),
                    Cell(data.label),
                    Cell(modality),
                    Cell(metric_name(data.metric), data.metric),
                    shared.one_cell(found.selected.get(modality)),
                    shared.paper_cell(None if figure is None else figure[0]),
                    Cell("–" if like is None else f"{like.title}, {figure[1]}" if figure else like.title),
                    *shared.estimate_cells(found.mean(modality)),
                    Cell(str(len(found.fresh)), len(found.fresh)),
                    *shared.record_cells(record),
                )
            )
        notes += [paper_note(data)]
        if like is not None and like.key in ("luma", "mmimdb"):
            notes.append("The paper's Table I heads LUMA with F1 and MM-IMDb with accuracy; its other tables have it the other way round.")
    series = [one for one in record.series if one.fusion == ALONE and one.data in {data.label for data in chosen}]
    if not series:
        notes.append("This study has no models of one modality.")
    columns = (
        Column("Model of", key="model"),
        Column("data", shown=False),
        Column("modality", shown=False),
        Column("metric", left=True),
        Column("selected run", key="selected"),
        Column("paper", key="paper"),
        Column("of", left=True, key="paper_of"),
        *shared.estimate_columns("mean over fresh seeds", "", "mean"),
        Column("seeds"),
        *shared.record_columns(),
    )
    return Grid(
        title=heading(record, "Table I: the models of one modality, test scores (%)"),
        columns=columns,
        rows=tuple(rows),
        rules=frozenset(rules),
        notes=(*dict.fromkeys(notes), *protocol_notes(record, series)),
        name="table1",
    )
