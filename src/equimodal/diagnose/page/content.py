"""What stands in the page of one model: its verdict, its numbers, its sections in their order, and what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from equimodal.diagnose.page import encoders, parts, scores
from equimodal.diagnose.page.figures import Figure, Section
from equimodal.diagnose.page.numbers import DASH, RATES, Numbers, plain, together, whole
from equimodal.report.words import SPLIT_NAMES, clean, listing, metric_name, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from equimodal.diagnose.quantities import Finding
    from equimodal.diagnose.record import Diagnosis

__all__ = ["AFTER_SAMPLES", "model", "sections_of", "skipped"]

AFTER_SAMPLES = ("robustness", "encoders", "calibration")
"""The sections that stand behind the samples on which heads disagree."""
_EVIDENCE = {"since": "gap above τ", "tau": "τ"}
"""How the page calls evidence whose name says too little by itself."""


def model(diagnosis: Diagnosis, letter: str) -> dict[str, Any]:
    """Return what the page says of one model at its top: the samples, the verdict, the numbers that come first.

    :param letter: what the model is called beside another one; empty where it stands alone.
    """
    return {
        "letter": letter,
        "title": clean(diagnosis.title),
        "summary": _summary(diagnosis),
        "tiles": _tiles(diagnosis),
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "silence": _silence(diagnosis),
        "facts": _facts(diagnosis),
    }


def _summary(diagnosis: Diagnosis) -> str:
    split = f"of the {SPLIT_NAMES.get(diagnosis.split, clean(diagnosis.split))} split " if diagnosis.split else ""
    said = f"{diagnosis.samples:,} samples {split}with {listing(map(clean, diagnosis.modalities))}"
    if diagnosis.incomplete:
        one = diagnosis.incomplete == 1
        said += f"; {diagnosis.incomplete:,} {'other lacks a modality and is' if one else 'others lack a modality and are'} left out"
    return f"{said}. Scored by {metric_name(diagnosis.metric)}."


def _tiles(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    """Return the numbers that come first: name, value, interval."""
    numbers = Numbers.fitting(diagnosis)
    found = []
    joint = diagnosis.heads.get(MULTIMODAL)
    if joint is not None and joint.value is not None:
        found.append((f"joint {metric_name(diagnosis.metric)}", joint, numbers))
    found += [(f"{name} by itself", diagnosis.heads[name], numbers) for name in diagnosis.modalities[:3] if name in diagnosis.heads]
    if diagnosis.gap is not None:
        found.append(("utilization gap δ", diagnosis.gap, RATES))
    return [
        (clean(name), numbers.score(value.value) + (f" {numbers.unit}" if numbers.unit else ""), _ends(value, numbers))
        for name, value, numbers in found
        if value.value is not None
    ]


def _ends(interval: Any, numbers: Numbers) -> str:
    return "" if interval.low is None or interval.high is None else f"{numbers.score(interval.low)} to {numbers.score(interval.high)}"


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": title_case(clean(finding.kind.replace("_", " "))),
        "subject": "the whole model" if finding.subject == MULTIMODAL else clean(finding.subject),
        "sentence": together(clean(finding.sentence)),
        "advice": None if finding.advice is None else together(clean(finding.advice)),
        "evidence": [(clean(_EVIDENCE.get(name, name.replace("_", " "))), clean(said)) for name, said in _all_evidence(finding.evidence)],
    }


def _all_evidence(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is behind a finding; numbers named ``"…, low"`` and ``"…, high"`` are the ends of the one before."""
    for name, value in evidence.items():
        number, _, end = name.rpartition(", ")
        if end in ("low", "high") and number in evidence:
            continue
        ends = [evidence.get(f"{name}, {end}") for end in ("low", "high")]
        yield name, _evidence(value) + ("" if None in ends else f" [{_evidence(ends[0])}, {_evidence(ends[1])}]")


