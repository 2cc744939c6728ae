"""The statistics of a study a second time: by listing every case, or by drawing very many. Slow, and nothing shared with the library."""

from __future__ import annotations

import itertools
import math
import random


def best_of_by_listing(scores, budget):
    """The best of every possible draw with replacement, each as likely; a failed trial (None) is worth less than any score."""
    return [
        max((-math.inf if score is None else score for score in draw), default=-math.inf)
        for draw in itertools.product(scores, repeat=budget)
    ]


def best_of_by_drawing(scores, budget, draws, seed=0):
    """The same by chance, for budgets of which not every draw can be listed."""
    generator = random.Random(seed)
    worth = [-math.inf if score is None else score for score in scores]
    return [max(generator.choices(worth, k=budget)) for _ in range(draws)]


def quantile(values, level):
    """The smallest value that at least this share of them reaches or stays below; None for minus infinity."""
    ordered = sorted(values)
    for place, value in enumerate(ordered, start=1):
        if place / len(ordered) >= level - 1e-12:
            return None if value == -math.inf else value
    raise AssertionError


def mean_of_successes(values):
    """The mean over the draws with at least one success; None without any."""
    known = [value for value in values if value != -math.inf]
    return sum(known) / len(known) if known else None


def flips_by_listing(differences):
    """The share of all patterns of signs whose sum is as far from zero as the observed one."""
    observed = abs(sum(differences))
    patterns = list(itertools.product((1, -1), repeat=len(differences)))
    sums = [abs(sum(sign * value for sign, value in zip(pattern, differences, strict=True))) for pattern in patterns]
    return sum(value >= observed - 1e-9 for value in sums) / len(patterns)


def holm_by_steps(values):
    """Holm's correction by its definition: the k-th smallest times how many are left, never below an earlier one."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    found = [0.0] * len(values)
    for rank, place in enumerate(order):
        found[place] = max(min(1.0, (len(values) - earlier) * values[order[earlier]]) for earlier in range(rank + 1))
    return found
