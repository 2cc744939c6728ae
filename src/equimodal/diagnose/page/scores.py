"""Sections on scores: heads and probes, utilization, ablations, Shapley values, agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.diagnose.page.definitions import KIND_NAMES, KIND_TITLES, definition
from equimodal.diagnose.page.figures import Figure
from equimodal.diagnose.page.numbers import RATES, Axis, Numbers, axis_over, text
from equimodal.diagnose.page.palette import colors_of
from equimodal.diagnose.page.rows import Mark, Row, legend, panels, row_plot, swatch
from equimodal.report.words import listing, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from equimodal.diagnose.record import Diagnosis, Interval

__all__ = ["ablations", "agreement", "bars", "ends", "heads", "interactions", "shapley", "under", "utilization"]

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
    numbers, colors = Numbers.of(diagnosis.metric), colors_of(diagnosis.modalities)
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
        said.append(f"The joint model reaches {numbers.score(joint.value)}, {than} the best head by itself, {best}’s.")
    elif joint is not None:
        said.append(f"The joint model reaches {numbers.score(joint.value)}; it has no heads of single modalities.")
    gaps = {
        name: value.value - own[name]
        for name, value in diagnosis.probes.items()
        if name in own and value.value is not None and value.value - own[name] > 0.02
    }
    if gaps:
        said.append(
            f"More can be read from the features of {listing(gaps)} than {'its head does' if len(gaps) == 1 else 'their heads do'}."
        )
    return " ".join(said)


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
    numbers, colors = Numbers.of(diagnosis.metric), colors_of(diagnosis.modalities)
    losses = {kind: {name: one.loss for name, one in of_kind.items()} for kind, of_kind in diagnosis.ablations.items()}
    axis = axis_over(ends(loss for of_kind in losses.values() for loss in of_kind.values()), numbers, zero=True, most=5)
    parts = []
    for kind, of_kind in losses.items():
        said = {name: f"score without it {numbers.interval(diagnosis.ablations[kind][name].score)}" for name in of_kind}
        what = f"Loss without each modality, {KIND_NAMES.get(kind, kind)}"
        parts.append((KIND_TITLES.get(kind, kind), bars(of_kind, axis, numbers, what, colors=colors, said=said)))
    plot = panels(parts) + under(f"Lost {numbers.lower}")
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
        said = [f"{name} with {KIND_NAMES.get(kind, kind)}" for kind, name in zip(losses, first, strict=False)]
        return f"Which modality is missed most depends on how it is left out: {listing(said)}."
    values = [of_kind[first[0]].value for of_kind in losses.values() if first[0] in of_kind]
    known_values = [value for value in values if value is not None]
    low, high = numbers.score(min(known_values)), numbers.score(max(known_values))
    span = low if low == high else f"{low} to {high}"
    every = "" if len(losses) == 1 else ", however it is left out"
    return f"{title_case(first[0])} is missed most{every}: without it the joint model loses {span}{' points' if numbers.unit else ''}."


def shapley(diagnosis: Diagnosis) -> Figure | None:
    """Return the Shapley values, one panel for each way to leave modalities out."""
    if not diagnosis.shapley:
        return None
    numbers, colors = Numbers.of(diagnosis.metric), colors_of(diagnosis.modalities)
    axis = axis_over(ends(value for one in diagnosis.shapley.values() for value in one.values.values()), numbers, zero=True, most=5)
    parts = []
    for kind, one in diagnosis.shapley.items():
        errors = one.errors or {}
        said = {name: f"drawing orders leaves ± {numbers.score(error)}" for name, error in errors.items()}
        what = f"Shapley values, {KIND_NAMES.get(kind, kind)}"
        parts.append((KIND_TITLES.get(kind, kind), bars(one.values, axis, numbers, what, colors=colors, said=said)))
    sums = [
        f"{KIND_TITLES.get(kind, kind).lower()} {numbers.score(one.full.value)} − {numbers.score(one.empty.value)} ="
        f" {numbers.score(None if one.full.value is None or one.empty.value is None else one.full.value - one.empty.value)}"
        for kind, one in diagnosis.shapley.items()
    ]
    lead = f"The values add up to the whole score minus that with everything ablated ({'; '.join(sums)})."
    return Figure("Shapley values", lead, panels(parts) + under(_points(numbers)), definition("shapley", diagnosis))


def interactions(diagnosis: Diagnosis) -> Figure | None:
    """Return the interactions of pairs."""
    found = {kind: one.interactions for kind, one in diagnosis.shapley.items() if one.interactions}
    if not found:
        return None
    numbers = Numbers.of(diagnosis.metric)
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
        "Interactions",
        "Above zero two modalities are worth more together than one by one; below zero they say the same.",
        panels(parts) + under(_points(numbers)),
        definition("interactions", diagnosis),
        folded=pairs > _MANY,
    )


def agreement(diagnosis: Diagnosis) -> Figure | None:
    """Return how often heads predict the same class."""
    if not diagnosis.agreement:
        return None
    numbers = Numbers("agreement")
    axis = Axis(0.0, 1.0, tuple((part / 5, f"{20 * part}") for part in range(6)))
    unit = "Samples of which both predict the same class (%)"
    plot = bars(diagnosis.agreement, axis, numbers, "Agreement between heads", colors={}, unit=unit, signed=False)
    return Figure("", "", plot, definition("agreement", diagnosis), folded=len(diagnosis.agreement) > 2 * _MANY)


def _points(numbers: Numbers) -> str:
    return f"Points of {numbers.lower}"


def under(said: str) -> str:
    """Return what stands under several panels."""
    return f'<p class="unit below"><span>{text(said)}</span></p>'
