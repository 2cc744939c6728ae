"""Sections on scores: heads and probes, utilization, ablations, Shapley values, agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.diagnose.page.definitions import KIND_NAMES, KIND_TITLES, definition
from equimodal.diagnose.page.figures import Figure
from equimodal.diagnose.page.numbers import RATES, Axis, Numbers, axis_over, text, together
from equimodal.diagnose.page.palette import colors_of
from equimodal.diagnose.page.rows import Mark, Row, legend, panels, row_plot, swatch
from equimodal.report.words import listing, metric_name, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from equimodal.diagnose.quantities import Interval, Shapley
    from equimodal.diagnose.record import Diagnosis

__all__ = ["ablations", "agreement", "bars", "ends", "heads", "interactions", "lost", "points_of", "shapley", "under", "utilization"]

_PLACES = {"zero": "zeros", "mean": "the mean", "permutation": "that of other samples", "absent": "nothing"}
_MANY = 6
"""So many rows of pairs are shown at once, more are folded."""


def ends(intervals: Iterable[Interval | None]) -> list[float | None]:
    """Return the values and ends of intervals, for a scale that holds them all."""
    return [number for interval in intervals if interval is not None for number in interval]


def bars(
    values: Mapping[str, Interval],
    axis: Axis,
    numbers: Numbers,
    name: str,
    *,
    colors: Mapping[str, str],
    said: Mapping[str, str] | None = None,
    written: Mapping[str, str] | None = None,
    unit: str = "",
    signed: bool = True,
) -> str:
    """Return bars from zero.

    :param name: what the plot shows.
    :param colors: by row a class of the palette; grey without one.
    :param said: by row what else is told to those who hover.
    :param written: by row the number as it is to be written.
    :param unit: what stands under the scale.
    :param signed: whether values above zero have a plus sign.
    """
    rows = []
    for label, value in values.items():
        number = (written or {}).get(label) or numbers.interval(value, signed=signed)
        parts = [label, number, *filter(None, [(said or {}).get(label)])]
        rows.append(Row(label, (Mark(value, colors.get(label, "cs"), "bar", number),), "; ".join(parts)))
    return row_plot(rows, axis, name, unit=unit)


def heads(diagnosis: Diagnosis) -> Figure | None:
    """Return scores of heads and probes; None without a single one."""
    numbers, colors = Numbers.fitting(diagnosis), colors_of(diagnosis.modalities)
    names = [name for name in (MULTIMODAL, *diagnosis.modalities) if name in diagnosis.heads or name in diagnosis.probes]
    if not names:
        return None
    rows = []
    for name in names:
        marks, said = [], [name]
        for what, found, shape in (("head", diagnosis.heads, "dot"), ("probe", diagnosis.probes, "ring")):
            if name in found:
                number = numbers.interval(found[name])
                marks.append(Mark(found[name], colors[name], shape, number))  # type: ignore[arg-type]
                said.append(f"{'joint model' if what == 'head' and name == MULTIMODAL else what} {number}")
        rows.append(Row(name, tuple(marks), "; ".join(said)))
    chance = None if diagnosis.chance is None else (diagnosis.chance, f"dashed: commonest class, {numbers.score(diagnosis.chance)}")
    axis = axis_over([*ends([*diagnosis.heads.values(), *diagnosis.probes.values()]), diagnosis.chance], numbers)
    plot = row_plot(rows, axis, "Scores of heads and probes", unit=numbers.name, line=chance)
    entries = [(swatch("cs", "dot"), "head")] if diagnosis.heads else []
    entries += [(swatch("cs", "ring"), "linear probe on frozen features")] if diagnosis.probes else []
    return Figure("", _heads_lead(diagnosis, numbers), legend(entries) + plot, definition("heads", diagnosis))


def _heads_lead(diagnosis: Diagnosis, numbers: Numbers) -> str:
    joint = diagnosis.heads.get(MULTIMODAL)
    own = {name: value.value for name, value in diagnosis.heads.items() if name != MULTIMODAL and value.value is not None}
    said = []
    if joint is not None and own and joint.value is not None:
        best = max(own, key=lambda name: own[name])
        apart = numbers.factor * (joint.value - own[best])
        than = f"{abs(apart):.{numbers.digits}f} {'points ' if numbers.unit else ''}{'above' if apart >= 0 else 'below'}"
        said.append(f"The joint model reaches {_with_unit(joint, numbers)}, {than} the best head by itself, that of {best}.")
    elif joint is not None and joint.value is not None:
        said.append(f"The joint model reaches {_with_unit(joint, numbers)}; it has no heads of single modalities.")
    behind = [name for name in own if _above(diagnosis.probes.get(name), diagnosis.heads[name])]
    if behind:
        heads = "its head does" if len(behind) == 1 else "their heads do"
        said.append(f"Linear probes make more of the features of {listing(behind)} than {heads}.")
    return together(" ".join(said))


def _with_unit(score: Interval, numbers: Numbers) -> str:
    return f"{numbers.score(score.value)} {numbers.unit}".rstrip()


def _above(probe: Interval | None, head: Interval) -> bool:
    """Tell whether the interval of a probe begins above the end of its head's."""
    return probe is not None and probe.low is not None and head.high is not None and probe.low > head.high


