"""Two diagnoses side by side: the same quantities, and their differences with intervals that claim no more than is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from equimodal.diagnose.page.definitions import KIND_TITLES, definition
from equimodal.diagnose.page.figures import Figure, Section
from equimodal.diagnose.page.numbers import RATES, Numbers
from equimodal.diagnose.page.pair import GAP, Pair, Values, difference
from equimodal.diagnose.page.parts import compared_with
from equimodal.diagnose.page.scores import lost, points_of
from equimodal.diagnose.quantities import Interval
from equimodal.errors import InputError
from equimodal.report.words import listing, metric_name
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.comparison import Comparison
    from equimodal.diagnose.record import Diagnosis

__all__ = ["check_comparable", "compared", "difference", "reading"]

_ENCODERS = {
    "encoders": {"feature_norm": "Feature norm", "effective_rank": "Effective rank"},
    "gradients": {"gradient_norm": "Gradient norm", "relative_gradient": "Gradient / weights", "update_size": "Update of an epoch"},
}


def check_comparable(first: Diagnosis, second: Diagnosis) -> None:
    """Refuse diagnoses that have no number in common.

    :raises InputError: for different metrics, or modalities of which none is in both.
    """
    if first.metric != second.metric:
        raise InputError(
            f"the first model is scored by {metric_name(first.metric)}, the second by {metric_name(second.metric)}:"
            " diagnose both by one metric"
        )
    if not set(first.modalities) & set(second.modalities):
        raise InputError(
            f"the models have no modality in common ({', '.join(first.modalities)}; {', '.join(second.modalities)}):"
            " there is nothing to compare"
        )


def reading(first: Diagnosis, second: Diagnosis, paired: Comparison | str) -> tuple[str, ...]:
    """Return how the differences are to be read.

    :param paired: the comparison, or why there is none.
    """
    if not isinstance(paired, str):
        reasons: dict[str, list[str]] = {}
        for quantity, why in paired.skipped.items():
            reasons.setdefault(why, []).append(quantity.replace("_", " "))
        left_out = "; ".join(f"{listing(quantities)}: {why}" for why, quantities in reasons.items())
        return definition(
            "paired", first, samples=f"{paired.samples:,}", left_out=f"Without a difference are {left_out}." if left_out else ""
        )
    why = f" There is no paired difference: {paired}." if paired else ""
    return definition("comparison", first, pairing=_pairing(first, second) + why)


def _pairing(first: Diagnosis, second: Diagnosis) -> str:
    """Return what the differences' intervals take for granted, for these two."""
    same = (first.split, first.samples, first.incomplete, first.chance) == (second.split, second.samples, second.incomplete, second.chance)
    same = same and (first.digest == second.digest or not (first.digest and second.digest))
    if same and (first.split or first.digest):
        known = "the same ones" if first.digest and second.digest else "by all that is known the same ones"
        return (
            f"Both models were diagnosed on the {first.split or 'given'} split with {first.samples:,} samples, {known}."
            " Models mostly fail on the same samples, so that the difference is known better than this interval says."
        )
    if same:
        return "Whether both models were diagnosed on the same samples is not known; if so, the intervals are wider than they need be."
    return (
        f"The models were diagnosed on different samples ({first.split or 'given data'}, {first.samples:,}, and"
        f" {second.split or 'given data'}, {second.samples:,}): part of a difference may be that of the samples."
    )


