"""Two diagnoses side by side: the same quantities, and their differences with intervals that claim no more than is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from equimodal.diagnose.page.definitions import KIND_NAMES, KIND_TITLES, definition
from equimodal.diagnose.page.figures import Figure, Section
from equimodal.diagnose.page.lines import line_swatch
from equimodal.diagnose.page.numbers import RATES, AnySize, Axis, Numbers, axis_over
from equimodal.diagnose.page.palette import colors_of
from equimodal.diagnose.page.parts import heads_of, recorded, score_panels
from equimodal.diagnose.page.rows import Mark, Row, legend, panels, row_plot, swatch
from equimodal.diagnose.page.scores import ends, under
from equimodal.diagnose.record import Interval
from equimodal.errors import InputError
from equimodal.report.words import metric_name, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.record import Diagnosis, Encoder

__all__ = ["check_comparable", "compared", "difference", "pairing"]

Values = Mapping[str, Interval]
_MANY = 10
"""Figures with more rows than this are folded."""
_SPLITS: tuple[Literal["val", "train"], ...] = ("val", "train")


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


def difference(first: Interval | None, second: Interval | None) -> Interval:
    """Return the second number minus the first with an interval for two independent samples (Zou & Donner, 2008).

    The distances of each end from its value are added as squares. Without one of the intervals there is none of the difference.

    >>> [round(number, 3) for number in difference(Interval(0.5, 0.46, 0.54), Interval(0.6, 0.57, 0.63))]
    [0.1, 0.05, 0.15]
    >>> difference(Interval(0.5), Interval(0.75, 0.7, 0.8))
    Interval(value=0.25, low=None, high=None)
    """
    if first is None or second is None or first.value is None or second.value is None:
        return Interval(None)
    apart = second.value - first.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Interval.of(apart)
    below = math.hypot(second.value - second.low, first.high - first.value)
    above = math.hypot(second.high - second.value, first.value - first.low)
    return Interval.of(apart, apart - below, apart + above)


def pairing(first: Diagnosis, second: Diagnosis) -> str:
    """Return what the differences' intervals take for granted, for these two."""
    same = (first.split, first.samples, first.incomplete, first.chance) == (second.split, second.samples, second.incomplete, second.chance)
    if same and first.split:
        return (
            f"Both models were diagnosed on the {first.split} split with {first.samples:,} samples, by all that is known the same ones."
            " Models mostly fail on the same samples, so that the difference is known better than this interval says; a paired one needs"
            " what each model says of each sample, which a diagnosis does not keep."
        )
    if same:
        return "Whether both models were diagnosed on the same samples is not known; if so, the intervals are wider than they need be."
    return (
        f"The models were diagnosed on different samples ({first.split or 'given data'}, {first.samples:,}, and"
        f" {second.split or 'given data'}, {second.samples:,}): part of a difference may be that of the samples."
    )


def compared(first: Diagnosis, second: Diagnosis) -> list[Section]:
    """Return the sections of a page on two models.

    :raises InputError: as :func:`check_comparable`.
    """
    check_comparable(first, second)
    numbers, shares = Numbers.of(first.metric), Numbers("share")
    names = list(dict.fromkeys([*first.modalities, *second.modalities]))
    heads = [MULTIMODAL, *names]
    pair = _Pair(first, second, names)
    plan: list[tuple[str, str, list[Figure | None]]] = [
        (
            "scores",
            "Heads and probes",
            [
                pair.figure("heads", "Heads", lambda one: one.heads, numbers, numbers.name, order=heads),
                pair.figure("heads", "Linear probes", lambda one: one.probes, numbers, numbers.name, order=heads),
                pair.figure("utilization", "Utilization", _utilization, RATES, "Conditional utilization rate and gap", zero=True),
            ],
        ),
        ("ablations", "What is lost without each modality", [pair.kinds("ablations", "", _losses, numbers, f"Lost {numbers.lower}")]),
        (
            "shapley",
            "How the score is shared out",
            [
                pair.kinds("shapley", "Shapley values", _shapley, numbers, f"Points of {numbers.lower}"),
                pair.kinds("interactions", "Interactions", _interactions, numbers, f"Points of {numbers.lower}"),
            ],
        ),
        ("valuation", "What the samples need", [pair.figure("valuation", "", lambda one: one.valuation, shares, "Samples (%)", zero=True)]),
        ("encoders", "Encoders", [pair.encoders()]),
        ("calibration", "Calibration", [pair.figure("calibration", "", _errors, shares, "Expected calibration error (%)", zero=True)]),
        (
            "agreement",
            "Agreement between heads",
            [pair.figure("agreement", "", lambda one: one.agreement, shares, "Samples of which both heads predict the same class (%)")],
        ),
        (
            "robustness",
            "Robustness",
            [
                pair.figure("missing", "A modality is missing", lambda one: _points(one, "missing"), numbers, numbers.name),
                pair.figure("noise", "Noise on a modality", lambda one: _points(one, "noise"), numbers, numbers.name),
            ],
        ),
        (
            "curves",
            "Learning curves",
            [
                pair.curves(),
                pair.figure("generalisation", "Generalisation gap", _gaps, numbers, f"Training minus other {numbers.lower}", zero=True),
            ],
        ),
    ]
    return [Section(name, title, kept) for name, title, figures in plan if (kept := [one for one in figures if one is not None])]


def _points(one: Diagnosis, kind: str) -> Values:
    said = "{modality}, {share:.0%} lack it" if kind == "missing" else "{modality}, noise {share:g}"
    return {
        said.format(modality=point.modality, share=point.share): point.score
        for point in one.robustness
        if point.kind == kind and point.share > 0
    }


def _utilization(one: Diagnosis) -> Values:
    return one.utilization if one.gap is None else {**one.utilization, "gap δ": one.gap}


