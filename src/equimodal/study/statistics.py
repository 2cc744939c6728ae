"""What a search and a comparison can claim: the best of a smaller budget, and tests of paired differences."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from equimodal.errors import InputError, require
from equimodal.report.intervals import student_t_quantile

__all__ = ["BUDGETS", "BestOf", "Paired", "best_of", "budgets", "holm", "is_near", "paired", "sign_flip"]

BUDGETS = (1, 2, 4, 8, 20, 40, 80)
"""How many trials a smaller search might have had; 80 is the paper's number."""

QUANTILES = (0.05, 0.5, 0.95)

# Scores are counts over a test split's samples, so that differences that are equal differ in their last bits at most.
ROUNDING = 1e-9

MOST_FLIPPED = 32
"""The exact sign-flip test looks at every pattern of signs, by halves; beyond this many pairs that is too much."""


@dataclass(frozen=True)
class BestOf:
    """The distribution of the best score among some trials.

    :param budget: how many trials.
    :param mean: the mean of the best score over the draws in which at least one trial succeeded; None where none ever does.
    :param quantiles: by probability the smallest score that the best one is at most with it; None where that is a draw without any
        success, which counts as the lowest.
    :param lost: the probability that every trial failed.
    """

    budget: int
    mean: float | None
    quantiles: Mapping[float, float | None]
    lost: float


def best_of(scores: Iterable[float | None], budget: int, quantiles: Sequence[float] = QUANTILES) -> BestOf:
    """Return the distribution of the best of some trials, drawn with replacement out of those that were made.

    It is exact, not simulated: of N scores in order, the best of k draws is at most the i-th with the probability (i / N)^k.

    >>> found = best_of([0.5, 0.7], 2)
    >>> round(found.mean, 3), found.quantiles[0.5]
    (0.65, 0.7)

    :param scores: one per trial that has ended; None for one that failed, which uses up the budget like any other.
    :param budget: how many trials are drawn, at least 1.
    :param quantiles: the probabilities of the quantiles, each above 0 and at most 1.
    :raises InputError: for a budget below 1.
    """
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise InputError(f"a budget of {budget!r} trials: give a whole number of at least 1")
    given = list(scores)
    known = sorted(score for score in given if score is not None)
    failed, total = len(given) - len(known), len(given)
    if not known:
        return BestOf(budget, None, dict.fromkeys(quantiles), 1.0)
    reached = [(place / total) ** budget for place in range(failed, total + 1)]
    lost = reached[0]
    mean = math.fsum(score * (after - before) for score, before, after in zip(known, reached, reached[1:], strict=False)) / (1.0 - lost)
    found = {}
    for level in quantiles:
        # The smallest score whose probability reaches the level; the slack is for levels that lie exactly on one.
        place = bisect_left(reached, level * (1.0 - 1e-12))
        found[level] = None if place == 0 else known[place - 1]
    return BestOf(budget, mean, found, lost)


def budgets(count: int) -> tuple[int, ...]:
    """Return the budgets that some trials can speak of: the usual ones below their number, and that number.

    >>> budgets(6), budgets(80), budgets(0)
    ((1, 2, 4, 6), (1, 2, 4, 8, 20, 40, 80), ())
    """
    return (*(budget for budget in BUDGETS if budget < count), *([count] if count > 0 else []))


def is_near(budget: int, count: int) -> bool:
    """Tell whether a budget is so near the number of trials that the distribution of its best rests on the few best trials alone."""
    return 2 * budget > count