def utilization(diagnosis: Diagnosis) -> Figure | None:
    """Return the conditional utilization rates."""
    if not diagnosis.utilization:
        return None
    axis = axis_over(ends(diagnosis.utilization.values()), RATES, zero=True)
    unit, colors = "Conditional utilization rate", colors_of(diagnosis.modalities)
    plot = bars(diagnosis.utilization, axis, RATES, "Conditional utilization rates", colors=colors, unit=unit)
    lead = "" if diagnosis.gap is None else f"The utilization gap δ is {RATES.interval(diagnosis.gap)}."
    return Figure("Utilization", lead, plot, definition("utilization", diagnosis))


def ablations(diagnosis: Diagnosis) -> Figure | None:
    """Return what is lost without each modality, one panel for each way to leave it out."""
    if not diagnosis.ablations:
        return None
    numbers, colors = Numbers.fitting(diagnosis), colors_of(diagnosis.modalities)
    losses = {kind: {name: one.loss for name, one in of_kind.items()} for kind, of_kind in diagnosis.ablations.items()}
    axis = axis_over(ends(loss for of_kind in losses.values() for loss in of_kind.values()), numbers, zero=True, most=5)
    parts = []
    for kind, of_kind in losses.items():
        said = {name: f"score without it {numbers.interval(diagnosis.ablations[kind][name].score)}" for name in of_kind}
        what = f"Loss without each modality, {KIND_NAMES.get(kind, kind)}"
        parts.append((KIND_TITLES.get(kind, kind), bars(of_kind, axis, numbers, what, colors=colors, said=said)))
    plot = panels(parts) + under(lost(numbers))
    return Figure("", _ablations_lead(losses, numbers), plot, definition("ablations", diagnosis))


def _ablations_lead(losses: Mapping[str, Mapping[str, Interval]], numbers: Numbers) -> str:
    every_loss = [loss.value for of_kind in losses.values() for loss in of_kind.values() if loss.value is not None]
    if every_loss and max(every_loss) <= 0:
        return "The joint model loses nothing without any one of them, however it is left out."
    first = []
    for of_kind in losses.values():
        known = {name: loss.value for name, loss in of_kind.items() if loss.value is not None}
        if known:
            first.append(max(known, key=lambda name: known[name]))
    if not first:
        return ""
    if len(set(first)) > 1:
        by_name = {name: [_PLACES.get(kind, kind) for kind, own in zip(losses, first, strict=False) if own == name] for name in first}
        said = "; ".join(f"{name} with {' or '.join(places)} in its place" for name, places in by_name.items())
        return f"Which modality is missed most depends on how it is left out: {said}."
    values = [of_kind[first[0]].value for of_kind in losses.values() if first[0] in of_kind]
    known_values = [value for value in values if value is not None]
    low, high = numbers.score(min(known_values)), numbers.score(max(known_values))
    span = low if low == high else f"{low} to {high}"
    every = "" if len(losses) == 1 else ", however it is left out"
    return f"{title_case(first[0])} is missed most{every}: without it, the joint model loses {span}{' points' if numbers.unit else ''}."


