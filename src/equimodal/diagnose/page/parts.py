"""Sections on samples and encoders: valuation, encoders, calibration, robustness, learning curves, generalisation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from equimodal.diagnose.page.definitions import definition, valuation_meaning
from equimodal.diagnose.page.figures import Figure
from equimodal.diagnose.page.lines import Series, line_plot, line_swatch, reliability_plot, table
from equimodal.diagnose.page.numbers import RATES, AnySize, Axis, Numbers, axis_over, plain, text, whole
from equimodal.diagnose.page.palette import colors_of
from equimodal.diagnose.page.rows import legend, panels
from equimodal.diagnose.page.scores import bars, ends
from equimodal.diagnose.page.stacked import stacked
from equimodal.diagnose.record import Diagnosis, Encoder, Epoch, Interval
from equimodal.report.words import SPLIT_NAMES, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["calibration", "curves", "encoders", "generalisation", "heads_of", "recorded", "robustness", "score_panels", "valuation"]

_SHARES = Axis(0.0, 1.0, tuple((part / 4, f"{25 * part}") for part in range(5)))


def valuation(diagnosis: Diagnosis) -> Figure | None:
    """Return what the samples need, as one bar."""
    if not diagnosis.valuation:
        return None
    said = {name: valuation_meaning(name) for name in diagnosis.valuation}
    return Figure("", "", stacked(diagnosis.valuation, said, diagnosis.modalities), definition("valuation", diagnosis))


def encoders(diagnosis: Diagnosis) -> Figure | None:
    """Return the facts on encoders, a panel each."""
    if not diagnosis.encoders:
        return None
    colors, numbers = colors_of(diagnosis.modalities), AnySize()
    parts = []
    for title, value_of in _FACTS:
        known = {name: value for name, one in diagnosis.encoders.items() if (value := value_of(one)) is not None}
        if not known:
            continue
        written = {}
        for name in known:
            one = diagnosis.encoders[name]
            if title == "Parameters":
                written[name] = whole(one.parameters) + ("" if one.trainable == one.parameters else f", {whole(one.trainable)} trainable")
            elif title == "Effective rank" and one.feature_size is not None:
                written[name] = f"{numbers.score(one.effective_rank)} of {one.feature_size}"
        axis = axis_over(ends(known.values()), numbers, zero=True, most=3)
        parts.append((title, bars(known, axis, numbers, title, colors=colors, written=written, signed=False)))
    return Figure("", "", panels(parts), definition("encoders", diagnosis)) if parts else None


def _number(value: float | None) -> Interval | None:
    return None if value is None else Interval.of(value)


_FACTS: tuple[tuple[str, Callable[[Encoder], Interval | None]], ...] = (
    ("Feature norm", lambda encoder: encoder.feature_norm),
    ("Effective rank", lambda encoder: _number(encoder.effective_rank)),
    ("Parameters", lambda encoder: _number(encoder.parameters)),
    ("Gradient norm", lambda encoder: _number(encoder.gradient_norm)),
    ("Gradient, relative", lambda encoder: _number(encoder.update_size)),
)


def calibration(diagnosis: Diagnosis) -> Figure | None:
    """Return a reliability diagram for each head."""
    if not diagnosis.calibration:
        return None
    numbers, colors = Numbers("calibration"), colors_of(diagnosis.modalities)
    parts, rows = [], []
    for head, one in diagnosis.calibration.items():
        error = f"{numbers.interval(one.expected_error)} %"
        total = sum(part.count for part in one.bins)
        drawn = reliability_plot(
            one.bins,
            colors.get(head, "cs"),
            _SHARES,
            _SHARES,
            name=f"Reliability of {head}",
            unit="Accuracy over confidence (%)",
            total=total,
        )
        parts.append((head, f'<p class="figure-note">expected error {text(error)}</p>{drawn}'))
        rows.append((head, numbers.interval(one.expected_error), numbers.score(one.confidence)))
    numbers_table = table(("head", "expected error (%)", "mean confidence (%)"), rows, "Calibration of the heads")
    return Figure("", "", panels(parts), definition("calibration", diagnosis), numbers_table)


def robustness(diagnosis: Diagnosis) -> Figure | None:
    """Return scores against the share of samples that lack a modality, and against noise."""
    if not diagnosis.robustness:
        return None
    titles = {"missing": ("missing", "share of samples that lack the modality"), "noise": ("with noise", "noise level of the modality")}
    numbers, colors = Numbers.of(diagnosis.metric), colors_of(diagnosis.modalities)
    y = axis_over(ends(point.score for point in diagnosis.robustness), numbers)
    parts, tables = [], []
    notes: list[str] = []
    for kind, (title, unit) in titles.items():
        points = [point for point in diagnosis.robustness if point.kind == kind]
        if not points:
            continue
        places = sorted({point.share for point in points})
        by_place = {(point.modality, point.share): point.score for point in points}
        names = list(dict.fromkeys(point.modality for point in points))
        series = [Series(name, colors.get(name, "cs"), tuple(by_place.get((name, place)) for place in places)) for name in names]
        x = axis_over([0.0, *places], Numbers("share", 1.0, ""), most=5)
        name = f"{numbers.name}, a modality {title}"
        parts.append((name, line_plot(series, places, x, y, numbers, name=name, unit=unit)))
        rows = [(f"{place:g}", *(numbers.interval(one.points[at]) for one in series)) for at, place in enumerate(places)]
        tables.append(table((unit, *names), rows, name))
        notes += definition(kind, diagnosis)
    known = dict.fromkeys(point.modality for point in diagnosis.robustness)
    heading = legend([(line_swatch(colors.get(name, "cs")), name) for name in known])
    return Figure("", "", heading + panels(parts), notes, "".join(tables))


def curves(diagnosis: Diagnosis) -> Figure | None:
    """Return what the run recorded, a panel each."""
    epochs = diagnosis.curves
    if not epochs:
        return None
    numbers, colors = Numbers.of(diagnosis.metric), colors_of(diagnosis.modalities)
    heads = heads_of(diagnosis)
    y = axis_over(recorded(diagnosis), numbers)
    parts = [*score_panels(diagnosis, y, "val"), *score_panels(diagnosis, y, "train")]

    def add(title: str, names: Sequence[str], value_of: Callable[[Epoch, str], float | None], how: Numbers) -> None:
        series = [Series(name, colors.get(name, "cs"), tuple(Interval.of(value_of(epoch, name)) for epoch in epochs)) for name in names]
        known = [point.value for one in series for point in one.points if point is not None and point.value is not None]
        if known:
            parts.append((title, _over_epochs(epochs, series, axis_over(known, how, zero=True, most=5), how, title)))

    add("Utilization gap δ", ["gap δ"], lambda epoch, _: epoch.gap, RATES)
    factors = [value for epoch in epochs for value in epoch.multipliers.values()]
    if any(value is not None and value != 1.0 for value in factors):
        add("Factor on the learning rate", diagnosis.modalities, lambda epoch, name: epoch.multipliers.get(name), AnySize())
    rows = [
        (str(epoch.epoch), *(numbers.score(split.get(name)) for split in (epoch.val, epoch.train) for name in heads), plain(epoch.gap))
        for epoch in epochs
    ]
    head = ("epoch", *(f"{name}, validation" for name in heads), *(f"{name}, training" for name in heads), "gap δ")
    plot = legend([(line_swatch(colors.get(name, "cs")), name) for name in heads]) + panels(parts)
    return Figure("", "", plot, definition("curves", diagnosis), table(head, rows, "Epochs of the run")) if parts else None


def heads_of(diagnosis: Diagnosis) -> list[str]:
    """Return the heads of which a run recorded scores."""
    epochs = diagnosis.curves or ()
    return [name for name in (MULTIMODAL, *diagnosis.modalities) if any(name in epoch.val or name in epoch.train for epoch in epochs)]


def recorded(diagnosis: Diagnosis) -> list[float | None]:
    """Return every score that a run recorded, for a scale that holds them all."""
    return [value for epoch in diagnosis.curves or () for split in (epoch.train, epoch.val) for value in split.values()]


def score_panels(diagnosis: Diagnosis, y: Axis, split: Literal["train", "val"]) -> list[tuple[str, str]]:
    """Return a panel with the heads' scores of one split over the epochs; none where nothing was recorded.

    :param y: the vertical scale.
    """
    epochs, numbers, colors = diagnosis.curves or (), Numbers.of(diagnosis.metric), colors_of(diagnosis.modalities)
    by_epoch = [epoch.train if split == "train" else epoch.val for epoch in epochs]
    names = [name for name in heads_of(diagnosis) if any(scores.get(name) is not None for scores in by_epoch)]
    series = [Series(name, colors.get(name, "cs"), tuple(Interval.of(scores.get(name)) for scores in by_epoch)) for name in names]
    title = f"{title_case(SPLIT_NAMES[split])} {numbers.lower}"
    return [(title, _over_epochs(epochs, series, y, numbers, title))] if series else []


def _over_epochs(epochs: Sequence[Epoch], series: Sequence[Series], y: Axis, numbers: Numbers, title: str) -> str:
    places = [float(epoch.epoch) for epoch in epochs]
    return line_plot(series, places, _epochs(places), y, numbers, name=f"{title} by epoch", unit="epoch")


def _epochs(places: Sequence[float]) -> Axis:
    axis = axis_over(places, Numbers("epoch", 1.0, ""), most=5)
    first, last = min(places), max(places)
    ticks = tuple((value, f"{value:g}") for value, _ in axis.ticks if first <= value <= last and value == round(value))
    return replace(axis, low=first, high=max(last, first + 1), ticks=ticks or ((first, f"{first:g}"),))


def generalisation(diagnosis: Diagnosis) -> Figure | None:
    """Return how far training scores are above the others."""
    known = {name: Interval.of(value) for name, value in (diagnosis.generalisation or {}).items() if value is not None}
    if not known:
        return None
    numbers = Numbers.of(diagnosis.metric)
    axis = axis_over(ends(known.values()), numbers, zero=True)
    unit = f"Training minus {SPLIT_NAMES.get(diagnosis.split, diagnosis.split or 'other')} {numbers.lower}"
    plot = bars(known, axis, numbers, "Generalisation gap of the heads", colors=colors_of(diagnosis.modalities), unit=unit)
    return Figure("Generalisation gap", "", plot, definition("generalisation", diagnosis))
