"""How the page writes numbers: scores in percent where the metric is a share, true minus signs, a dash for what is undefined."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

from equimodal.diagnose.digits import digits_of
from equimodal.report.words import METRIC_NAMES, clean, metric_name, title_case

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from equimodal.diagnose.quantities import Interval
    from equimodal.diagnose.record import Diagnosis

__all__ = [
    "DASH",
    "RATES",
    "AnySize",
    "Axis",
    "Numbers",
    "aligned",
    "axis_over",
    "breakable",
    "plain",
    "text",
    "together",
    "whole",
]

DASH = "–"
_TOGETHER = re.compile(r"(?<=\d) (?=%)|(?<=[τμδκ]) (?==)|(?<=[τμδκ] =) (?=[\d−])")
"""Spaces within what is not to be broken."""
_NUMBER = re.compile(r"[+−]?\d[\d,]*(?:\.\d+)?")
_NO_SHARES = ("r2",)


def text(value: object) -> str:
    """Return a name or sentence as it can stand in HTML."""
    return escape(clean(str(value)))


def breakable(name: str) -> str:
    """Return a name as it can stand in HTML, with places in which a long one may be broken.

    >>> breakable("left_wrist")
    'left_<wbr>wrist'
    """
    return re.sub(r"(?<=[_/.-])(?=\w)", "<wbr>", text(name))


def together(sentence: str) -> str:
    """Return a sentence whose numbers are not broken from their units and signs."""
    return _TOGETHER.sub("\N{NO-BREAK SPACE}", sentence)


def aligned(written: Sequence[str]) -> list[str]:
    """Return numbers with spaces as wide as a digit before the shorter ones, so that those of one form stand below one another.

    >>> [one.replace("\N{FIGURE SPACE}", "_") for one in aligned(["8.0 [5.0, 11.0]", "12.5 [9.0, 15.0]", "none"])]
    ['_8.0 [5.0, 11.0]', '12.5 [9.0, 15.0]', 'none']
    """
    widest: dict[str, list[int]] = {}
    for one in written:
        lengths = [len(number) for number in _NUMBER.findall(one)]
        known = widest.setdefault(_NUMBER.sub("#", one), lengths)
        known[:] = map(max, known, lengths)

    def padded(one: str) -> str:
        lengths = iter(widest[_NUMBER.sub("#", one)])
        return _NUMBER.sub(lambda found: found[0].rjust(next(lengths), "\N{FIGURE SPACE}"), one)

    return [padded(one) for one in written]


def whole(number: int) -> str:
    """Return a count with its thousands set apart.

    >>> whole(1234567)
    '1,234,567'
    """
    return f"{number:,}"


def plain(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits that count.

    >>> plain(0.000412345), plain(-12.5), plain(123456.0), plain(None)
    ('0.000412', '−12.5', '123,456', '–')
    """
    if value is None:
        return DASH
    said = f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return said.replace("-", "−")


@dataclass(frozen=True)
class Numbers:
    """Writes scores of one metric.

    :param factor: 100 for metrics that are shares, else 1.
    :param unit: what stands behind the metric's name.
    :param digits: behind the point.
    """

    metric: str = "accuracy"
    factor: float = 100.0
    unit: str = "%"
    digits: int = 1

    @classmethod
    def of(cls, metric: str) -> Numbers:
        """Return how numbers of this metric are written; those of an unknown one as they are."""
        return cls(metric) if metric in METRIC_NAMES and metric not in _NO_SHARES else cls(metric, 1.0, "", 3)

    @classmethod
    def fitting(cls, *diagnoses: Diagnosis) -> Numbers:
        """Return how the scores of one diagnosis, or of several with one metric, are written; large ones have fewer digits."""
        numbers = cls.of(diagnoses[0].metric)
        return numbers if numbers.unit else replace(numbers, digits=digits_of(*diagnoses))

    @property
    def name(self) -> str:
        """The metric's name with its unit, as an axis has it."""
        said = title_case(metric_name(self.metric))
        return f"{said} (%)" if self.unit else said

    @property
    def lower(self) -> str:
        """The same within a sentence."""
        return f"{self.name[0].lower()}{self.name[1:]}"

    def score(self, value: float | None, *, signed: bool = False) -> str:
        """Return a score.

        >>> Numbers().score(0.7812), Numbers().score(-0.031, signed=True), Numbers.of("r2").score(0.5)
        ('78.1', '−3.1', '0.500')
        """
        if value is None:
            return DASH
        number = round(self.factor * value, self.digits) + 0.0
        return f"{number:{'+' if signed and number > 0 else ''},.{self.digits}f}".replace("-", "−")

    def interval(self, interval: Interval | None, *, signed: bool = False) -> str:
        """Return a score with its interval behind it.

        >>> from equimodal.diagnose.record import Interval
        >>> Numbers().interval(Interval(0.78, 0.75, 0.81)), Numbers().interval(Interval(0.78)), Numbers().interval(None)
        ('78.0 [75.0, 81.0]', '78.0', '–')
        """
        if interval is None or interval.value is None:
            return DASH
        value = self.score(interval.value, signed=signed)
        if interval.low is None or interval.high is None:
            return value
        return f"{value} [{self.score(interval.low)}, {self.score(interval.high)}]"


