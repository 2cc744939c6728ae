"""Tables like the row sets of Table II of the MILES paper: models, multimodal and unimodal scores, and their difference Δ.

The modalities are given once, the strongest first, and stay in that order: Δ is the first one's score minus the last one's, signed, so
that it turns negative where a method makes the weaker modality the stronger one. Besides, what a run cost, relative to a row of reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.errors import InputError, nearest
from equimodal.report.cost import Cost, mean_cost
from equimodal.report.intervals import estimate
from equimodal.report.records import RunRecord, checked_modalities
from equimodal.report.result_table import Reference, ResultTable, Row
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Reference", "ResultTable", "Row", "group_rows"]


def group_rows(
    runs: Iterable[RunRecord],
    modalities: Iterable[str],
    split: str = "test",
    *,
    relative_to: str | None = None,
    extra_costs: Mapping[str, Cost] | None = None,
) -> ResultTable:
    """Gather finished runs into a table: runs of one label, such as several seeds, make one row of means with intervals.

    Runs that are not finished are left out. A unimodal run counts in its modality's column only. Δ is averaged over the runs' own
    differences, so that its interval is that of paired values.

    >>> result = {"metric": "accuracy", "scores": {"test": {"multimodal": 0.984, "image": 0.985, "audio": 0.539}}}
    >>> print(group_rows([RunRecord("vanilla", "vanilla", result=result)], ["image", "audio"]))
    Test accuracy (%)
    <BLANKLINE>
    Model    multimodal  image  audio  Δ (image − audio)
    ────────────────────────────────────────────────────
    vanilla        98.4   98.5   53.9              +44.6
    <BLANKLINE>
    One run per row: differences may be chance.

    :param runs: in the order of the rows; unimodal ones come first in any case.
    :param modalities: all modalities, the strongest first.
    :param split: ``"test"``, ``"val"`` or ``"train"``.
    :param relative_to: the label of the row whose cost is 1, such as ``"joint"``: two more columns have the mean seconds and optimizer
        steps of a row's runs as multiples of that row's. None, the default, for a table without costs.
    :param extra_costs: by label, what is added to the cost of each of its runs, such as that of a search for learning rates that belongs
        to the method.
    :raises InputError: for runs of different data sets or metrics, two runs of one label and seed, an unknown modality, a reference
        without a finished run, or extra costs of an unknown label or without a reference.
    """
    runs = list(runs)
    finished = [run for run in runs if run.result is not None]
    names = checked_modalities(modalities, finished)
    _check_together(finished)
    extra = _checked_costs(extra_costs or {}, runs, relative_to)
    groups: dict[tuple[str, tuple[str, ...]], list[RunRecord]] = {}
    for run in finished:
        groups.setdefault((run.label, run.modalities if run.is_unimodal else ()), []).append(run)
    for (label, _), members in groups.items():
        seeds = [run.seed for run in members if run.seed is not None]
        if len(set(seeds)) < len(seeds):
            raise InputError(f"two runs of {label!r} have the same seed, which would count one result twice: give each its own label")
    labels = [label for label, _ in groups]
    rows = []
    for (label, alone), members in groups.items():
        # Two unimodal models under one label need their modality to be told apart.
        shown = f"{label} ({alone[0]})" if alone and labels.count(label) > 1 else label
        rows.append(_row(shown, members, names, split, extra.get(label), is_unimodal=bool(alone)))
    rows.sort(key=lambda row: not row.is_unimodal)
    reference = None if relative_to is None else _reference(relative_to, rows, runs, [label for label in labels if label in extra])
    return ResultTable(names, finished[0].metric if finished else "score", split, tuple(rows), reference)


def _check_together(runs: Sequence[RunRecord]) -> None:
    for what, values in (("data sets", {run.dataset for run in runs}), ("metrics", {run.metric for run in runs})):
        if len(values) > 1:
            raise InputError(
                f"runs of different {what} cannot share a table ({', '.join(sorted(map(str, values)))}): make one table for each"
            )


def _checked_costs(costs: Mapping[str, Cost], runs: Sequence[RunRecord], relative_to: str | None) -> Mapping[str, Cost]:
    labels = {run.label for run in runs}
    for label, cost in costs.items():
        if relative_to is None:
            raise InputError(f"an extra cost of {label!r} is given to a table without costs: name the row to compare with as relative_to")
        if label not in labels:
            raise InputError(f"an extra cost is given for {label!r}, and no run has that label: {nearest(label, labels)}")
        if not isinstance(cost, Cost):
            raise InputError(f"the extra cost of {label!r} is {cost!r}: give a Cost of seconds and steps")
    return costs


def _reference(label: str, rows: Sequence[Row], runs: Sequence[RunRecord], prepared: Sequence[str]) -> Reference:
    for row in rows:
        if row.label == label:
            return Reference(label, row.cost, tuple(dict.fromkeys(prepared)))
    waiting = any(run.label == label for run in runs if run.result is None)
    hint = "wait for its first result" if waiting else nearest(label, [row.label for row in rows])
    raise InputError(f"costs cannot be relative to {label!r}, which has no finished run: {hint}")


def _row(label: str, runs: Sequence[RunRecord], modalities: Sequence[str], split: str, extra: Cost | None, *, is_unimodal: bool) -> Row:
    scores = [run.final_scores(split) for run in runs]
    differences = []
    for values in scores:
        strong, weak = values.get(modalities[0]), values.get(modalities[-1])
        differences.append(None if is_unimodal or strong is None or weak is None else strong - weak)
    return Row(
        label=label,
        is_unimodal=is_unimodal,
        count=len(runs),
        multimodal=None if is_unimodal else estimate(values.get(MULTIMODAL) for values in scores),
        modalities=tuple(estimate(values.get(name) for values in scores) for name in modalities),
        difference=estimate(differences),
        cost=mean_cost(run.cost if extra is None else run.cost + extra for run in runs),
    )
