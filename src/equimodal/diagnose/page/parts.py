"""Sections on samples and on training: valuation, calibration, robustness, learning curves, generalisation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from equimodal.diagnose.page.definitions import definition, valuation_meaning
from equimodal.diagnose.page.figures import Figure
from equimodal.diagnose.page.lines import Series, line_plot, line_swatch, reliability_plot, table
from equimodal.diagnose.page.numbers import RATES, AnySize, Axis, Numbers, axis_over, plain, text
from equimodal.diagnose.page.palette import colors_of
from equimodal.diagnose.page.rows import legend, panels
from equimodal.diagnose.page.scores import bars, ends
from equimodal.diagnose.page.stacked import stacked
from equimodal.diagnose.quantities import Epoch, Interval
from equimodal.report.words import SPLIT_NAMES, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from equimodal.diagnose.record import Diagnosis

__all__ = ["calibration", "compared_with", "curves", "generalisation", "heads_of", "recorded", "robustness", "score_panels", "valuation"]

_MANY = 5
"""Reliability diagrams of more heads are folded."""
_SHARES = Axis(0.0, 1.0, tuple((part / 4, f"{25 * part}") for part in range(5)))


def valuation(diagnosis: Diagnosis) -> Figure | None:
    """Return what the samples need, as one bar."""
    if not diagnosis.valuation:
        return None
    said = {name: valuation_meaning(name) for name in diagnosis.valuation}
    return Figure("", "", stacked(diagnosis.valuation, said, diagnosis.modalities), definition("valuation", diagnosis))


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
    folded = len(parts) > _MANY
    return Figure(f"{len(parts)} heads" if folded else "", "", panels(parts), definition("calibration", diagnosis), numbers_table, folded)


def robustness(diagnosis: Diagnosis) -> Figure | None:
    """Return scores against the share of samples that lack a modality, and against noise."""
    if not diagnosis.robustness:
        return None
    titles = {
        "missing": ("a modality missing", "share of samples that lack the modality"),
        "noise": ("noise on a modality", "noise level of the modality"),
    }
    numbers, colors = Numbers.fitting(diagnosis), colors_of(diagnosis.modalities)
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
        name = f"{numbers.name} with {title}"
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
    numbers, colors = Numbers.fitting(diagnosis), colors_of(diagnosis.modalities)
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
    epochs, numbers, colors = diagnosis.curves or (), Numbers.fitting(diagnosis), colors_of(diagnosis.modalities)
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
    apart = 0.12 * (last - first)
    between = [value for value, _ in axis.ticks if first + apart <= value <= last - apart and value == round(value)]
    shown = dict.fromkeys([first, *between, last])
    return replace(axis, low=first, high=max(last, first + 1), ticks=tuple((value, f"{value:g}") for value in shown))


def compared_with(diagnosis: Diagnosis) -> str:
    """Return the split with whose scores those of the train split are compared: without a train split, that of the run's records."""
    split = diagnosis.split if diagnosis.mean_of == "train" else "val"
    return SPLIT_NAMES.get(split, split or "other")


def generalisation(diagnosis: Diagnosis) -> Figure | None:
    """Return how far training scores are above the others."""
    known = {name: gap for name, gap in (diagnosis.generalisation or {}).items() if gap.value is not None}
    if not known:
        return None
    numbers = Numbers.fitting(diagnosis)
    axis = axis_over(ends(known.values()), numbers, zero=True)
    unit = f"Training minus {compared_with(diagnosis)} {numbers.lower}"
    plot = bars(known, axis, numbers, "Generalisation gap of the heads", colors=colors_of(diagnosis.modalities), unit=unit)
    return Figure("Generalisation gap", "", plot, definition("generalisation", diagnosis))
