"""Shapley values and interactions against their definitions."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.shapley import draw_orders, interactions, shapley, shapley_values, subsets_needed

NAMES = ("audio", "image", "text", "depth", "touch", "smell", "taste")


def scores_of(modalities, seed=0, draws=1):
    generator = torch.Generator().manual_seed(seed)
    subsets = subsets_needed(modalities, None)
    return {subset: torch.rand(draws, generator=generator, dtype=torch.float64) for subset in subsets}


@given(count=st.integers(2, 6), seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_values_are_the_mean_over_all_orders_and_add_up(count, seed):
    names = NAMES[:count]
    scores = scores_of(names, seed)
    values = shapley_values(scores, names)
    orders = list(itertools.permutations(names))
    for name in names:
        before = [frozenset(order[: order.index(name)]) for order in orders]
        gains = torch.stack([scores[subset | {name}] - scores[subset] for subset in before])
        assert float(values[name]) == pytest.approx(float(gains.mean()), abs=1e-12)
    total = float(scores[frozenset(names)] - scores[frozenset()])
    assert float(sum(values.values())) == pytest.approx(total, abs=1e-12)


@given(count=st.integers(2, 5), seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_an_interaction_is_the_value_of_the_pair_less_each_alone(count, seed):
    """Grabisch and Roubens: the pair as one player, less each of them where the other is not there."""
    names = NAMES[:count]
    scores = scores_of(names, seed)
    found = interactions(scores, names)
    for first, second in itertools.combinations(names, 2):
        rest = [name for name in names if name not in (first, second)]
        with_pair = [*rest, "pair"]
        joined = {
            subset: scores[subset - {"pair"} | {first, second}] if "pair" in subset else scores[subset]
            for subset in subsets_needed(with_pair, None)
        }
        expected = shapley_values(joined, with_pair)["pair"]
        for alone in (first, second):
            others = [*rest, alone]
            expected = expected - shapley_values({subset: scores[subset] for subset in subsets_needed(others, None)}, others)[alone]
        assert float(found[f"{first} × {second}"]) == pytest.approx(float(expected), abs=1e-12)


def test_a_modality_without_influence_and_two_alike():
    gains = {"": 0.2, "a": 0.6, "b": 0.6, "c": 0.2, "ab": 0.7, "ac": 0.6, "bc": 0.6, "abc": 0.7}
    scores = {frozenset(names): torch.tensor([gain], dtype=torch.float64) for names, gain in gains.items()}
    values = shapley_values(scores, "abc")
    assert float(values["c"]) == pytest.approx(0.0, abs=1e-15)
    assert float(values["a"]) == pytest.approx(0.25, abs=1e-15) == pytest.approx(float(values["b"]), abs=1e-15)
    assert float(interactions(scores, "abc")["a × b"]) == pytest.approx(0.7 - 0.6 - 0.6 + 0.2)


def test_drawn_orders_add_up_exactly_and_come_close():
    names = NAMES
    orders = draw_orders(names, 64, seed=1)
    scores = scores_of(names, seed=3, draws=11)
    bootstrap = Bootstrap(50, resamples=10)
    drawn = shapley({subset: scores[subset] for subset in subsets_needed(names, orders)}, names, bootstrap, orders)
    exact = shapley_values(scores, names)
    assert sum(value.value for value in drawn.values.values()) == pytest.approx(drawn.full.value - drawn.empty.value, abs=1e-12)
    assert not drawn.exact
    assert drawn.orders == 64
    assert drawn.interactions == {}
    assert drawn.errors.keys() == drawn.values.keys()
    for name, value in drawn.values.items():
        assert abs(value.value - float(exact[name][0])) < 4 * drawn.errors[name]


def test_orders_come_with_their_reverse():
    orders = draw_orders(NAMES, 8, seed=0)
    assert len(orders) == 8
    assert all(orders[place] == orders[place + 1][::-1] for place in range(0, 8, 2))
    assert orders == draw_orders(NAMES, 8, seed=0) != draw_orders(NAMES, 8, seed=1)


def test_every_subset_up_to_six():
    assert len(subsets_needed(NAMES[:6], None)) == 64
    needed = subsets_needed(NAMES, draw_orders(NAMES, 4))
    assert len(set(needed)) == len(needed) < 128
    assert {frozenset(NAMES) - {name} for name in NAMES} <= set(needed)