def compared(first: Diagnosis, second: Diagnosis, paired: Comparison | None = None) -> list[Section]:
    """Return the sections of a page on two models.

    :param paired: their comparison, which has the differences; without one they are put together from the intervals of both.
    :raises InputError: as :func:`check_comparable`.
    """
    check_comparable(first, second)
    numbers, shares = Numbers.fitting(first, second), Numbers("share")
    names = list(dict.fromkeys([*first.modalities, *second.modalities]))
    heads = [MULTIMODAL, *names]
    pair = Pair(first, second, names, paired)
    points = points_of(numbers)
    same = "Samples of which both heads predict the same class (%)"
    rates = (_utilization(first), _utilization(second))
    shapley, interactions = (_shapley(first), _shapley(second)), (_interactions(first), _interactions(second))
    missing, noise = ((_points(first, kind), _points(second, kind)) for kind in ("missing", "noise"))
    plan: list[tuple[str, str, list[Figure | None]]] = [
        (
            "scores",
            "Heads and probes",
            [
                pair.figure("heads", "Heads", (first.heads, second.heads), numbers, numbers.name, order=heads),
                pair.figure("probes", "Linear probes", (first.probes, second.probes), numbers, numbers.name, order=heads, notes="heads"),
                pair.figure("utilization", "Utilization", rates, RATES, "Conditional utilization rate and gap", zero=True),
            ],
        ),
        (
            "ablations",
            "What is lost without each modality",
            [pair.kinds("ablations", "", (_losses(first), _losses(second)), numbers, lost(numbers))],
        ),
        (
            "shapley",
            "How the score is shared out",
            [
                pair.kinds("shapley", "Shapley values", shapley, numbers, points),
                _largest_share(pair, shares),
                pair.kinds("interactions", "Interactions", interactions, numbers, points),
            ],
        ),
        (
            "valuation",
            "What the samples need",
            [pair.figure("valuation", "", (first.valuation, second.valuation), shares, "Samples (%)", zero=True)],
        ),
        ("encoders", "Encoders", [_encoders(pair, "", "encoders"), _encoders(pair, "Gradients and updates", "gradients")]),
        (
            "calibration",
            "Calibration",
            [pair.figure("calibration", "", (_errors(first), _errors(second)), shares, "Expected calibration error (%)", zero=True)],
        ),
        (
            "agreement",
            "Agreement between heads",
            [
                pair.figure("agreement", "The same class", (first.agreement, second.agreement), shares, same),
                pair.figure("kappa", "Beyond chance", (first.kappa, second.kappa), RATES, "Cohen’s κ", notes="agreement", zero=True),
            ],
        ),
        (
            "robustness",
            "Robustness",
            [
                pair.figure("missing", "A modality is missing", missing, numbers, numbers.name, label=lambda part: _said(part, "missing")),
                pair.figure("noise", "Noise on a modality", noise, numbers, numbers.name, label=lambda part: _said(part, "noise")),
            ],
        ),
        ("curves", "Learning curves", [pair.curves(), _generalisation(pair, numbers)]),
    ]
    return [Section(name, title, kept) for name, title, figures in plan if (kept := [one for one in figures if one is not None])]


def _largest_share(pair: Pair, numbers: Numbers) -> Figure | None:
    """Return the share of the modality with the largest Shapley value, which only a comparison has."""
    if pair.paired is None:
        return None
    both = pair.paired.values.get("largest share", {})
    values = {kind: one for kind, (one, _) in both.items()}, {kind: other for kind, (_, other) in both.items()}
    unit = "Part of what all modalities give (%)"
    label = dict(KIND_TITLES)
    return pair.figure(
        "largest share", "The largest share", values, numbers, unit, notes="shapley", zero=True, label=lambda kind: label.get(kind, kind)
    )


def _encoders(pair: Pair, title: str, key: str) -> Figure | None:
    fields = _ENCODERS[key]
    return pair.panels(title, {field: (name, lambda one, field=field: _fact(one, field)) for field, name in fields.items()}, key)  # type: ignore[misc]


def _fact(one: Diagnosis, field: str) -> Values:
    found = {name: getattr(encoder, field) for name, encoder in one.encoders.items()}
    return {name: value if isinstance(value, Interval) else Interval.of(value) for name, value in found.items() if value is not None}


def _generalisation(pair: Pair, numbers: Numbers) -> Figure | None:
    """Return the gaps: to these samples where the train split was given, else to the validation split, as the runs recorded them."""
    kept = [{name: gap for name, gap in (one.generalisation or {}).items() if gap.value is not None} for one in pair.both]
    others = {compared_with(one) for one, gaps in zip(pair.both, kept, strict=True) if gaps}
    other = others.pop() if len(others) == 1 else "other"
    unit = f"Training minus {other} {numbers.lower}"
    return pair.figure("generalisation", "Generalisation gap", (kept[0], kept[1]), numbers, unit, zero=True)


def _points(one: Diagnosis, kind: str) -> Values:
    return {f"{point.modality}/{point.share:g}": point.score for point in one.robustness if point.kind == kind and point.share > 0}


def _said(part: str, kind: str) -> str:
    modality, _, share = part.rpartition("/")
    return f"{modality}, {float(share):.0%} lack it" if kind == "missing" else f"{modality}, noise {share}"


def _utilization(one: Diagnosis) -> Values:
    return one.utilization if one.gap is None else {**one.utilization, GAP: one.gap}


def _losses(one: Diagnosis) -> Mapping[str, Values]:
    return {kind: {name: ablation.loss for name, ablation in own.items()} for kind, own in one.ablations.items()}


def _shapley(one: Diagnosis) -> Mapping[str, Values]:
    return {kind: own.with_drawing(one.level).values for kind, own in one.shapley.items()}


def _interactions(one: Diagnosis) -> Mapping[str, Values]:
    return {kind: own.interactions for kind, own in one.shapley.items()}


def _errors(one: Diagnosis) -> Values:
    return {head: own.expected_error for head, own in one.calibration.items()}
