"""Utilization rates and gaps: Eq. 4 and 5, more than two modalities, and scores that cannot be used."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equimodal import InputError, conditional_utilization, pairwise_gaps, utilization_gap
from equimodal.scores import checked_scores, has_signal, modalities_of

NAN_OR_INFINITE = (math.nan, math.inf, -math.inf)
POSITIVE = st.floats(0.01, 1.0)
SCORE = st.floats(-1.0, 1.0)


def test_the_golden_numbers():
    scores = {"multimodal": 0.70, "A": 0.60, "B": 0.40}
    assert conditional_utilization(scores) == {"A": pytest.approx(3 / 7), "B": pytest.approx(1 / 7)}
    assert utilization_gap(scores) == pytest.approx(2 / 7)
    assert pairwise_gaps(scores) == {("A", "B"): pytest.approx(2 / 7)}


@given(POSITIVE, SCORE, SCORE)
@settings(deadline=None, derandomize=True, database=None)
def test_two_modalities_are_equation_4_and_5_bit_by_bit(s, s_a, s_b):
    scores = {"multimodal": s, "A": s_a, "B": s_b}
    u_a, u_b = (s - s_b) / s, (s - s_a) / s
    assert conditional_utilization(scores) == {"A": u_a, "B": u_b}
    assert utilization_gap(scores) == abs(u_a - u_b)


@given(POSITIVE, SCORE, SCORE)
@settings(deadline=None, derandomize=True, database=None)
def test_the_identity_of_rates_and_heads(s, s_a, s_b):
    rates = conditional_utilization({"multimodal": s, "A": s_a, "B": s_b})
    assert rates["A"] - rates["B"] == pytest.approx((s_a - s_b) / s, rel=1e-12, abs=1e-12 / s)


def test_a_tie_with_tau_falls_where_equation_4_puts_it():
    # 0.5 - 0.3 over 1 is 0.2 however it is computed; over 0.7 other orders of the same formula round differently.
    s, s_a, s_b = 0.7, 0.55, 0.41
    assert utilization_gap({"multimodal": s, "A": s_a, "B": s_b}) == abs((s - s_b) / s - (s - s_a) / s) != abs(s_a - s_b) / s


def test_more_than_two_modalities_are_compared_with_the_best_other_head():
    scores = {"multimodal": 0.8, "A": 0.6, "B": 0.4, "C": 0.2}
    assert conditional_utilization(scores) == {"A": (0.8 - 0.4) / 0.8, "B": (0.8 - 0.6) / 0.8, "C": (0.8 - 0.6) / 0.8}
    gaps = pairwise_gaps(scores)
    assert list(gaps) == [("A", "B"), ("A", "C"), ("B", "C")]
    assert gaps == {("A", "B"): pytest.approx(0.25), ("A", "C"): pytest.approx(0.5), ("B", "C"): pytest.approx(0.25)}
    assert utilization_gap(scores) == gaps["A", "C"]


@given(st.lists(SCORE, min_size=2, max_size=8), POSITIVE, st.floats(0.0, 1.0))
@settings(deadline=None, derandomize=True, database=None)
def test_the_gap_is_within_tau_exactly_when_every_pair_is(heads, s, tau):
    scores = {"multimodal": s, **{f"m{number}": head for number, head in enumerate(heads)}}
    assert (utilization_gap(scores) <= tau) == all(gap <= tau for gap in pairwise_gaps(scores).values())


def test_ablated_scores_take_the_place_of_the_other_heads():
    scores = {"multimodal": 0.8, "A": 0.6, "B": 0.4, "C": 0.2}
    assert conditional_utilization(scores, without={"A": 0.2, "B": 0.8, "C": 0.6}) == {
        "A": (0.8 - 0.2) / 0.8,
        "B": 0.0,
        "C": (0.8 - 0.6) / 0.8,
    }
    with pytest.raises(InputError, match=r"no score for modality 'C' \(ablated scores\)"):
        conditional_utilization(scores, without={"A": 0.2, "B": 0.8})
    with pytest.raises(InputError, match=r"unknown modality 'D' in the scores \(ablated scores\)"):
        conditional_utilization(scores, without={"A": 0.2, "B": 0.8, "C": 0.1, "D": 0.1})


def test_a_head_that_beats_the_joint_prediction_makes_the_other_rate_negative():
    assert conditional_utilization({"multimodal": 0.5, "A": 0.75, "B": 0.25}) == {"A": 0.5, "B": -0.5}


def test_the_gap_can_exceed_one():
    assert utilization_gap({"multimodal": 0.1, "A": 0.5, "B": 0.1}) == pytest.approx(4.0)


@pytest.mark.parametrize("s", [0.0, -0.0, -0.3])
def test_without_signal_every_rate_and_gap_is_undefined(s):
    scores = {"multimodal": s, "A": 0.5, "B": 0.1, "C": -0.2}
    assert not has_signal(scores)
    rates = conditional_utilization(scores)
    assert list(rates) == ["A", "B", "C"]
    assert all(math.isnan(rate) for rate in rates.values())
    assert all(math.isnan(gap) for gap in pairwise_gaps(scores).values())
    assert math.isnan(utilization_gap(scores))


def test_negative_heads_are_fine_where_the_joint_score_is_positive():
    assert conditional_utilization({"multimodal": 0.5, "A": -0.5, "B": 0.25}) == {"A": 0.5, "B": 2.0}


def test_the_order_of_the_mapping_is_kept_and_the_joint_score_may_stand_anywhere():
    scores = {"image": 0.4, "multimodal": 0.7, "audio": 0.6}
    assert modalities_of(scores) == ("image", "audio")
    assert list(conditional_utilization(scores)) == ["image", "audio"]
    assert list(pairwise_gaps(scores)) == [("image", "audio")]


def test_tensors_count_as_numbers_and_are_computed_in_double_precision():
    scores = {"multimodal": torch.tensor(0.7), "A": torch.tensor(0.6, dtype=torch.float64), "B": 0}
    checked = checked_scores(scores)
    assert {type(value) for value in checked.values()} == {float}
    s = float(torch.tensor(0.7))
    assert conditional_utilization(scores) == {"A": (s - 0) / s, "B": (s - 0.6) / s}


@pytest.mark.parametrize("function", [conditional_utilization, utilization_gap, pairwise_gaps])
@pytest.mark.parametrize("value", NAN_OR_INFINITE)
@pytest.mark.parametrize("name", ["multimodal", "A", "B"])
def test_scores_that_are_no_finite_numbers_are_named(function, value, name):
    with pytest.raises(InputError, match=f"^the score of '{name}' is {value}: every score must be a finite number$"):
        function({"multimodal": 0.5, "A": 0.5, "B": 0.5, name: value})


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"A": 0.5, "B": 0.5}, "no score under the key 'multimodal': add the score of the joint prediction (given: A, B)"),
        ({"multimodal": 0.5, "A": 0.5}, "scores of at least two modalities are needed, got A"),
        ({"multimodal": 0.5}, "scores of at least two modalities are needed, got none"),
        ([0.5, 0.5, 0.5], "scores must be a mapping with 'multimodal' and one entry per modality, not list [0.5, 0.5, 0.5]"),
        (0.5, "scores must be a mapping with 'multimodal' and one entry per modality, not float 0.5"),
    ],
)
@pytest.mark.parametrize("function", [conditional_utilization, utilization_gap, pairwise_gaps])
def test_unusable_scores_are_answered_in_one_line(function, scores, message):
    with pytest.raises(InputError) as caught:
        function(scores)
    assert str(caught.value) == message


def test_checked_scores_name_what_is_missing_or_unknown_and_where():
    with pytest.raises(InputError) as caught:
        checked_scores({"multimodal": 0.5, "audio": 0.5, "imag": 0.5}, ("audio", "image"), place="epoch 3")
    assert str(caught.value) == "unknown modality 'imag' in the scores (epoch 3): did you mean 'image'? (known: audio, image)"
    with pytest.raises(InputError) as caught:
        checked_scores({"multimodal": 0.5, "audio": 0.5}, ("audio", "image"), place="epoch 3")
    assert str(caught.value) == "no score for modality 'image' (epoch 3): give one for each of audio, image"


def test_checked_scores_come_back_in_the_asked_order():
    scores = {"image": 0.4, "audio": 0.6, "multimodal": 0.7}
    assert list(checked_scores(scores, ("audio", "image")).items()) == [("multimodal", 0.7), ("audio", 0.6), ("image", 0.4)]
