"""Titles and notes of a study's tables: how figures came about, what is missing, and what the paper's columns are of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from equimodal.report.words import listing
from equimodal.study import paper
from equimodal.study.tables.shared import fresh_runs

if TYPE_CHECKING:
    from equimodal.report.records import RunRecord
    from equimodal.study.records import DataRecord, SeriesRecord, StudyRecord

__all__ = ["heading", "paper_name", "paper_note", "protocol_notes", "unfinished_notes"]


def heading(record: StudyRecord, what: str) -> str:
    """Return a title; a study that selects by the test split says so in every one."""
    return f"{what} – ORACLE SELECTION" if _is_oracle(record) else what


def _is_oracle(record: StudyRecord) -> bool:
    return record.rule != "best-validation"


def paper_name(dataset: str) -> str:
    """Return the header of the paper's columns, such as ``"paper: S-MNIST"``; only ``"paper"`` without a data set like this one."""
    found = paper.likeness(dataset)
    return "paper" if found is None else f"paper: {found.title}"


def paper_note(data: DataRecord) -> str:
    """Say what the paper's columns are of."""
    found = paper.likeness(data.name)
    if found is None:
        return f"The paper has no data set like {data.label}."
    if found.same:
        return f"{paper_name(data.name)}: the paper's figures for the same data set, from one run each."
    return (
        f"{paper_name(data.name)}: the paper has no {data.label}; shown are its figures for {found.title}, the data set most like it, from "
        "one run each. They are no target."
    )


def protocol_notes(record: StudyRecord, series: Sequence[SeriesRecord]) -> list[str]:
    """Say how the figures of some series came about: trials, seeds, epochs, selection, overridden search spaces, and what is missing."""
    searches = [one for one in series if one.kind == "search"]
    notes = []
    if _is_oracle(record):
        notes.append("ORACLE SELECTION: configurations were chosen by their TEST scores. No figure here may be held against a fair one.")
    if searches:
        done, planned = sum(one.done for one in searches), sum(len(one.trials) for one in searches)
        notes.append(f"Search: {done} of {planned} trials done, {_range(len(one.trials) for one in searches)} per row{_losses(searches)}.")
        notes += _sampling(record)
    if any(one.kind == "final" for one in series):
        notes.append(_selection(record, [one for one in series if one.kind == "final"]))
    epochs = sorted({int(value) for value in _epochs(record, series)})
    notes += [f"Epochs: {_range(epochs)}."] if epochs else []
    notes += [f"Search space other than by default: {line}{'' if line.endswith('.') else '.'}" for line in record.overridden]
    return notes + unfinished_notes(series)


def _selection(record: StudyRecord, finals: Sequence[SeriesRecord]) -> str:
    split = "test" if _is_oracle(record) else "validation"
    seeds = _range(max(0, len(one.trials) - 1) for one in finals)
    trained = sorted({seed for one in finals for seed in fresh_runs(one)})
    named = f" ({trained[0]} to {trained[-1]})" if len(trained) > 1 else f" ({trained[0]})" if trained else ""
    score = f"{split} score" if all(one.is_unimodal for one in finals) else f"multimodal {split} score"
    read = "scored on the test split, which every trial had read" if _is_oracle(record) else "read once on the test split, as in the paper"
    return (
        f"Selected run: the configuration with the best {score}, trained once more with the search's seed and {read}. Mean: over {seeds} "
        f"fresh seed{'' if seeds == '1' else 's'}{named} of that configuration, ± half of the 95 % "
        "interval (Student's t)."
    )


def _sampling(record: StudyRecord) -> list[str]:
    """Say where the search was another one than the paper's."""
    names = {key: (record.declaration.get(key) or {}).get("name") for key in ("sampler", "pruner")}
    notes = [f"The search drew by {names['sampler']}, not at random as the paper's."] if names["sampler"] not in (None, "random") else []
    return notes + ([f"Trials were pruned by {names['pruner']}; the paper's were not."] if names["pruner"] else [])


def _losses(series: Sequence[SeriesRecord]) -> str:
    trials = [trial.state for one in series for trial in one.trials]
    parts = [f"{trials.count(state)} {state}" for state in ("failed", "pruned") if state in trials]
    return f" ({', '.join(parts)})" if parts else ""


def _epochs(record: StudyRecord, series: Sequence[SeriesRecord]) -> Iterable[float]:
    runs: list[RunRecord] = [trial.run for one in series for trial in one.trials if trial.run is not None]
    found = [run.config.get("epochs") for run in runs] or [
        data.config.get("epochs") for data in record.data if any(one.data == data.label for one in series)
    ]
    return [value for value in found if isinstance(value, int | float)]


def _range(counts: Iterable[int]) -> str:
    known = sorted(set(counts))
    return "0" if not known else str(known[0]) if len(known) == 1 else f"{known[0]} to {known[-1]}"


def unfinished_notes(series: Sequence[SeriesRecord]) -> list[str]:
    """Say which series are not finished, which final runs failed, and which cannot begin."""
    several = len({(one.data, one.fusion) for one in series}) > 1
    names = {one.name: f"{one.label} ({one.data}, {one.fusion})" if several and not one.is_unimodal else one.label for one in series}
    what = {"search": "trials", "final": "final runs", "sweep": "runs", "example": "runs"}
    waiting: dict[str, list[str]] = {}
    for one in series:
        if one.done < len(one.trials):
            waiting.setdefault(f"{one.done} of {len(one.trials)} {what[one.kind]}", []).append(names[one.name])
    failed = []
    for one in series:
        count = sum(trial.state == "failed" for trial in one.trials)
        if count and one.kind != "search":
            failed.append(f"{count} of {len(one.trials)} {what[one.kind]} of {names[one.name]}")
    notes = [f"Not finished, {count} done: {listing(rows)}." for count, rows in waiting.items()]
    notes += [f"Failed: {listing(failed)}."] if failed else []
    return notes + list(dict.fromkeys(f"{names[one.name]} cannot begin: {one.blocked.rstrip('.')}." for one in series if one.blocked))
