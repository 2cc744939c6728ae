"""What the page of a study says of the study itself: its protocol, how far it has come, and where it ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from equimodal.report.words import clean, listing, metric_name
from equimodal.study.records import TRAINING_SCORES
from equimodal.study.tables.shared import label_of

if TYPE_CHECKING:
    from equimodal.study.records import SeriesRecord, StudyRecord

__all__ = ["facts_of", "machines_of", "progress_of", "summary_of"]

LISTED = 12
"""So many different values of one fact are written out at most."""


def summary_of(record: StudyRecord) -> str:
    """Return one paragraph on what the study is."""
    searches = list(record.find("search"))
    methods = dict.fromkeys(one.row for one in searches if not one.is_unimodal and one.row != TRAINING_SCORES)
    fusions = dict.fromkeys(one.fusion for one in searches if not one.is_unimodal)
    where = listing(clean(data.label) for data in record.data) if record.data else "no data set"
    how = f" with {_count(len(fusions), 'fusion')}" if fusions else ""
    honest = record.rule == "best-validation"
    split = "validation" if honest else "TEST"
    read = "read once on the test split, as in the MILES paper" if honest else "scored on the test split, which every trial had read"
    return (
        f"{_count(len(methods), 'method')} on {where}{how}, each searched with {_span(len(one.trials) for one in searches)} random "
        f"configurations. The one with the best multimodal {split} score was trained once more and {read}, "
        f"and then trained anew with {_span(max(0, len(one.trials) - 1) for one in record.find('final'))} fresh seeds, which "
        "the intervals and tests rest on."
    ).replace("random configurations", _drawn(record), 1)


def _drawn(record: StudyRecord) -> str:
    sampler = _name(record.declaration.get("sampler"))
    return "random configurations" if sampler in (None, "random") else f"configurations that the sampler {clean(str(sampler))} proposed"


def progress_of(record: StudyRecord) -> dict[str, Any] | None:
    """Return how far a study has come; None for one that is finished without a loss."""
    trials = record.trials
    states = Counter(trial.state for trial in trials)
    lost = states["failed"] + states["pruned"]
    blocked = [one for one in record.series if one.blocked]
    if trials and states["complete"] == len(trials) and not blocked:
        return None
    parts = [f"{states['complete']} of {len(trials)} runs are complete"]
    parts += [f"{states[state]} {state}" for state in ("failed", "pruned", "running", "waiting") if states[state]]
    is_open = sum(trial.done for trial in trials) < len(trials)
    sentence = f"{'Not finished: ' if is_open else ''}{', '.join(parts)}."
    lines = [f"{_series_name(one)}: {one.done} of {len(one.trials)} runs have ended" for one in record.series if one.done < len(one.trials)]
    lines += [f"{_series_name(one)} cannot begin: {clean(one.blocked or '')}" for one in blocked]
    total = max(1, len(trials))
    return {
        "sentence": sentence,
        "open": lines,
        "complete": f"{100 * states['complete'] / total:.2f}",
        "lost": f"{100 * lost / total:.2f}",
    }


def _series_name(series: SeriesRecord) -> str:
    what = {"search": "search", "final": "selected run and fresh seeds", "example": "given hyper-parameters"}
    option = {"method.tau": "τ", "method.mu": "μ"}.get(series.option or "", series.option)
    said = what.get(series.kind) or f"{option} varied"
    place = clean(series.data) if series.is_unimodal else f"{clean(series.data)}, {clean(series.fusion)}"
    return f"{clean(series.label)} on {place}, {said}"


def facts_of(record: StudyRecord) -> list[tuple[str, str]]:
    """Return the protocol, fact by fact."""
    facts = []
    for data in record.data:
        order = listing(map(clean, data.modalities)) if data.modalities else "none"
        facts.append(
            (
                f"data set {clean(data.label)}",
                f"{clean(data.name)}: {order} (the strongest first), scored by {metric_name(data.metric)}{_options(data.config)}",
            )
        )
    fusions = dict.fromkeys(fusion for data in record.data for fusion in record.fusions(data.label))
    if fusions:
        facts.append(("fusions", listing(map(clean, fusions))))
    labels = dict.fromkeys(
        label_of(record, data.label, fusion, row)
        for data in record.data
        for fusion in record.fusions(data.label)
        for row in record.rows(data.label, fusion)
    )
    if labels:
        facts.append(("methods", listing(map(clean, labels))))
    searches, finals = list(record.find("search")), list(record.find("final"))
    facts.append(("trials per search", _span(len(one.trials) for one in searches)))
    facts.append(("fresh seeds", _span(max(0, len(one.trials) - 1) for one in finals)))
    epochs = _epochs(record)
    if epochs:
        facts.append(("epochs", _span(epochs)))
    rule = "best multimodal validation score; the test split is read once, by the selected run"
    facts.append(("selection", rule if record.rule == "best-validation" else f"{clean(record.rule)}: best TEST score (oracle selection)"))
    sampler, pruner = (_name(record.declaration.get(key)) for key in ("sampler", "pruner"))
    facts.append(("sampler", clean(sampler or "random")))
    facts.append(("pruning", clean(pruner or "none")))
    seed = record.declaration.get("seed")
    if isinstance(seed, int):
        facts.append(("seed", str(seed)))
    return facts


def machines_of(record: StudyRecord) -> list[tuple[str, str]]:
    """Return where trials ran, and with what."""
    trials = [trial for trial in record.trials if trial.done]
    facts = []
    where = Counter(trial.where for trial in trials if trial.where)
    if where:
        facts.append(("machines", _counted(where, len(trials))))
    again = sum(trial.attempts > 1 for trial in trials)
    if again:
        facts.append(("taken over", f"{again} of {len(trials)} runs were begun more than once"))
    moments = sorted(moment for trial in trials for moment in (trial.started, trial.ended) if moment)
    if moments:
        facts.append(("from, to", f"{clean(moments[0])}, {clean(moments[-1])}"))
    seconds = [trial.cost.seconds for trial in trials if trial.cost.seconds is not None]
    if seconds:
        facts.append(("training time", f"{sum(seconds) / 3600:.1f} hours in all, over {len(seconds)} runs"))
    found: dict[str, Counter[str]] = {}
    for trial in trials:
        for name, value in (trial.environment or {}).items():
            if value is not None:
                found.setdefault(str(name), Counter())[str(value)] += 1
    for name, values in found.items():
        facts.append((clean(name), _counted(values, len(trials))))
    return facts or [("machines", "No run has ended yet.")]


def _counted(values: Counter[str], total: int) -> str:
    """Return a fact's values, with how many runs had each where they differ."""
    if len(values) == 1 and sum(values.values()) == total:
        return clean(next(iter(values)))
    most = values.most_common(LISTED)
    rest = f", and {len(values) - LISTED} more" if len(values) > LISTED else ""
    return ", ".join(f"{clean(value)} ({_count(count, 'run')})" for value, count in most) + rest


