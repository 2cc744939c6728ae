"""The verdict where Shapley values come from drawn orders: what the drawing leaves open counts too."""

from __future__ import annotations

import dataclasses
import math

import pytest

from diagnose.verdicts import finding, interval, kinds, record
from equimodal.diagnose.quantities import Interval, Shapley
from equimodal.diagnose.verdict import verdict
from equimodal.diagnose.verdict_facts import Facts

NAMES = ("a", "b", "c", "d", "e", "f", "g")
WORTH = (0.4, 0.1, 0.06, 0.06, 0.06, 0.06, 0.06)


def sampled(error, worth=WORTH):
    found = record([0.1] * 7, worth, names=NAMES, heads=[0.5] * 7, probes=[0.5] * 7)
    drawn = dataclasses.replace(found.shapley["mean"], interactions={}, exact=False, orders=64, errors=dict.fromkeys(NAMES, error))
    return dataclasses.replace(found, shapley={"mean": drawn})


def test_a_leader_that_other_orders_may_undo_is_none():
    assert ("dominated", "a") in kinds(sampled(0.0))
    assert ("dominated", "a") in kinds(sampled(0.005))
    assert "dominated" not in [kind for kind, _ in kinds(sampled(0.15))]


def test_the_evidence_holds_both_errors():
    proof = finding(sampled(0.01), "dominated").evidence
    half = math.hypot(0.02, 1.959964 * 0.01)
    assert proof["Shapley value of a, low"] == pytest.approx(0.4 - half, abs=1e-6)
    assert proof["Shapley value of a, high"] == pytest.approx(0.4 + half, abs=1e-6)


def test_exact_values_and_those_without_intervals_stay_as_they_are():
    exact = record()
    assert Facts(exact).worth == exact.shapley["mean"].values
    bare = sampled(0.1)
    shares = bare.shapley["mean"]
    bare = dataclasses.replace(
        bare, shapley={"mean": dataclasses.replace(shares, values={name: Interval(own.value) for name, own in shares.values.items()})}
    )
    assert Facts(bare).worth == bare.shapley["mean"].values
    assert verdict(bare)


def test_ends_that_lie_unequally_far_stay_unequal():
    found = Shapley(interval(0.1), interval(0.9), {"a": Interval(0.5, 0.5, 0.54)}, {}, exact=False, orders=64, errors={"a": 0.02})
    widened = found.with_drawing(0.9).values["a"]
    assert widened.value == 0.5
    assert widened.low == pytest.approx(0.5 - 1.644854 * 0.02, abs=1e-6)
    assert widened.high == pytest.approx(0.5 + math.hypot(0.04, 1.644854 * 0.02), abs=1e-6)
