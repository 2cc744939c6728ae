"""Shapley values of the score over modalities, and how they interact."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equimodal.diagnose.quantities import Shapley

if TYPE_CHECKING:
    from equimodal.diagnose.intervals import Bootstrap

__all__ = ["EXACT", "draw_orders", "interactions", "shapley", "shapley_values", "subsets_needed"]

EXACT = 6
"""Up to so many modalities every subset is evaluated, 64 for six; beyond, those of drawn orders."""
ORDERS = 64
"""So many orders are drawn beyond."""


def shapley_values(scores: Mapping[frozenset[str], Tensor], modalities: Sequence[str]) -> dict[str, Tensor]:
    r"""Return how the gain of all modalities over none is shared out among them (Shapley 1953).

    .. math:: \varphi_m = \sum_{S \subseteq M \setminus m} \frac{|S|!\,(|M| - |S| - 1)!}{|M|!} \bigl[ v(S \cup m) - v(S) \bigr]

    the mean over all orders of what a modality adds to those before it. The values add up to :math:`v(M) - v(\emptyset)`.

    >>> gains = {"": 0.5, "a": 0.75, "b": 0.5, "ab": 1.0}
    >>> scores = {frozenset(names): torch.tensor(gain) for names, gain in gains.items()}
    >>> {name: value.item() for name, value in shapley_values(scores, "ab").items()}
    {'a': 0.375, 'b': 0.125}

    :param scores: *v*, by subset of the modalities that are there; every subset.
    :param modalities: their names.
    """
    count = len(modalities)
    values = {}
    for name in modalities:
        others = [other for other in modalities if other != name]
        total = torch.zeros_like(scores[frozenset()])
        for size in range(count):
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for before in map(frozenset, itertools.combinations(others, size)):
                total = total + weight * (scores[before | {name}] - scores[before])
        values[name] = total
    return values


def interactions(scores: Mapping[frozenset[str], Tensor], modalities: Sequence[str]) -> dict[str, Tensor]:
    r"""Return the Shapley interaction index of every pair (Grabisch & Roubens 1999).

    .. math:: I_{ij} = \sum_{S \subseteq M \setminus ij} \frac{|S|!\,(|M| - |S| - 2)!}{(|M| - 1)!}
        \bigl[ v(S \cup ij) - v(S \cup i) - v(S \cup j) + v(S) \bigr]

    For two modalities :math:`v(ij) - v(i) - v(j) + v(\emptyset)`: positive where each needs the other, negative where they tell the same.

    >>> exclusive_or = {"": 0.5, "a": 0.5, "b": 0.5, "ab": 1.0}
    >>> scores = {frozenset(names): torch.tensor(gain) for names, gain in exclusive_or.items()}
    >>> interactions(scores, "ab")["a × b"].item()
    0.5
    """
    count = len(modalities)
    found = {}
    for first, second in itertools.combinations(modalities, 2):
        others = [other for other in modalities if other not in (first, second)]
        total = torch.zeros_like(scores[frozenset()])
        for size in range(count - 1):
            weight = math.factorial(size) * math.factorial(count - size - 2) / math.factorial(count - 1)
            for rest in map(frozenset, itertools.combinations(others, size)):
                both = scores[rest | {first, second}] - scores[rest | {first}] - scores[rest | {second}] + scores[rest]
                total = total + weight * both
        found[f"{first} × {second}"] = total
    return found


def draw_orders(modalities: Sequence[str], count: int = ORDERS, seed: int = 0) -> list[tuple[str, ...]]:
    """Return random orders of the modalities, each followed by its reverse, which makes the mean over them steadier.

    :param count: how many, an even number.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = []
    for _ in range(count // 2):
        order = tuple(modalities[place] for place in torch.randperm(len(modalities), generator=generator).tolist())
        orders += [order, order[::-1]]
    return orders


def subsets_needed(modalities: Sequence[str], orders: Sequence[tuple[str, ...]] | None) -> list[frozenset[str]]:
    """Return the subsets whose scores are needed: all, or those that the orders pass through, and each with one modality left out."""
    if orders is None:
        return [frozenset(some) for size in range(len(modalities) + 1) for some in itertools.combinations(modalities, size)]
    passed = [frozenset(order[:size]) for order in orders for size in range(len(modalities) + 1)]
    return list(dict.fromkeys([*passed, *(frozenset(modalities) - {name} for name in modalities)]))


def shapley(
    scores: Mapping[frozenset[str], Tensor],
    modalities: Sequence[str],
    bootstrap: Bootstrap,
    orders: Sequence[tuple[str, ...]] | None = None,
) -> Shapley:
    """Return the values with their intervals.

    :param scores: by subset the column ``[1 + resamples]`` of the joint model's score.
    :param orders: what :func:`draw_orders` gave, where not every subset has a score; interactions are left out then.
    """
    empty, full = scores[frozenset()], scores[frozenset(modalities)]
    ends = bootstrap.interval(empty), bootstrap.interval(full)
    if orders is None:
        values = {name: bootstrap.interval(column) for name, column in shapley_values(scores, modalities).items()}
        pairs = {pair: bootstrap.interval(column) for pair, column in interactions(scores, modalities).items()}
        return Shapley(*ends, values, pairs)
    gains = {name: torch.stack([_gain(scores, order, name) for order in orders]) for name in modalities}
    values = {name: bootstrap.interval(each.mean(dim=0)) for name, each in gains.items()}
    # An order and its reverse depend on one another: the pairs are what was drawn independently.
    pairs_of = {name: (each[0::2, 0] + each[1::2, 0]) / 2 for name, each in gains.items()}
    errors = {name: float(each.std() / math.sqrt(len(each))) if len(each) > 1 else 0.0 for name, each in pairs_of.items()}
    return Shapley(*ends, values, {}, exact=False, orders=len(orders), errors=errors)


def _gain(scores: Mapping[frozenset[str], Tensor], order: tuple[str, ...], name: str) -> Tensor:
    before = frozenset(order[: order.index(name)])
    return scores[before | {name}] - scores[before]