def _options(config: Mapping[str, Any]) -> str:
    """Return what of a data set's configuration tells one protocol from another."""
    parts = []
    dataset = config.get("dataset")
    if isinstance(dataset, Mapping):
        parts += [f"{name} = {value}" for name, value in dataset.items() if name != "name" and value is not None]
    encoders = (config.get("model") or {}).get("encoders") if isinstance(config.get("model"), Mapping) else None
    if isinstance(encoders, Mapping):
        parts += [f"{modality}: {_encoder(encoder)}" for modality, encoder in encoders.items()]
    parts += [f"{name.replace('_', ' ')} {config[name]}" for name in ("batch_size", "threads", "device") if config.get(name) is not None]
    return f"; {clean(', '.join(parts))}" if parts else ""


def _encoder(encoder: Any) -> str:
    if not isinstance(encoder, Mapping):
        return str(encoder)
    rest = [f"{name} {value}" for name, value in encoder.items() if name != "name" and value is not None]
    return " ".join([str(encoder.get("name", "")), *rest])


def _epochs(record: StudyRecord) -> list[int]:
    counts = [data.config.get("epochs") for data in record.data]
    return [count for count in counts if isinstance(count, int)]


def _name(part: Any) -> str | None:
    name = part.get("name") if isinstance(part, Mapping) else part
    return None if name is None else str(name)


def _span(counts: Iterable[int]) -> str:
    known: Sequence[int] = sorted(set(counts))
    if not known:
        return "no"
    return str(known[0]) if len(known) == 1 else f"{known[0]} to {known[-1]}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