RATES = Numbers("utilization", 1.0, "", 2)
"""Writes utilization rates and their gap as they stand beside τ."""


class AnySize(Numbers):
    """Writes numbers of any size with three digits.

    >>> AnySize().score(8.0), AnySize().score(0.02), AnySize().score(12000)
    ('8.00', '0.0200', '12,000')
    """

    def __init__(self) -> None:
        super().__init__("", 1.0, "")

    def score(self, value: float | None, *, signed: bool = False) -> str:
        """Return a number; zeros at its end count."""
        three = value is not None and 1e-4 <= abs(value) < 1000
        said = f"{value:#.3g}".rstrip(".").replace("-", "−") if three else plain(value)
        return f"+{said}" if signed and value is not None and value > 0 else said


@dataclass(frozen=True)
class Axis:
    """A linear scale from one number to another, in the units of the record.

    :param ticks: where numbers stand, as values and what is written there.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float:
        """Return where a value lies, in percent of the length; what lies outside is brought to the end."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)


def axis_over(values: Iterable[float | None], numbers: Numbers, *, zero: bool = False, most: int = 6) -> Axis:
    """Return a scale over values with round ticks.

    >>> axis = axis_over([0.31, 0.82], Numbers())
    >>> axis.low, axis.high, [name for _, name in axis.ticks]
    (0.3, 0.9, ['30', '40', '50', '60', '70', '80', '90'])
    >>> [name for _, name in axis_over([8.2], Numbers(factor=1.0), zero=True, most=4).ticks]
    ['0', '2.5', '5.0', '7.5', '10.0']

    Where values lie on both sides of zero, ends are no further away than they: that one is 0.3 below must not take a third of the page.

    >>> axis = axis_over([-0.003, 0.55], Numbers(), zero=True)
    >>> axis.low, axis.ticks[0]
    (-0.008, (0.0, '0'))

    :param zero: whether zero is to be on it.
    :param most: about how many spaces between ticks there may be.
    """
    known = [value * numbers.factor for value in values if value is not None and math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if numbers.unit and not zero and high - low < 0.1 * numbers.factor:  # differences of a point must not fill the page
        middle, half = (low + high) / 2, 0.05 * numbers.factor
        low, high = min(low, middle - half), max(high, middle + half)
    if high - low < 1e-9:
        low, high = (low, low + 1.0) if zero and low >= 0 else (low - 0.5, high + 0.5)
    step = _round_step((high - low) / most)
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    digits = next(digits for digits in range(16) if abs(round(step, digits) - step) < 1e-9 * step or digits == 15)
    ends = [first * step, last * step]
    if zero and first < 0 < last:
        if low > ends[0] + step / 2:
            first, ends[0] = first + 1, low - 0.05 * step
        if high < ends[1] - step / 2:
            last, ends[1] = last - 1, high + 0.05 * step
    ticks = [(number * step, f"{number * step:,.{digits}f}".replace("-", "−") if number else "0") for number in range(first, last + 1)]
    return Axis(
        round(ends[0] / numbers.factor, 12),
        round(ends[1] / numbers.factor, 12),
        tuple((round(value / numbers.factor, 12), name) for value, name in ticks),
    )


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= least * (1 - 1e-9))
