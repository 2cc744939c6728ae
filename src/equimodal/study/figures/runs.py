"""Figures 1 and 2 of the MILES paper for a study: learning curves and learning dynamics of selected runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from equimodal.report import prose
from equimodal.report.figures import learning_curves, learning_dynamics
from equimodal.report.words import listing
from equimodal.study.figures.drawing import Drawing, oracle_note
from equimodal.study.records import ALONE, DataRecord, SeriesRecord, StudyRecord, TrialRecord
from equimodal.study.tables import searches
from equimodal.study.tables.shared import JOINT, MILES, VANILLA, label_of

if TYPE_CHECKING:
    from equimodal.report.records import RunRecord

__all__ = ["draw_curves", "draw_dynamics", "selected_run", "selected_trial"]


def selected_trial(record: StudyRecord, data: str, fusion: str, row: str) -> TrialRecord | None:
    """Return the trial of a search that was selected; None while that is not known."""
    search = record.one("search", data, fusion, row)
    if search is None:
        return None
    number = searches.selected_trial(record, search)
    return next((trial for trial in search.trials if trial.number == number), None)


def selected_run(record: StudyRecord, data: str, fusion: str, row: str) -> RunRecord | None:
    """Return the selected run of a row: as it was trained once more, and until then the trial of the search; None without either."""
    final = record.one("final", data, fusion, row)
    again = [trial for trial in final.complete if trial.number == 0] if final is not None else []
    for trial in (*again, selected_trial(record, data, fusion, row)):
        if trial is not None and trial.run is not None and trial.state == "complete":
            return replace(trial.run, label=label_of(record, data, fusion, row))
    return None


def draw_curves(record: StudyRecord) -> Iterator[Drawing]:
    """Yield Figure 1 for each data set and fusion: a model without any remedy beside models of one modality."""
    for data in record.data:
        for fusion in record.fusions(data.label):
            yield _curves(record, data, fusion)


def _curves(record: StudyRecord, data: DataRecord, fusion: str) -> Drawing:
    name, stem, place = "figure1", f"figure1-{data.label}-{fusion}", f"{data.label}, {fusion}"
    found = [(row, selected_run(record, data.label, fusion, row)) for row in (VANILLA, JOINT)]
    row, run = next(((row, run) for row, run in found if run is not None and run.epochs), (VANILLA, None))
    title = f"Figure 1: learning curves of {label_of(record, data.label, fusion, row)} on {place}"
    if run is None:
        first, other = (label_of(record, data.label, fusion, row) for row in (VANILLA, JOINT))
        reason = f"Neither {first} nor {other} has a selected run yet."
        return Drawing(name, stem, title, reason=reason)
    chosen = run
    alone = [one for modality in data.modalities if (one := selected_run(record, data.label, ALONE, modality)) is not None and one.epochs]
    notes = []
    if row != VANILLA:
        notes.append(f"There is no selected run of {label_of(record, data.label, fusion, VANILLA)}: {run.label} stands in its place.")
    lacking = [modality for modality in data.modalities if not any(one.modalities == (modality,) for one in alone)]
    if lacking:
        notes.append(f"Not drawn, as nothing is selected yet: {listing(f'{modality} alone' for modality in lacking)}.")
    caption = " ".join([prose.curves_caption(run, has_alone=bool(alone)), *notes])
    return Drawing(
        name,
        stem,
        title,
        f"{caption}{oracle_note(record)}",
        prose.describe_curves(run, alone),
        lambda narrow: learning_curves(chosen, alone, modalities=data.modalities, columns=1 if narrow else 2),
    )


def draw_dynamics(record: StudyRecord) -> Iterator[Drawing]:
    """Yield Figure 2 for each data set and fusion: MILES with the paper's hyper-parameters, and with the selected ones."""
    for data in record.data:
        for fusion in record.fusions(data.label):
            example = record.one("example", data.label, fusion, MILES)
            if example is not None:
                yield _example(record, data, example)
            if record.one("search", data.label, fusion, MILES) is not None:
                run = selected_run(record, data.label, fusion, MILES)
                stem = f"figure2-{data.label}-{fusion}-selected"
                title = (
                    f"Figure 2: learning dynamics of the selected {label_of(record, data.label, fusion, MILES)} on {data.label}, {fusion}"
                )
                yield _dynamics(record, data, run, stem, title, "No run of MILES is selected yet.", "")


def _example(record: StudyRecord, data: DataRecord, series: SeriesRecord) -> Drawing:
    trial = next((trial for trial in series.complete if trial.run is not None and trial.run.epochs), None)
    given = next((trial.params for trial in series.trials if trial.params), {})
    names = {"optimizer.lr": "α", "method.tau": "τ", "method.mu": "μ"}
    said = (
        listing(f"{sign}\u00a0=\u00a0{given[key]:g}" for key, sign in names.items() if isinstance(given.get(key), int | float))
        if given
        else ""
    )
    failed = next((trial.reason for trial in series.trials if trial.state == "failed"), None)
    reason = f"The run failed: {failed}." if failed else "The run has not been made yet."
    note = f"The hyper-parameters are given ones, not searched: {said}." if said else ""
    run = None if trial is None or trial.run is None else replace(trial.run, label=series.label)
    stem = f"figure2-{data.label}-{series.fusion}-example"
    title = f"Figure 2: learning dynamics of {series.label} on {data.label}, {series.fusion}, with given hyper-parameters"
    return _dynamics(record, data, run, stem, title, reason, note)


def _dynamics(record: StudyRecord, data: DataRecord, run: RunRecord | None, stem: str, title: str, reason: str, note: str) -> Drawing:
    if run is None or not run.epochs:
        return Drawing("figure2", stem, title, reason=reason)
    caption = f"{prose.dynamics_caption(run, run.tau)} {note}".strip()
    oracle = "" if note else oracle_note(record)
    return Drawing(
        "figure2",
        stem,
        title,
        f"{caption}{oracle}",
        prose.describe_dynamics(run, run.tau),
        lambda narrow: learning_dynamics(run, modalities=data.modalities, columns=1 if narrow else 2),
    )
