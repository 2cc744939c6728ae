"""The sentences of a report. Every one is computed from the records, and none claims more than they hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from equimodal.report.intervals import percent
from equimodal.report.words import SPLIT_NAMES, clean, listing, metric_name, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from equimodal.report.intervals import Estimate
    from equimodal.report.records import RunRecord
    from equimodal.report.result_table import ResultTable, Row

MANY_METHODS = 6
"""From so many on, only the ends of their range are named."""

__all__ = ["curves_caption", "describe_curves", "describe_dynamics", "dynamics_caption", "summary"]


def summary(runs: Sequence[RunRecord], table: ResultTable) -> str:
    """Return one paragraph on what was trained and what the table says.

    :param runs: all runs of the report.
    :param table: the table of the finished ones.
    """
    sentences = [_trained(runs)]
    methods = [row for row in table.rows if row.multimodal is not None]
    if table.rows:
        sentences.append(
            f"Scores are {metric_name(table.metric)} on the {SPLIT_NAMES.get(table.split, table.split)} split, "
            f"taken at the epoch with the best multimodal score on the validation split."
        )
    if methods:
        sentences += _best(table, methods)
        sentences += _differences(table, methods)
    sentences += _alone(table)
    if table.rows:
        sentences.append(_certainty(table))
    unfinished = [f"{clean(run.label)} ({_count(len(run.epochs), 'epoch')} so far)" for run in runs if run.result is None]
    if unfinished:
        sentences.append(f"Not finished, and therefore not in the table: {listing(unfinished)}.")
    return _bound(" ".join(sentences))


def _bound(text: str) -> str:
    """Keep a number and its sign or unit on one line."""
    return re.sub(r"(?<=[\dτ]) (?=[%±=])|(?<=[±=]) (?=\d)", "\u00a0", text)


def _trained(runs: Sequence[RunRecord]) -> str:
    methods = list(dict.fromkeys(clean(run.label) for run in runs if not run.is_unimodal))
    alone = list(dict.fromkeys(name for run in runs if run.is_unimodal for name in run.modalities))
    parts = []
    if methods:
        parts.append(f"{_count(len(methods), 'multimodal model')} ({listing(methods)})")
    if alone:
        parts.append(f"{_count(len(alone), 'unimodal model')} ({listing(map(clean, alone))})")
    datasets = sorted({run.dataset for run in runs if run.dataset})
    place = f" on {listing(map(clean, datasets))}" if datasets else ""
    lengths = sorted({len(run.epochs) for run in runs})
    span = _count(lengths[0], "epoch") if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]} epochs"
    seeds = sorted({run.seed for run in runs if run.seed is not None})
    seeded = f", with {'seed' if len(seeds) == 1 else 'seeds'} {listing(map(str, seeds))}" if seeds else ""
    verb = "was" if len(methods) + len(alone) == 1 else "were"
    return f"{title_case(listing(parts))} {verb} trained{place} for {span}{seeded}."


def _count(number: int, word: str) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return f"{words[number] if number < len(words) else number} {word}{'' if number == 1 else 's'}"


def _best(table: ResultTable, methods: Sequence[Row]) -> list[str]:
    best = [table.rows[position] for position in sorted(table.best())]
    if not best:
        return [f"The multimodal prediction of {clean(methods[0].label)} scores {percent(methods[0].multimodal)} %."]
    others = [row for row in methods if row not in best]
    if len(methods) < MANY_METHODS:
        shown = listing(f"{percent(row.multimodal)} % with {clean(row.label)}" for row in others) if others else ""
        rest = f"; it is {shown}" if others else ""
    else:
        rest = f"; the others lie {_span([(row.multimodal, row) for row in others], '%')}" if len(others) > 1 else ""
    return [f"The highest multimodal score is {percent(best[0].multimodal)} %, with {listing(clean(row.label) for row in best)}{rest}."]


def _differences(table: ResultTable, methods: Sequence[Row]) -> list[str]:
    known = [(row.difference, row) for row in methods if row.difference is not None]
    if not known:
        return []
    strong, weak = clean(table.modalities[0]), clean(table.modalities[-1])
    if len(known) < MANY_METHODS:
        values = f"is {listing(f'{percent(value, signed=True)} points with {clean(row.label)}' for value, row in known)}"
    else:
        values = f"lies {_span(known, 'points', signed=True)}"
    return [f"Δ, the score of the {strong} head minus that of the {weak} head, {values}."]


def _span(values: Sequence[tuple[Estimate | None, Row]], unit: str, *, signed: bool = False) -> str:
    """Name the lowest and the highest of some values, and the rows that have them."""
    known = sorted(((value, row) for value, row in values if value is not None), key=lambda pair: pair[0].mean)
    low, high = (f"{percent(value, signed=signed)} {unit} ({clean(row.label)})" for value, row in (known[0], known[-1]))
    return f"between {low} and {high}"


def _alone(table: ResultTable) -> list[str]:
    known = [
        f"{clean(name)} reaches {percent(value)} %"
        for row in table.rows
        if row.is_unimodal
        for name, value in zip(table.modalities, row.modalities, strict=True)
        if value is not None
    ]
    return [f"Trained alone, {listing(known)}."] if known else []


def _certainty(table: ResultTable) -> str:
    if all(row.count == 1 for row in table.rows):
        return "Each row is one run: how much of these differences is chance cannot be told from it, only from more seeds."
    return f"{table.certainty} The intervals cover the seeds alone, not the choice of data or settings."


def curves_caption(run: RunRecord, *, has_alone: bool) -> str:
    """Return the caption of the learning curves: what is drawn and what to look for."""
    metric = metric_name(run.metric)
    first = (
        f"Validation {metric} of the multimodal prediction of {clean(run.label)}{_seeded(run)} and of each unimodal head inside that model"
    )
    if not has_alone:
        return f"{first}. Look for a head that stays low while the multimodal prediction is high: the model does well without it."
    return (
        f"{first}, and of models that had one modality alone. Look for a modality that does well alone and stays low inside the "
        f"multimodal model: the model has learned less from it than there is to learn."
    )


def dynamics_caption(run: RunRecord, tau: float | None) -> str:
    """Return the caption of the learning dynamics: what is drawn, what to look for, and how often each rate was reduced."""
    total = len(run.epochs)
    sentences = [f"How {clean(run.label)}{_seeded(run)} treated its modalities, epoch by epoch."]
    sentences.append(
        "The larger a modality's utilization rate, the more the multimodal score depends on it; the gap δ is how far the rates lie apart."
    )
    if tau is not None:
        above = sum(value is not None and value > tau for value in run.series("gap"))
        compared = "" if run.tau is not None else ", which this run does not act on,"
        sentences.append(f"Here δ lies above τ = {tau:.3g} (dashed){compared} in {above} of {total} epochs.")
    reduced = {
        name: sum(value is not None and value < 1.0 for value in run.series("multipliers", name)) for name in run.names("multipliers")
    }
    slowed = [f"that of {clean(name)} in {count} of {total} epochs" for name, count in reduced.items() if count]
    if slowed:
        sentences.append(
            f"Learning rates were reduced: {listing(slowed)}. Look for whether δ falls afterwards and the weaker head's score rises."
        )
    elif reduced:
        sentences.append("No learning rate was reduced. Look for whether the heads' scores come together or stay apart.")
    undefined = sum(value is None for value in run.series("gap"))
    if undefined:
        sentences.append(f"In {_count(undefined, 'epoch')} δ is undefined, which leaves a gap in the lines.")
    return _bound(" ".join(sentences))


def _seeded(run: RunRecord) -> str:
    return "" if run.seed is None else f" (seed {run.seed})"


def describe_curves(run: RunRecord, alone: Sequence[RunRecord]) -> str:
    """Return what the learning curves show, for those who do not see them: the last value of every line."""
    inside = _last(run, (MULTIMODAL, *run.modalities))
    text = f"Line chart over {_count(len(run.epochs), 'epoch')}. At the last one, inside {clean(run.label)}: {inside}."
    ends = [_last(other, other.modalities) for other in alone]
    return f"{text} Trained alone: {'; '.join(ends)}." if ends else text


def describe_dynamics(run: RunRecord, tau: float | None) -> str:
    """Return what the four panels show, for those who do not see them: the last value of every line."""
    gap = [value for value in run.series("gap") if value is not None]
    parts = [f"Four line charts over {_count(len(run.epochs), 'epoch')}: utilization, gap, learning rates, validation scores."]
    if gap:
        parts.append(f"The gap goes from {gap[0]:.2f} to {gap[-1]:.2f}" + (f"; the threshold is {tau:.3g}." if tau is not None else "."))
    parts.append(f"Scores at the last epoch: {_last(run, (MULTIMODAL, *run.modalities))}.")
    return " ".join(parts)


def _last(run: RunRecord, names: Iterable[str]) -> str:
    ends = []
    for name in names:
        known = [value for value in run.series("scores", "val", name) if value is not None]
        ends.append(f"{clean(name)} {100 * known[-1]:.1f} %" if known else f"{clean(name)} undefined")
    return ", ".join(ends)