def _evidence(value: Any) -> str:
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return whole(value)
    if isinstance(value, float):
        return plain(value)
    if isinstance(value, dict) and "value" in value:
        ends = [plain(value.get(end)) for end in ("low", "high")]
        return plain(value["value"]) + ("" if DASH in ends else f" [{', '.join(ends)}]")
    if isinstance(value, dict):
        return ", ".join(f"{name} {_evidence(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_evidence(item) for item in value)
    return str(value)


def _silence(diagnosis: Diagnosis) -> str:
    if "findings" in diagnosis.skipped:
        return f"There is no verdict: {clean(diagnosis.skipped['findings']).rstrip('.')}."
    return "Nothing was found that asks for a change."


def sections_of(diagnosis: Diagnosis) -> list[Section]:
    """Return the sections that have figures, the nearest to the question first."""
    plan: Sequence[tuple[str, str, Sequence[str], Sequence[Figure | None]]] = (
        ("scores", "Heads and probes", ("heads", "probes", "utilization"), (scores.heads(diagnosis), scores.utilization(diagnosis))),
        ("ablations", "What is lost without each modality", ("ablations",), (scores.ablations(diagnosis),)),
        ("shapley", "How the score is shared out", ("shapley",), (scores.shapley(diagnosis), scores.interactions(diagnosis))),
        ("valuation", "What the samples need", ("valuation",), (parts.valuation(diagnosis),)),
        (
            "curves",
            "Learning curves",
            ("curves", "generalisation"),
            (parts.curves(diagnosis), parts.generalisation(diagnosis)),
        ),
        ("agreement", "Agreement between heads", ("agreement", "kappa"), (scores.agreement(diagnosis),)),
        ("robustness", "Robustness", ("robustness",), (parts.robustness(diagnosis),)),
        (
            "encoders",
            "Encoders",
            ("encoders", "gradients", "update_size"),
            (encoders.features(diagnosis), encoders.training(diagnosis)),
        ),
        ("calibration", "Calibration", ("calibration",), (parts.calibration(diagnosis),)),
    )
    return [
        Section(name, title, [figure for figure in figures if figure is not None], list(_missing(diagnosis, quantities)))
        for name, title, quantities, figures in plan
        if any(figures)
    ]


def _missing(diagnosis: Diagnosis, quantities: Sequence[str]) -> Iterator[str]:
    for key, why in diagnosis.skipped.items():
        quantity, _, part = key.partition(".")
        if quantity in quantities:
            name = _QUANTITIES.get(quantity, quantity) + (f" ({clean(part)})" if part else "")
            yield f"Not there: {name}. {title_case(clean(why).rstrip('.'))}."


_QUANTITIES = {
    "utilization": "conditional utilization",
    "shapley": "Shapley values",
    "ablations": "ablations",
    "generalisation": "generalisation gap",
    "curves": "learning curves",
    "findings": "verdict",
    "disagreements": "samples of disagreement",
    "kappa": "Cohen’s κ",
    "update_size": "update by an epoch",
}


def skipped(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Return what is not there, and why."""
    return [(clean(_QUANTITIES.get(key, key.replace(".", ", "))), clean(why)) for key, why in diagnosis.skipped.items()]


def _facts(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    found = [
        ("task", f"{diagnosis.task}, scored by {metric_name(diagnosis.metric)}"),
        ("probes", "fitted on the train split" if diagnosis.probes_fitted_on == "train" else "cross-fitted in five folds"),
        ("means", "of the train split" if diagnosis.mean_of == "train" else "of the diagnosed samples"),
        ("seed", str(diagnosis.seed)),
    ]
    cost = {name: value for name, value in diagnosis.cost.items() if "seconds_" not in name}
    if cost:
        found.append(("cost", ", ".join(f"{name.replace('_', ' ')} {plain(value)}" for name, value in cost.items())))
    if diagnosis.version:
        found.append(("made by", f"equimodal {diagnosis.version}"))
    return [(name, clean(said)) for name, said in found]
