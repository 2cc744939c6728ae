"""The last part of a page: every run with its facts, scores and configuration; one table per label where there are many runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from equimodal.report.cost import duration
from equimodal.report.intervals import estimate, percent
from equimodal.report.terminal import fit
from equimodal.report.words import SPLIT_NAMES, clean, metric_name
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.report.records import RunRecord

__all__ = ["describe_groups", "describe_runs"]

FEW_RUNS = 8
"""Up to so many runs have a section each; more are gathered by label, folded."""

MISSING = "–"


def describe_runs(runs: Sequence[RunRecord], modalities: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the sections of the runs show, one per run; empty for many runs."""
    if len(runs) > FEW_RUNS:
        return []
    return [_run(position, run, modalities) for position, run in enumerate(runs, start=1)]


def describe_groups(runs: Sequence[RunRecord], modalities: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the tables of the runs of each label show; empty for few runs."""
    groups: dict[tuple[str, tuple[str, ...]], list[RunRecord]] = {}
    for run in runs if len(runs) > FEW_RUNS else ():
        groups.setdefault((run.label, run.modalities if run.is_unimodal else ()), []).append(run)
    return [_group(position, members, modalities) for position, members in enumerate(groups.values(), start=1)]


def _run(position: int, run: RunRecord, modalities: Sequence[str]) -> dict[str, Any]:
    splits = _splits([run])
    return {
        "id": f"run-{position}",
        "label": clean(run.label),
        "facts": _facts(run),
        "metric": metric_name(run.metric),
        "splits": list(splits.values()),
        "scores": [(clean(head), [_score(run, split, head) for split in splits]) for head in _heads(run, modalities)] if splits else [],
        "config": _printed(run.config),
    }


def _group(position: int, runs: Sequence[RunRecord], modalities: Sequence[str]) -> dict[str, Any]:
    """Return one table: a row per run, with the facts in which the runs differ and all scores."""
    facts = [dict(_facts(run)) for run in runs]
    names = list(dict.fromkeys(name for known in facts for name in known))
    common = [name for name in names if len({known.get(name) for known in facts}) == 1]
    seeds = {run.seed for run in runs}
    seeded = None not in seeds and len(seeds) == len(runs)
    common = [name for name in common if name != "seed" or not seeded]
    differing = [name for name in names if name not in common and not (seeded and name == "seed")]
    splits, heads = _splits(runs), list(dict.fromkeys(head for run in runs for head in _heads(run, modalities)))
    rows = [
        (
            str(run.seed if seeded else number),
            [*(known.get(name, MISSING) for name in differing), *(_score(run, split, head) for split in splits for head in heads)],
        )
        for number, (run, known) in enumerate(zip(runs, facts, strict=True), start=1)
    ]
    return {
        "id": f"runs-{position}",
        "label": clean(runs[0].label),
        "count": f"{len(runs)} run{'s' if len(runs) > 1 else ''}",
        "facts": [(name, facts[0][name]) for name in common],
        "metric": metric_name(runs[0].metric),
        "key": "seed" if seeded else "run",
        "columns": differing,
        "splits": list(splits.values()),
        "heads": [clean(head) for head in heads],
        "rows": rows,
        "config": _printed(runs[0].config),
        "differences": _differences([run.config for run in runs]),
    }


def _heads(run: RunRecord, modalities: Sequence[str]) -> list[str]:
    return [name for name in (MULTIMODAL, *modalities) if name in run.modalities or (name == MULTIMODAL and not run.is_unimodal)]


def _splits(runs: Sequence[RunRecord]) -> dict[str, str]:
    return {split: name for split, name in SPLIT_NAMES.items() if any(run.final_scores(split) for run in runs)}


def _score(run: RunRecord, split: str, head: str) -> str:
    return percent(estimate([run.final_scores(split).get(head)]))


def _facts(run: RunRecord) -> list[tuple[str, str]]:
    facts = [("method", clean(run.method))]
    if run.seed is not None:
        facts.append(("seed", str(run.seed)))
    facts.append(("epochs", str(len(run.epochs)) if run.result is not None else f"{len(run.epochs)} so far"))
    if run.best_epoch is not None:
        facts.append(("best epoch", str(run.best_epoch)))
    facts += [
        (symbol, f"{value:g}") for symbol, value in (("τ", run.option("tau")), ("μ", run.option("mu"))) if isinstance(value, int | float)
    ]
    seconds = [value for value in run.series("seconds") if value is not None]
    if seconds:
        facts.append(("training time", duration(sum(seconds))))
    if run.cost.steps is not None:
        facts.append(("optimizer steps", f"{run.cost.steps:,}"))
    return facts


def _printed(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=2, ensure_ascii=False, default=str)


def _differences(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the keys whose values are not the same in all configurations, with the values in the order of the runs."""
    flat = [dict(_leaves(config)) for config in configs]
    keys = dict.fromkeys(key for leaves in flat for key in leaves)
    values = {key: [leaves.get(key, MISSING) for leaves in flat] for key in keys}
    return [(clean(key), ", ".join(fit(clean(text), 40) for text in texts)) for key, texts in values.items() if len(set(texts)) > 1]


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, below in value.items():
        if isinstance(below, Mapping) and below:
            yield from _leaves(below, f"{path}{key}.")
        else:
            yield f"{path}{key}", json.dumps(below, ensure_ascii=False, default=str)