@dataclass(frozen=True)
class Paired:
    """What differences of pairs show.

    :param count: how many pairs.
    :param mean: the mean difference; None without any pair.
    :param half_width: half of the 95 % interval (Student's t); None for fewer than two pairs, and where all differences are equal, which
        says nothing of how they would vary.
    :param differences: one per pair.
    """

    count: int
    mean: float | None
    half_width: float | None
    differences: tuple[float, ...]

    @property
    def interval(self) -> tuple[float, float] | None:
        """The ends of the 95 % interval."""
        return None if self.mean is None or self.half_width is None else (self.mean - self.half_width, self.mean + self.half_width)

    @property
    def can_tell(self) -> bool:
        """Whether it can say anything: there is an interval, or several pairs without any difference."""
        return self.interval is not None or (self.count > 1 and self.mean is not None and abs(self.mean) <= ROUNDING)

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies above or below zero, 0 where it holds zero or there is none."""
        if self.interval is None:
            return 0
        low, high = self.interval
        return 1 if low > 0 else -1 if high < 0 else 0

    def t_test(self) -> float | None:
        """Return the two-sided p-value of the paired t-test.

        None where it is undefined: fewer than two pairs, or equal differences other than zero. Without any difference it is 1.

        :raises MissingDependency: without SciPy.
        """
        if self.mean is None or self.count < 2:
            return None
        if self.half_width is None:
            return 1.0 if abs(self.mean) <= ROUNDING else None
        error = statistics.stdev(self.differences) / math.sqrt(self.count)
        student: Any = require("scipy.stats", extra="study").t
        return min(1.0, 2.0 * float(student.sf(abs(self.mean) / error, self.count - 1)))

    def flip_test(self) -> float | None:
        """Return the two-sided p-value of the exact sign-flip test; see :func:`sign_flip`."""
        return sign_flip(self.differences)


def paired(ours: Mapping[Any, float | None], theirs: Mapping[Any, float | None]) -> Paired:
    """Compare two series of scores by what they have in common, such as seeds.

    >>> found = paired({1: 0.9, 2: 0.8, 3: 0.7}, {1: 0.8, 2: 0.75, 4: 0.1})
    >>> found.count, round(found.mean, 3)
    (2, 0.075)

    :param ours: a score by seed; None where it is undefined.
    :param theirs: what is subtracted.
    """
    pairs = [(ours[unit], theirs[unit]) for unit in ours if unit in theirs]
    differences = tuple(one - other for one, other in pairs if one is not None and other is not None)
    if not differences:
        return Paired(0, None, None, ())
    mean, count = statistics.fmean(differences), len(differences)
    if max(differences) - min(differences) <= ROUNDING:
        return Paired(count, mean, None, differences)
    half = student_t_quantile(count - 1) * statistics.stdev(differences) / math.sqrt(count)
    return Paired(count, mean, half, differences)


def sign_flip(differences: Sequence[float]) -> float | None:
    """Return the exact two-sided p-value of the sign-flip test: how often a mean as far from zero comes about when each sign is a coin's.

    With n pairs it is never below 2 / 2^n: five seeds cannot reach 0.05.

    >>> sign_flip([0.1, 0.2, 0.3])
    0.25

    :returns: None without any pair, or for more than 32.
    """
    count = len(differences)
    if not 0 < count <= MOST_FLIPPED:
        return None
    observed = abs(math.fsum(differences))
    slack = ROUNDING * max(1.0, *map(abs, differences))
    if observed <= slack:
        return 1.0
    # All sums of each half of the pairs: a pattern of signs is one of the first and one of the second.
    first, second = _sums(differences[: count // 2]), sorted(_sums(differences[count // 2 :]))
    beyond = sum(len(second) - bisect_left(second, observed - slack - one) for one in first)
    return min(1.0, 2.0 * beyond / 2.0**count)


def _sums(values: Sequence[float]) -> list[float]:
    found = [0.0]
    for value in values:
        found = [total + signed for total in found for signed in (value, -value)]
    return found


def holm(probabilities: Sequence[float | None]) -> list[float | None]:
    """Return p-values that hold for a whole family of tests together (Holm's correction).

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]

    :param probabilities: the p-values of the family; None for a test that could not be made, which does not count.
    """
    known = sorted((value, place) for place, value in enumerate(probabilities) if value is not None)
    corrected: list[float | None] = [None] * len(probabilities)
    highest = 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        corrected[place] = highest
    return corrected