def _losses(one: Diagnosis) -> Mapping[str, Values]:
    return {kind: {name: ablation.loss for name, ablation in own.items()} for kind, own in one.ablations.items()}


def _shapley(one: Diagnosis) -> Mapping[str, Values]:
    return {kind: own.values for kind, own in one.shapley.items()}


def _interactions(one: Diagnosis) -> Mapping[str, Values]:
    return {kind: own.interactions for kind, own in one.shapley.items()}


def _errors(one: Diagnosis) -> Values:
    return {head: own.expected_error for head, own in one.calibration.items()}


def _gaps(one: Diagnosis) -> Values:
    return {name: Interval.of(value) for name, value in (one.generalisation or {}).items() if value is not None}


class _Pair:
    """Draws both models' numbers: a full circle for A, an empty diamond for B."""

    def __init__(self, first: Diagnosis, second: Diagnosis, names: list[str]) -> None:
        self.both = (first, second)
        self.colors = colors_of(names)
        self.legend = legend([(swatch("cs", "dot"), "A"), (swatch("cs", "ring"), "B")])

    def plot(
        self,
        first: Values,
        second: Values,
        numbers: Numbers,
        name: str,
        *,
        order: list[str],
        zero: bool,
        unit: str = "",
        axis: Axis | None = None,
    ) -> str:
        rows = []
        for label in order:
            one, other = first.get(label), second.get(label)
            apart = difference(one, other)
            said = [numbers.interval(one), numbers.interval(other), numbers.interval(apart, signed=True)]
            color = self._color(label)
            nothing = Interval(None)
            marks = (
                Mark(one or nothing, color, "dot", f"A {said[0]}"),
                Mark(other or nothing, color, "ring", f"B {said[1]}"),
                Mark(apart, color, "none", f"B − A {said[2]}", strong=_clear(apart)),
            )
            rows.append(Row(label, marks, f"{label}; A {said[0]}; B {said[1]}; B minus A {said[2]}"))
        axis = axis or axis_over([*ends(first.values()), *ends(second.values())], numbers, zero=zero)
        return row_plot(rows, axis, name, unit=unit)

    def _color(self, label: str) -> str:
        """Return the colour of a row that is a modality's own, such as ``"audio alone"``."""
        own = [name for name in self.colors if label == name or label.startswith((f"{name} alone", f"{name}, "))]
        return self.colors[max(own, key=len)] if own else "cs"

    def notes(self, key: str) -> tuple[str, ...]:
        return definition(key, self.both[0])

    def figure(
        self,
        key: str,
        title: str,
        values_of: Callable[[Diagnosis], Values],
        numbers: Numbers,
        unit: str,
        *,
        order: list[str] | None = None,
        zero: bool = False,
    ) -> Figure | None:
        first, second = map(values_of, self.both)
        names = [name for name in (order or list(dict.fromkeys([*first, *second]))) if name in first or name in second]
        if not names:
            return None
        plot = self.plot(first, second, numbers, f"{title or unit} of A and B", order=names, zero=zero, unit=unit)
        return Figure(title, "", self.legend + plot, self.notes(key), folded=len(names) > _MANY or key in ("missing", "noise"))

    def kinds(
        self, key: str, title: str, values_of: Callable[[Diagnosis], Mapping[str, Values]], numbers: Numbers, unit: str
    ) -> Figure | None:
        first, second = map(values_of, self.both)
        axis = axis_over(ends(value for kinds in (first, second) for own in kinds.values() for value in own.values()), numbers, zero=True)
        parts = []
        for kind in dict.fromkeys([*first, *second]):
            one, other = first.get(kind, {}), second.get(kind, {})
            order = list(dict.fromkeys([*one, *other]))
            if order:
                name = f"{title or unit} of A and B, {KIND_NAMES.get(kind, kind)}"
                parts.append((KIND_TITLES.get(kind, kind), self.plot(one, other, numbers, name, order=order, zero=True, axis=axis)))
        return Figure(title, "", self.legend + panels(parts) + under(unit), self.notes(key)) if parts else None

    def encoders(self) -> Figure | None:
        parts = []
        for title, field in (("Feature norm", "feature_norm"), ("Effective rank", "effective_rank"), ("Gradient norm", "gradient_norm")):
            one, other = ({name: found for name, own in each.encoders.items() if (found := _fact(own, field))} for each in self.both)
            order = list(dict.fromkeys([*one, *other]))
            if order:
                plot = self.plot(one, other, AnySize(), f"{title} of A and B", order=order, zero=True)
                parts.append((title, plot))
        return Figure("", "", self.legend + panels(parts), self.notes("encoders")) if parts else None

    def curves(self) -> Figure | None:
        """Return the scores of both runs over their epochs, all on one scale."""
        numbers = Numbers.of(self.both[0].metric)
        y = axis_over([value for one in self.both for value in recorded(one)], numbers)
        parts = [
            (f"{letter}: {title_case(title)}", plot)
            for split in _SPLITS
            for letter, one in zip("AB", self.both, strict=True)
            for title, plot in score_panels(one, y, split)
        ]
        names = dict.fromkeys(name for one in self.both for name in heads_of(one))
        heading = legend([(line_swatch(self.colors.get(name, "cs")), name) for name in names])
        return Figure("", "", heading + panels(parts, columns=2), self.notes("curves")) if parts else None


def _clear(apart: Interval) -> bool:
    """Tell whether an interval lies on one side of zero."""
    return apart.low is not None and apart.high is not None and (apart.low > 0 or apart.high < 0)


def _fact(encoder: Encoder, field: str) -> Interval | None:
    value = getattr(encoder, field)
    return value if value is None or isinstance(value, Interval) else Interval.of(value)