def shapley(diagnosis: Diagnosis) -> Figure | None:
    """Return the Shapley values, one panel for each way to leave modalities out."""
    if not diagnosis.shapley:
        return None
    numbers, colors = Numbers.fitting(diagnosis), colors_of(diagnosis.modalities)
    every = {kind: one.with_drawing(diagnosis.level) for kind, one in diagnosis.shapley.items()}
    axis = axis_over(ends(value for one in every.values() for value in one.values.values()), numbers, zero=True, most=5)
    parts = []
    for kind, one in every.items():
        errors = one.errors or {}
        said = {name: f"the drawing of orders leaves ±{numbers.score(error)}" for name, error in errors.items()}
        written = {
            name: f"{numbers.interval(one.values[name], signed=True)} ±{numbers.score(error)}"
            for name, error in errors.items()
            if name in one.values
        }
        what = f"Shapley values, {KIND_NAMES.get(kind, kind)}"
        parts.append((KIND_TITLES.get(kind, kind), bars(one.values, axis, numbers, what, colors=colors, said=said, written=written)))
    sums = [f"{KIND_TITLES.get(kind, kind).lower()} {_sum(one, numbers)}" for kind, one in diagnosis.shapley.items()]
    lead = f"The values add up to the whole score minus that with everything ablated ({'; '.join(sums)})."
    drawn = next((one for one in diagnosis.shapley.values() if one.errors), None)
    if drawn is not None:
        lead += f" {drawn.orders or 'Some'} orders were drawn: behind ± is the standard error that this leaves, and intervals hold it too."
    return Figure("Shapley values", lead, panels(parts) + under(points_of(numbers)), definition("shapley", diagnosis))


def _sum(one: Shapley, numbers: Numbers) -> str:
    """Return a score minus that with everything ablated as a sum that is not broken."""
    full, empty = one.full.value, one.empty.value
    apart = None if full is None or empty is None else full - empty
    less = numbers.score(empty) if empty is None or empty >= 0 else f"({numbers.score(empty)})"
    return f"{numbers.score(full)} − {less} = {numbers.score(apart)}".replace(" ", "\N{NO-BREAK SPACE}")


def interactions(diagnosis: Diagnosis) -> Figure | None:
    """Return the interactions of pairs."""
    found = {kind: one.interactions for kind, one in diagnosis.shapley.items() if one.interactions}
    if not found:
        return None
    numbers = Numbers.fitting(diagnosis)
    axis = axis_over(ends(value for of_kind in found.values() for value in of_kind.values()), numbers, zero=True, most=5)
    parts = [
        (
            KIND_TITLES.get(kind, kind),
            bars(of_kind, axis, numbers, f"Interactions, {KIND_NAMES.get(kind, kind)}", colors={}),
        )
        for kind, of_kind in found.items()
    ]
    pairs = max(map(len, found.values()))
    return Figure(
        f"Interactions of {pairs} pairs" if pairs > _MANY else "Interactions",
        "Above zero two modalities are worth more together than one by one; below zero they say the same.",
        panels(parts) + under(points_of(numbers)),
        definition("interactions", diagnosis),
        folded=pairs > _MANY,
    )


def agreement(diagnosis: Diagnosis) -> Figure | None:
    """Return how often heads predict the same class, and how far that is beyond chance."""
    if not diagnosis.agreement and not diagnosis.kappa:
        return None
    shares, axis = Numbers("agreement"), Axis(0.0, 1.0, tuple((part / 5, f"{20 * part}") for part in range(6)))
    parts = []
    if diagnosis.agreement:
        what = "Samples of which both predict the same class (%)"
        parts.append((what, bars(diagnosis.agreement, axis, shares, what, colors={}, signed=False)))
    if diagnosis.kappa:
        scale = axis_over([*ends(diagnosis.kappa.values()), 1.0], RATES, zero=True, most=5)
        what = "Beyond chance: Cohen’s κ"
        parts.append((what, bars(diagnosis.kappa, scale, RATES, what, colors={}, signed=False)))
    pairs = max(len(diagnosis.agreement), len(diagnosis.kappa))
    folded = pairs > 2 * _MANY
    return Figure(f"{pairs} pairs" if folded else "", "", panels(parts), definition("agreement", diagnosis), folded=folded)


def points_of(numbers: Numbers) -> str:
    """Return what differences of scores are counted in, as it stands under a scale."""
    return f"Points of {metric_name(numbers.metric)}" if numbers.unit else numbers.name


def lost(numbers: Numbers) -> str:
    """Return what a loss is counted in, as it stands under a scale."""
    return f"{points_of(numbers)} lost"


def under(said: str) -> str:
    """Return what stands under several panels."""
    return f'<p class="unit below"><span>{text(said)}</span></p>'
