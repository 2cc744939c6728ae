"""Means over seeds with Student's t interval, in plain Python."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Estimate", "estimate", "percent", "student_t_quantile"]

MISSING = "–"


@dataclass(frozen=True)
class Estimate:
    """A mean with half the width of its interval; the latter is None for a single value."""

    mean: float
    half_width: float | None
    count: int


def estimate(values: Iterable[float | None], level: float = 0.95) -> Estimate | None:
    """Return the mean of the defined values with its two-sided Student t interval; None without any.

    >>> estimate([0.5, None])
    Estimate(mean=0.5, half_width=None, count=1)
    >>> round(estimate([1.0, 2.0, 3.0]).half_width, 4)
    2.4841

    :param values: one value per seed; None where it is undefined.
    :param level: the interval's confidence level.
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = statistics.fmean(known)
    if len(known) == 1:
        return Estimate(mean, None, 1)
    return Estimate(mean, student_t_quantile(len(known) - 1, level) * statistics.stdev(known) / math.sqrt(len(known)), len(known))


def percent(value: Estimate | None, *, signed: bool = False) -> str:
    """Return a score as a percentage with one decimal, with its interval where it has one.

    >>> percent(Estimate(0.984, None, 1)), percent(Estimate(-0.009, 0.0123, 5), signed=True), percent(None)
    ('98.4', '−0.9 ± 1.2', '–')
    """
    if value is None:
        return MISSING
    # Adding zero turns -0.0 into 0.0.
    mean = round(100 * value.mean, 1) + 0.0
    text = f"{mean:+.1f}" if signed and mean != 0.0 else f"{mean:.1f}"
    text = text.replace("-", "−")
    return text if value.half_width is None else f"{text} ± {100 * value.half_width:.1f}"


def student_t_quantile(freedom: int, level: float = 0.95) -> float:
    """Return the t for which a Student variable lies within ±t with the given probability.

    Inverts the closed form of the distribution for whole degrees of freedom (a finite sum in the angle atan(t / √ν)) by bisection.

    >>> round(student_t_quantile(4), 4)
    2.7764

    :param freedom: the degrees of freedom ν, at least 1.
    :param level: the probability, between 0 and 1.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        if _within(middle, freedom) < level:
            low = middle
        else:
            high = middle
    return math.tan(low) * math.sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    sine, cosine = math.sin(angle), math.cos(angle)
    term = total = 1.0 if freedom % 2 == 0 else cosine
    for step in range(2 + freedom % 2, freedom - 1, 2):
        term *= cosine * cosine * (step - 1) / step
        total += term
    if freedom % 2 == 0:
        return sine * total
    return 2.0 / math.pi * (angle + (sine * total if freedom > 1 else 0.0))
