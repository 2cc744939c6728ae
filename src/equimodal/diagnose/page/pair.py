"""Rows of two models: both numbers with their own intervals, and the difference beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from equimodal.diagnose.page.definitions import KIND_NAMES, KIND_TITLES, definition
from equimodal.diagnose.page.figures import Figure
from equimodal.diagnose.page.lines import line_swatch, table
from equimodal.diagnose.page.numbers import AnySize, Numbers, axis_over
from equimodal.diagnose.page.palette import colors_of
from equimodal.diagnose.page.parts import heads_of, recorded, score_panels
from equimodal.diagnose.page.rows import Mark, Row, legend, panels, row_plot, swatch
from equimodal.diagnose.page.scores import ends, under
from equimodal.diagnose.quantities import Interval
from equimodal.diagnose.verdict_comparison import apart
from equimodal.report.words import title_case

if TYPE_CHECKING:
    from equimodal.diagnose.comparison import Comparison
    from equimodal.diagnose.record import Diagnosis

__all__ = ["GAP", "Pair", "Values", "difference"]

Values = Mapping[str, Interval]
"""Numbers by part, as a comparison names them: ``"audio"``, ``"audio/0.5"``."""
GAP = "gap δ"
"""The row of the utilization gap, beside the rates."""
_MANY = 10
"""Figures with more rows than this are folded."""
_SPLITS: tuple[Literal["val", "train"], ...] = ("val", "train")
_NONE = Interval(None)


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
    value = second.value - first.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Interval.of(value)
    below = math.hypot(second.value - second.low, first.high - first.value)
    above = math.hypot(second.high - second.value, first.value - first.low)
    return Interval.of(value, value - below, value + above)


class Pair:
    """Draws both models' numbers: a full circle for A, an empty diamond for B.

    :param paired: the comparison that has the differences; None where there is none, and intervals are put together from both.
    """

    def __init__(self, first: Diagnosis, second: Diagnosis, names: list[str], paired: Comparison | None) -> None:
        self.both = (first, second)
        self.paired = paired
        self.colors = colors_of(names)
        self.legend = legend([(swatch("cs", "dot"), "A"), (swatch("cs", "ring"), "B")])

    def apart(self, quantity: str, part: str, first: Interval | None, second: Interval | None) -> Interval:
        """Return how far the second number lies from the first; a comparison's differences are the only ones where there is one."""
        if self.paired is None or first is None or second is None or quantity == "update_size":  # which is not about samples
            return difference(first, second)
        quantity, part = ("gap", "δ") if part == GAP else (quantity, part)
        return self.paired.differences.get(quantity, {}).get(part, _NONE)

    def rows(
        self, quantity: str, first: Values, second: Values, numbers: Numbers, order: Sequence[str], kind: str, label: Callable[[str], str]
    ) -> tuple[list[Row], list[list[str]]]:
        """Return the rows of a plot, and of a table of its numbers."""
        drawn, listed = [], []
        for part in order:
            one, other = first.get(part), second.get(part)
            between = self.apart(quantity, f"{kind}/{part}" if kind else part, one, other)
            said = [numbers.interval(one), numbers.interval(other), numbers.interval(between, signed=True)]
            color, name = self._color(part), label(part)
            marks = (
                Mark(one or _NONE, color, "dot", f"A {said[0]}"),
                Mark(other or _NONE, color, "ring", f"B {said[1]}"),
                Mark(between, color, "none", f"B − A {said[2]}", strong=bool(apart(between))),
            )
            drawn.append(Row(name, marks, f"{name}; A {said[0]}; B {said[1]}; B minus A {said[2]}"))
            listed.append([f"{name}, {KIND_TITLES.get(kind, kind).lower()}" if kind else name, *said])
        return drawn, listed

    def _color(self, part: str) -> str:
        """Return the colour of a row that is a modality's own, such as ``"audio alone"`` or ``"audio/0.5"``."""
        own = [name for name in self.colors if part == name or part.startswith((f"{name} alone", f"{name}/"))]
        return self.colors[max(own, key=len)] if own else "cs"

    def notes(self, key: str) -> tuple[str, ...]:
        """Return what a figure is."""
        return definition(key, self.both[0])

    def figure(
        self,
        quantity: str,
        title: str,
        values: tuple[Values, Values],
        numbers: Numbers,
        unit: str,
        *,
        notes: str = "",
        order: Sequence[str] = (),
        zero: bool = False,
        label: Callable[[str], str] = str,
    ) -> Figure | None:
        """Return a plot of one quantity; None where neither model has it.

        :param values: of both models, by part.
        :param notes: the name of its definition, where it is another.
        :param order: of the parts; default as they come.
        :param label: makes a row's name of a part.
        """
        first, second = values
        parts = [part for part in (order or list(dict.fromkeys([*first, *second]))) if part in first or part in second]
        if not parts:
            return None
        rows, listed = self.rows(quantity, first, second, numbers, parts, "", label)
        axis = axis_over([*ends(first.values()), *ends(second.values())], numbers, zero=zero)
        plot = row_plot(rows, axis, f"{title or unit} of A and B", unit=unit)
        folded = len(parts) > _MANY or quantity in ("missing", "noise")
        return Figure(title, "", self.legend + plot, self.notes(notes or quantity), _table(listed, title or unit), folded=folded)

    def kinds(
        self,
        quantity: str,
        title: str,
        values: tuple[Mapping[str, Values], Mapping[str, Values]],
        numbers: Numbers,
        unit: str,
    ) -> Figure | None:
        """Return a plot for every way of leaving modalities out, on one scale."""
        first, second = values
        axis = axis_over(ends(value for kinds in values for own in kinds.values() for value in own.values()), numbers, zero=True)
        parts, every = [], []
        for kind in dict.fromkeys([*first, *second]):
            one, other = first.get(kind, {}), second.get(kind, {})
            order = list(dict.fromkeys([*one, *other]))
            if order:
                rows, listed = self.rows(quantity, one, other, numbers, order, kind, str)
                name = f"{title or unit} of A and B, {KIND_NAMES.get(kind, kind)}"
                parts.append((KIND_TITLES.get(kind, kind), row_plot(rows, axis, name)))
                every += listed
        if not parts:
            return None
        return Figure(title, "", self.legend + panels(parts) + under(unit), self.notes(quantity), _table(every, title or unit))

    def panels(self, title: str, quantities: Mapping[str, tuple[str, Callable[[Diagnosis], Values]]], notes: str) -> Figure | None:
        """Return several quantities of any size, a panel each with its own scale.

        :param quantities: by name the title of the panel, and what gives the numbers of a model.
        """
        parts, every = [], []
        for quantity, (name, values_of) in quantities.items():
            first, second = map(values_of, self.both)
            order = list(dict.fromkeys([*first, *second]))
            if order:
                rows, listed = self.rows(quantity, first, second, AnySize(), order, "", str)
                axis = axis_over([*ends(first.values()), *ends(second.values())], AnySize(), zero=True, most=4)
                parts.append((name, row_plot(rows, axis, f"{name} of A and B")))
                every += [[f"{name}: {row[0]}", *row[1:]] for row in listed]
        return Figure(title, "", self.legend + panels(parts), self.notes(notes), _table(every, title or notes)) if parts else None

    def curves(self) -> Figure | None:
        """Return the scores of both runs over their epochs, all on one scale."""
        numbers = Numbers.fitting(*self.both)
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


def _table(rows: Sequence[Sequence[str]], name: str) -> str:
    return table(("", "A", "B", "B − A"), rows, f"Numbers: {name}")
