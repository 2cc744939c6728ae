"""A study's records out of its storage."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from equimodal.report.cost import Cost
from equimodal.report.records import RunRecord
from equimodal.study.packing import unpack
from equimodal.study.records import SeriesRecord, State, StudyRecord, TrialRecord
from equimodal.study.selection import Starts, settled
from equimodal.study.series import Series, data_records, expand

if TYPE_CHECKING:
    from equimodal.study.storage import Attempt, Storage

__all__ = ["read_study"]

_STATES: Mapping[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def read_study(storage: Storage, *, runs: bool = True) -> StudyRecord:
    """Return what a storage knows of its study.

    :param runs: whether the runs are read too; without them there are states, hyper-parameters and costs, and no scores.
    """
    declaration = storage.declaration
    series = expand(declaration)
    known = {one.name: storage.attempts(one.name) for one in series}
    drawn = declaration.drawn
    starts = Starts(series, known.__getitem__, declaration.file["selection"], drawn=drawn)
    found: dict[str, SeriesRecord] = {}
    for one in series:
        found[one.name] = _series(one, known[one.name], starts, drawn=drawn, runs=runs)
    order = {"search": 0, "final": 1, "sweep": 2, "example": 3}
    first = {one.name: position for position, one in enumerate(series)}
    records = sorted(found.values(), key=lambda record: (_place(record, first), order[record.kind], first[record.name]))
    costs = {name: _cost(record.trials) for name, record in found.items()}
    rates = {one.name: one.rates.values() for one in series}
    # A row is charged with the searches that its method needs beforehand.
    charged = [replace(record, before=_total(costs[name] for name in rates[record.name])) for record in records]
    return StudyRecord(
        declaration.name,
        dict(declaration.file),
        data_records(declaration),
        tuple(charged),
        declaration.overridden,
        declaration.file["selection"],
    )


def _place(record: SeriesRecord, first: Mapping[str, int]) -> int:
    return first[f"{record.data}/{record.fusion}/{record.row}"]


def _cost(trials: Iterable[TrialRecord]) -> Cost:
    return _total(trial.cost for trial in trials if trial.done)


def _total(costs: Iterable[Cost]) -> Cost:
    return functools.reduce(Cost.__add__, costs, Cost(0.0, 0))


def _series(series: Series, attempts: Sequence[Attempt], starts: Starts, *, drawn: bool, runs: bool) -> SeriesRecord:
    start = starts.of(series)
    blocked = start if isinstance(start, str) else None
    trials = []
    for number in range(series.count):
        if start is None or isinstance(start, str):
            params = dict(series.settings[number]) if series.settings else {}
            trials.append(TrialRecord(number, params=params))
            continue
        draft = series.draft(number, start, drawn=drawn)
        mine = [attempt for attempt in attempts if attempt.key == draft.key]
        trials.append(_trial(series, number, mine, settled(mine, draft.key), draft.params or {}, runs=runs))
    selected = None if start is None or isinstance(start, str) or start.selected is None else start.selected.number
    return SeriesRecord(
        series.name,
        series.kind,
        series.data,
        series.fusion,
        series.row,
        series.label,
        tuple(trials),
        series.option,
        selected,
        blocked=blocked,
    )


def _trial(
    series: Series, number: int, attempts: Sequence[Attempt], final: Attempt | None, params: Mapping[str, Any], *, runs: bool
) -> TrialRecord:
    if final is None:
        running = next((attempt for attempt in attempts if attempt.state == "RUNNING"), None)
        if running is None:
            return TrialRecord(number, params=params, attempts=len(attempts))
        mark = running.facts.get("mark") or {}
        shown = params or running.params
        return TrialRecord(
            number,
            "running",
            shown,
            attempts=len(attempts),
            where=mark.get("host"),
            started=running.facts.get("began_at") or _time(running.started),
        )
    facts = final.facts
    run, environment = None, None
    if runs and "run" in facts:
        content = unpack(facts["run"])
        method = content["config"]["method"]["name"]
        run = RunRecord(series.label, method, content["config"], content["epochs"], content["result"])
        environment = content["environment"]
    return TrialRecord(
        number=number,
        state=_STATES[final.state],
        params=dict(params or final.params),
        run=run,
        reason=facts.get("reason"),
        attempts=len(attempts),
        cost=Cost(facts.get("seconds"), facts.get("steps")),
        where=(facts.get("mark") or {}).get("host"),
        started=facts.get("began_at") or _time(final.started),
        ended=facts.get("ended_at") or _time(final.ended),
        environment=environment,
    )


def _time(moment: datetime | None) -> str | None:
    """Return a moment of Optuna's, which are local times without a zone, in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
