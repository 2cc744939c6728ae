"""MILES: the rule, every row of its edge table, its options, its warning and its state. Against the oracle: test_miles_oracle.py."""

import json
import math
import pickle
import warnings

import pytest
import torch
from torch import nn

from equimodal import MILES, InputError, UncertainGapWarning
from equimodal.methods import methods
from equimodal.methods.base import EpochContext
from equimodal.methods.miles import SILENT_EPOCHS, MILESMethod, MILESRule, NoSignalWarning, sampling_error, slower

GOLDEN = {"multimodal": 0.70, "audio": 0.60, "image": 0.40}
SLOW_AUDIO = {"multimodal": 0.9, "audio": 0.8, "image": 0.4}
SLOW_IMAGE = {"multimodal": 0.9, "audio": 0.4, "image": 0.8}
BALANCED = {"multimodal": 0.9, "audio": 0.6, "image": 0.6}
NO_SIGNAL = {"multimodal": 0.0, "audio": 0.6, "image": 0.1}


def make_optimizer(names=("multimodal", "audio", "image"), lr=0.1):
    return torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "modality": name} for name in names], lr=lr)


@pytest.fixture
def optimizer():
    return make_optimizer()


def rule_after(*trace, names=("audio", "image"), **options):
    rule = MILESRule(names, **options)
    for scores in trace:
        rule.step(scores)
    return rule


def decisions(rule):
    return [record["decision"] for record in rule.history]


def multipliers_over_time(rule):
    return [tuple(record["multipliers"].values()) for record in rule.history]


# --- the rule


def test_the_golden_numbers():
    """Rates 0.4286 and 0.1429, gap 0.2857: above the default threshold, and audio, the stronger head, is slowed."""
    rule = rule_after(GOLDEN)
    assert rule.multipliers == {"audio": 0.5, "image": 1.0}
    (record,) = rule.history
    assert record["utilization"] == {"audio": pytest.approx(0.428571, abs=1e-6), "image": pytest.approx(0.142857, abs=1e-6)}
    assert record["gap"] == pytest.approx(0.285714, abs=1e-6)
    assert record["decision"] == "slow audio"
    assert rule_after(GOLDEN, tau=0.29).multipliers == {"audio": 1.0, "image": 1.0}
    assert rule_after(GOLDEN, tau=0.28).multipliers == {"audio": 0.5, "image": 1.0}


def test_the_defaults_are_the_papers():
    rule = MILESRule(("audio", "image"))
    assert (rule.tau, rule.mu, rule.restore_other, rule.every, rule.start, rule.smoothing) == (0.2, 0.5, False, 1, 0, 0.0)
    assert (MILESMethod().tau, MILESMethod().mu, MILESMethod().split) == (0.2, 0.5, "val")


@pytest.mark.parametrize(
    ("joint", "first", "second", "tau", "expected"),
    [
        pytest.param(1.0, 0.75, 0.5, 0.25, "neither", id="gap equal to tau is balance"),
        pytest.param(1.0, 0.75, 0.5, 0.2499, "first", id="gap above tau is not"),
        pytest.param(0.5, 0.75, 1.0, 0.1, "neither", id="both rates negative, whatever the gap"),
        pytest.param(0.5, 0.75, 0.25, 0.1, "first", id="first positive, second negative"),
        pytest.param(0.5, 0.25, 0.75, 0.1, "second", id="first negative, second positive"),
        pytest.param(1.0, 0.5, 0.75, 0.1, "second", id="both positive, second larger"),
        pytest.param(1.0, 0.75, 0.5, 0.1, "first", id="both positive, first larger"),
        pytest.param(0.5, 0.5, 0.25, 0.1, "first", id="first positive, second exactly zero"),
        pytest.param(0.5, 0.25, 0.5, 0.1, "second", id="first exactly zero, second positive"),
        pytest.param(0.5, 0.5, 0.75, 0.1, "second", id="first negative, second exactly zero"),
        pytest.param(0.5, 0.75, 0.5, 0.1, "first", id="first exactly zero, second negative"),
        pytest.param(0.5, 0.5, 0.5, 0.0, "neither", id="both exactly zero, tau zero"),
        pytest.param(1.0, 0.75, 0.75, 0.0, "neither", id="equal heads, tau zero"),
    ],
)
def test_every_branch_of_algorithm_1(joint, first, second, tau, expected):
    assert slower(joint, first, second, tau) == expected


def test_only_balance_restores_a_multiplier():
    rule = rule_after(SLOW_AUDIO, SLOW_IMAGE, SLOW_IMAGE, BALANCED, SLOW_IMAGE)
    assert multipliers_over_time(rule) == [(0.5, 1.0), (0.5, 0.5), (0.5, 0.5), (1.0, 1.0), (1.0, 0.5)]
    assert decisions(rule) == ["slow audio", "slow image", "slow image", "balanced", "slow image"]


def test_the_other_modality_is_restored_where_asked():
    rule = rule_after(SLOW_AUDIO, SLOW_IMAGE, SLOW_IMAGE, BALANCED, SLOW_AUDIO, restore_other=True)
    assert multipliers_over_time(rule) == [(0.5, 1.0), (1.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0)]


def test_both_rates_negative_restores_both():
    rule = rule_after(SLOW_AUDIO, SLOW_IMAGE, {"multimodal": 0.2, "audio": 0.9, "image": 0.5})
    assert rule.multipliers == {"audio": 1.0, "image": 1.0}
    assert rule.history[-1]["decision"] == "balanced"
    assert rule.history[-1]["gap"] > rule.tau


def test_multipliers_never_compound():
    assert multipliers_over_time(rule_after(*[SLOW_AUDIO] * 5, mu=0.25)) == [(0.25, 1.0)] * 5


def test_mu_one_disables_miles():
    rule = rule_after(SLOW_AUDIO, SLOW_IMAGE, mu=1)
    assert rule.multipliers == {"audio": 1.0, "image": 1.0}


def test_three_modalities_each_take_the_smallest_multiplier_of_their_pairs():
    # Pairs out of balance: (A, C) alone at tau = 0.3; (A, B) and (B, C) differ by 0.25.
    scores = {"multimodal": 0.8, "A": 0.6, "B": 0.4, "C": 0.2}
    rule = rule_after(scores, names=("A", "B", "C"), tau=0.3)
    assert rule.multipliers == {"A": 0.5, "B": 1.0, "C": 1.0}
    assert decisions(rule) == ["slow A"]
    rule = rule_after(scores, names=("A", "B", "C"), tau=0.2)
    assert rule.multipliers == {"A": 0.5, "B": 0.5, "C": 1.0}
    assert decisions(rule) == ["slow A, B"]


def test_a_modality_stays_slowed_as_long_as_one_of_its_pairs_holds_it_and_no_longer():
    three = {"multimodal": 1.0, "A": 0.9, "B": 0.5, "C": 0.4}
    a_and_b_close = {"multimodal": 1.0, "A": 0.6, "B": 0.5, "C": 0.3}
    all_close = {"multimodal": 1.0, "A": 0.6, "B": 0.5, "C": 0.5}
    rule = rule_after(three, a_and_b_close, all_close, names=("A", "B", "C"))
    assert multipliers_over_time(rule) == [(0.5, 1.0, 1.0), (0.5, 1.0, 1.0), (1.0, 1.0, 1.0)]
    # Multipliers are kept by pair: A stays slowed by (A, C), which is silent about (A, B).
    assert rule_after(three, a_and_b_close, names=("A", "B", "C")).state_dict()["pairs"] == [
        ["A", "B", 1.0, 1.0],
        ["A", "C", 0.5, 1.0],
        ["B", "C", 1.0, 1.0],
    ]


# --- the edge table, row by row


@pytest.mark.parametrize("s", [0.0, -0.0, -0.5])
def test_edge_no_signal_leaves_every_multiplier_as_it_is(s, optimizer):
    scheduler = MILES(optimizer)
    scheduler.step(SLOW_AUDIO)
    scheduler.step({**NO_SIGNAL, "multimodal": s})
    assert scheduler.multipliers == {"audio": 0.5, "image": 1.0}
    assert scheduler.get_last_lr() == [0.1, 0.05, 0.1]
    record = scheduler.history[-1]
    assert (record["decision"], record["gap"], record["utilization"]) == ("no signal", None, {"audio": None, "image": None})
    assert json.dumps(scheduler.history, allow_nan=False)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["multimodal", "audio", "image"])
def test_edge_a_score_that_is_no_finite_number_names_score_and_epoch_and_changes_nothing(value, name, optimizer):
    scheduler = MILES(optimizer, smoothing=0.5)
    scheduler.step(SLOW_AUDIO)
    before, rates = scheduler.state_dict(), scheduler.get_last_lr()
    with pytest.raises(InputError) as caught:
        scheduler.step({**SLOW_IMAGE, name: value})
    assert str(caught.value) == f"the score of {name!r} is {value} (epoch 2): every score must be a finite number"
    assert scheduler.state_dict() == before
    assert scheduler.get_last_lr() == rates == [0.1, 0.05, 0.1]


def test_edge_negative_heads_are_allowed_while_the_joint_score_is_positive():
    rule = rule_after({"multimodal": 0.4, "audio": -0.3, "image": 0.1})
    assert rule.multipliers == {"audio": 1.0, "image": 0.5}
    rule.step({"multimodal": -0.4, "audio": -0.3, "image": -0.9})
    assert rule.multipliers == {"audio": 1.0, "image": 0.5}
    assert decisions(rule) == ["slow image", "no signal"]


def test_edge_a_gap_above_one_is_as_any_gap_above_tau():
    rule = rule_after({"multimodal": 0.1, "audio": 0.5, "image": 0.05}, tau=1.0)
    assert rule.history[-1]["gap"] > 1.0
    assert rule.multipliers == {"audio": 0.5, "image": 1.0}


def test_edge_missing_and_unknown_modalities_are_named_with_the_known_ones(optimizer):
    scheduler = MILES(optimizer)
    scheduler.step(SLOW_AUDIO)
    before = scheduler.state_dict()
    with pytest.raises(InputError) as caught:
        scheduler.step({"multimodal": 0.9, "audio": 0.8})
    assert str(caught.value) == "no score for modality 'image' (epoch 2): give one for each of audio, image"
    with pytest.raises(InputError) as caught:
        scheduler.step({**SLOW_IMAGE, "depth": 0.8})
    assert str(caught.value) == "unknown modality 'depth' in the scores (epoch 2): known: audio, image"
    with pytest.raises(InputError, match="no score under the key 'multimodal'"):
        scheduler.step({"audio": 0.8, "image": 0.4})
    with pytest.raises(InputError, match="scores must be a mapping"):
        scheduler.step([0.9, 0.8, 0.4])
    assert scheduler.state_dict() == before


def test_edge_untagged_optimizers_are_refused_at_construction():
    with pytest.raises(InputError, match=r"^parameter group 0 of the optimizer has no 'modality' tag: build the groups with"):
        MILES(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1))


def test_edge_a_tag_without_a_score_is_an_error_at_the_step():
    scheduler = MILES(make_optimizer(("multimodal", "audio", "image", "text")))
    with pytest.raises(InputError, match=r"^no score for modality 'text'"):
        scheduler.step(SLOW_AUDIO)
    assert scheduler.history == []


# --- construction


@pytest.mark.parametrize("names", [("multimodal",), ("multimodal", "audio"), ("audio",), ("audio", "audio")])
def test_fewer_than_two_modalities_are_refused_and_leave_no_trace(names):
    optimizer = make_optimizer(names)
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(InputError, match=r"^MILES balances at least two modalities, got"):
        MILES(optimizer)
    assert optimizer.param_groups == before
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("thing", [None, nn.Linear(1, 1), [{"params": []}], "adam"])
def test_something_that_is_no_optimizer_is_refused(thing):
    with pytest.raises(
        InputError, match=r"is no torch\.optim\.Optimizer: pass the optimizer itself, not an engine or a wrapper without one$"
    ):
        MILES(thing)


def test_two_schedulers_on_one_optimizer_are_refused(optimizer):
    first = MILES(optimizer)
    first.step(SLOW_AUDIO)
    with pytest.raises(InputError) as caught:
        MILES(optimizer)
    assert str(caught.value) == "this optimizer's learning rates are already multiplied by modality: detach() the other scheduler first"
    assert first.get_last_lr() == [0.1, 0.05, 0.1]
    first.detach()
    assert MILES(optimizer).multipliers == {"audio": 1.0, "image": 1.0}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("tau", -0.01),
        ("tau", 1.01),
        ("tau", math.nan),
        ("mu", 0.0),
        ("mu", -0.5),
        ("mu", 1.01),
        ("mu", math.nan),
        ("every", 0),
        ("every", 1.5),
        ("start", -1),
        ("start", 0.5),
        ("smoothing", -0.1),
        ("smoothing", 1.0),
        ("smoothing", math.nan),
    ],
)
def test_options_out_of_range_are_named_with_their_value(option, value, optimizer):
    for make in (
        lambda: MILESRule(("audio", "image"), **{option: value}),
        lambda: MILES(optimizer, **{option: value}),
        lambda: MILESMethod(**{option: value}),
    ):
        with pytest.raises(InputError, match=f"^{option} = {value}: a .*is needed$"):
            make()
    assert not optimizer._optimizer_step_pre_hooks  # a refused scheduler is not left on the optimizer


@pytest.mark.parametrize(("tau", "mu"), [(0.0, 1.0), (1.0, 1e-6), (0, 1), (1, 1)])
def test_the_ends_of_the_ranges_are_allowed(tau, mu, optimizer):
    scheduler = MILES(optimizer, tau, mu)
    assert (scheduler.tau, scheduler.mu) == (tau, mu)


def test_repr_says_what_is_in_force(optimizer):
    scheduler = MILES(optimizer, tau=0.1)
    scheduler.step(SLOW_AUDIO)
    assert repr(scheduler) == "MILES(modalities=('audio', 'image'), tau=0.1, mu=0.5, multipliers={'audio': 0.5, 'image': 1.0})"


# --- every, start, smoothing


def test_every_n_epochs_the_rule_is_applied_and_multipliers_stay_in_between():
    rule = rule_after(SLOW_AUDIO, SLOW_AUDIO, SLOW_AUDIO, BALANCED, BALANCED, BALANCED, SLOW_IMAGE, every=3)
    assert decisions(rule) == ["waiting", "waiting", "slow audio", "waiting", "waiting", "balanced", "waiting"]
    assert multipliers_over_time(rule) == [(1.0, 1.0)] * 2 + [(0.5, 1.0)] * 3 + [(1.0, 1.0)] * 2


def test_the_first_epochs_are_left_alone():
    rule = rule_after(*[SLOW_AUDIO] * 4, start=2)
    assert decisions(rule) == ["waiting", "waiting", "slow audio", "slow audio"]
    assert multipliers_over_time(rule) == [(1.0, 1.0)] * 2 + [(0.5, 1.0)] * 2


def test_every_counts_from_the_end_of_start():
    rule = rule_after(*[SLOW_AUDIO] * 6, start=1, every=2)
    assert decisions(rule) == ["waiting", "waiting", "slow audio", "waiting", "slow audio", "waiting"]


def test_waiting_epochs_are_recorded_with_their_rates():
    (record,) = rule_after(GOLDEN, start=1).history
    assert record["gap"] == pytest.approx(2 / 7)
    assert record["scores"] == GOLDEN


def test_smoothing_is_an_exponential_moving_average_of_the_scores():
    rule = rule_after(SLOW_AUDIO, SLOW_IMAGE, smoothing=0.75)
    seen = {name: 0.75 * SLOW_AUDIO[name] + 0.25 * SLOW_IMAGE[name] for name in SLOW_AUDIO}
    assert rule.history[0]["smoothed"] == SLOW_AUDIO
    assert rule.history[1]["smoothed"] == pytest.approx(seen)
    assert rule.history[1]["scores"] == SLOW_IMAGE
    # The average still has audio ahead (0.7 to 0.5), the new scores alone would slow the image.
    assert decisions(rule) == ["slow audio", "slow audio"]
    assert rule.history[1]["gap"] == pytest.approx(0.2 / 0.9)
    third = {name: 0.75 * seen[name] + 0.25 * SLOW_IMAGE[name] for name in seen}
    rule.step(SLOW_IMAGE)
    assert rule.history[2]["smoothed"] == pytest.approx(third)


def test_without_smoothing_no_average_is_recorded():
    assert "smoothed" not in rule_after(SLOW_AUDIO).history[0]


# --- chance


def test_the_sampling_error_is_the_first_order_margin_of_the_largest_gap():
    scores = {"multimodal": 0.8, "A": 0.5, "B": 0.7, "C": 0.6}
    counts = {"multimodal": 400, "A": 100, "B": 200, "C": 50}
    gap = 0.2 / 0.8
    variance = 0.5 * 0.5 / 100 + 0.7 * 0.3 / 200 + gap**2 * 0.8 * 0.2 / 400
    assert sampling_error(scores, counts) == pytest.approx(1.96 * math.sqrt(variance) / 0.8)
    assert sampling_error(scores, 100) > sampling_error(scores, 10_000) * 9.99


def test_the_margin_covers_95_percent_of_simulated_gaps():
    generator = torch.Generator().manual_seed(0)
    truth = {"multimodal": 0.8, "A": 0.5, "B": 0.7}
    draws = {name: torch.rand(4000, 500, generator=generator).lt(score).double().mean(1) for name, score in truth.items()}
    gaps = (draws["B"] - draws["A"]) / draws["multimodal"]
    margin = sampling_error(truth, 500)
    covered = ((gaps - 0.25).abs() <= margin).double().mean().item()
    assert 0.935 < covered < 0.965


def test_a_gap_that_chance_decides_is_warned_of_once(optimizer):
    scheduler = MILES(optimizer, tau=0.25)
    with pytest.warns(
        UncertainGapWarning,
        match=r"^epoch 1: the utilization gap of audio and image lies within .* of tau = 0\.25 \(largest gap 0\.286 ± 0\.\d+\): chance",
    ):
        scheduler.step(GOLDEN, counts=100)
    assert scheduler.multipliers == {"audio": 0.5, "image": 1.0}  # the rule goes on as it would
    scheduler.step(GOLDEN, counts=100)  # a second warning would be an error here
    assert [record["margin"] for record in scheduler.history] == [sampling_error(GOLDEN, 100)] * 2


def test_where_warnings_are_errors_the_epoch_stands_all_the_same(optimizer):
    scheduler = MILES(optimizer, tau=0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UncertainGapWarning):
            scheduler.step(GOLDEN, counts=100)
    assert len(scheduler.history) == 1
    assert scheduler.multipliers == {"audio": 0.5, "image": 1.0}
    assert scheduler.get_last_lr() == [0.1, 0.05, 0.1]


def test_the_warning_points_to_the_callers_line(optimizer):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MILES(optimizer, tau=0.25).step(GOLDEN, counts=100)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_clear_gap_and_scores_without_counts_are_not_warned_of():
    rule = MILESRule(("audio", "image"), tau=0.05)
    rule.step(GOLDEN, counts=1_000_000)
    assert rule.history[0]["margin"] == pytest.approx(0.0019, abs=2e-4)
    rule.step(GOLDEN)
    assert "margin" not in rule.history[1]
    rule.step(NO_SIGNAL, counts=10)
    assert "margin" not in rule.history[2]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (0, "the sample count of 'multimodal' is 0: give a whole number of at least 1"),
        ({"multimodal": 10, "audio": 10}, "the sample count of 'image' is None: give a whole number of at least 1"),
    ],
)
def test_unusable_counts_change_nothing(counts, message):
    rule = rule_after(SLOW_AUDIO, smoothing=0.5)
    before = rule.state_dict()
    with pytest.raises(InputError) as caught:
        rule.step(SLOW_IMAGE, counts=counts)
    assert str(caught.value) == message
    assert rule.state_dict() == before


def test_scores_that_are_no_proportions_have_no_sampling_error():
    with pytest.raises(InputError, match=r"^the score of 'audio' is 80\.0: sampling errors are known for proportions between 0 and 1"):
        MILESRule(("audio", "image")).step({"multimodal": 0.9, "audio": 80.0, "image": 0.4}, counts=100)


# --- records


def test_the_history_says_what_happened(optimizer):
    optimizer.param_groups[2]["lr"] = 0.2
    scheduler = MILES(optimizer)
    scheduler.step(SLOW_AUDIO)
    assert scheduler.history == [
        {
            "epoch": 1,
            "scores": SLOW_AUDIO,
            "utilization": {"audio": (0.9 - 0.4) / 0.9, "image": (0.9 - 0.8) / 0.9},
            "gap": abs((0.9 - 0.4) / 0.9 - (0.9 - 0.8) / 0.9),
            "multipliers": {"audio": 0.5, "image": 1.0},
            "decision": "slow audio",
            "learning_rates": {"multimodal": 0.1, "audio": 0.05, "image": 0.2},
        }
    ]


def test_scores_may_be_tensors_and_the_history_stays_plain(optimizer):
    scheduler = MILES(optimizer)
    scheduler.step({name: torch.tensor(value, dtype=torch.float64) for name, value in SLOW_AUDIO.items()})
    assert scheduler.history[0]["scores"] == SLOW_AUDIO
    assert json.loads(json.dumps(scheduler.history)) == scheduler.history


# --- state


@pytest.mark.parametrize("options", [{}, {"every": 2, "start": 1}, {"smoothing": 0.5}, {"restore_other": True}])
def test_a_restored_rule_goes_on_as_if_never_stopped(options, tmp_path):
    trace = [SLOW_AUDIO, SLOW_IMAGE, GOLDEN, NO_SIGNAL, BALANCED, SLOW_IMAGE, SLOW_AUDIO]
    for stop in range(len(trace)):
        whole = MILES(make_optimizer(), **options)
        for scores in trace:
            whole.step(scores)
        first = MILES(make_optimizer(), **options)
        for scores in trace[:stop]:
            first.step(scores)
        torch.save(first.state_dict(), tmp_path / "state.pt")
        second = MILES(make_optimizer(), **options)
        second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert (second.multipliers, second.get_last_lr()) == (first.multipliers, first.get_last_lr())
        for scores in trace[stop:]:
            second.step(scores)
        assert second.state_dict() == whole.state_dict()
        assert second.get_last_lr() == whole.get_last_lr()


def test_the_state_is_plain_and_survives_json():
    rule = rule_after(SLOW_AUDIO, SLOW_IMAGE, NO_SIGNAL, smoothing=0.25)
    state = rule.state_dict()
    assert json.loads(json.dumps(state)) == state
    other = MILESRule(("audio", "image"), smoothing=0.25)
    other.load_state_dict(json.loads(json.dumps(state)))
    assert other.state_dict() == state


def test_a_state_is_a_snapshot():
    rule = rule_after(SLOW_AUDIO)
    state = rule.state_dict()
    rule.step(SLOW_IMAGE)
    assert len(state["history"]) == 1
    other = MILESRule(("audio", "image"))
    other.load_state_dict(state)
    other.step(SLOW_IMAGE)
    assert len(state["history"]) == 1
    assert other.state_dict() == rule.state_dict()


def test_hyper_parameters_are_the_constructors_and_not_the_states():
    rule = MILESRule(("audio", "image"), tau=0.9, mu=0.25)
    rule.load_state_dict(rule_after(SLOW_AUDIO).state_dict())
    assert (rule.tau, rule.mu) == (0.9, 0.25)
    assert rule.multipliers == {"audio": 0.5, "image": 1.0}  # those in force, until the rule next speaks
    rule.step(SLOW_AUDIO)
    assert rule.multipliers == {"audio": 1.0, "image": 1.0}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "this is no state of MILES: it has no 'modalities' (its keys: )"),
        ({"last_epoch": 3, "base_lrs": []}, "this is no state of MILES: it has no 'modalities' (its keys: last_epoch, base_lrs)"),
        (rule_after(names=("audio", "text")).state_dict(), "the state is of modalities audio, text, this scheduler of audio, image"),
        (rule_after(names=("image", "audio")).state_dict(), "the state is of modalities image, audio, this scheduler of audio, image"),
        (
            rule_after(names=("audio", "image", "text")).state_dict(),
            "the state is of modalities audio, image, text, this scheduler of audio, image",
        ),
    ],
)
def test_foreign_states_are_refused_and_change_nothing(state, message, optimizer):
    scheduler = MILES(optimizer)
    scheduler.step(SLOW_AUDIO)
    before = scheduler.state_dict()
    with pytest.raises(InputError) as caught:
        scheduler.load_state_dict(state)
    assert str(caught.value) == message
    assert scheduler.state_dict() == before
    assert scheduler.get_last_lr() == [0.1, 0.05, 0.1]


@pytest.mark.parametrize(
    "damage",
    [
        {"pairs": []},
        {"pairs": [["audio", "text", 1.0, 1.0]]},
        {"pairs": [["audio", "image", 1.0]]},
        {"pairs": [["audio", "image", 1.0, "fast"]]},
        {"pairs": [["audio", "image", 1.0, math.nan]]},
        {"pairs": None},
        {"smoothed": {"audio": 0.5}},
        {"smoothed": 3},
        {"history": [3]},
        {"modalities": None},
    ],
    ids=str,
)
def test_damaged_states_are_refused_and_change_nothing(damage, optimizer):
    scheduler = MILES(optimizer)
    scheduler.step(SLOW_AUDIO)
    before = scheduler.state_dict()
    with pytest.raises(InputError, match="state"):
        scheduler.load_state_dict({**rule_after(SLOW_IMAGE).state_dict(), **damage})
    assert scheduler.state_dict() == before
    assert scheduler.get_last_lr() == [0.1, 0.05, 0.1]


# --- the method of that name


def context(**scores):
    return EpochContext(1, scores=scores)


@pytest.mark.parametrize(("split", "expected"), [("val", {"audio": 1.0, "image": 0.5}), ("train", {"audio": 0.5, "image": 1.0})])
def test_the_method_applies_the_rule_to_the_scores_of_its_split(split, expected, optimizer):
    method = methods.get("miles")(split=split)
    method.attach(optimizer)
    method.epoch_end(context(train=SLOW_AUDIO, val=SLOW_IMAGE))
    assert method.multipliers() == expected
    assert method.scheduler.history[-1]["decision"] == f"slow {min(expected, key=expected.get)}"
    other = MILESMethod(split=split)
    other.attach(make_optimizer())
    other.load_state_dict(method.state_dict())
    assert other.multipliers() == expected
    method.detach()
    assert not optimizer._optimizer_step_pre_hooks


def test_the_method_hands_every_option_to_its_scheduler(optimizer):
    options = {"tau": 0.1, "mu": 0.3, "restore_other": True, "every": 2, "start": 3, "smoothing": 0.4}
    method = MILESMethod(**options)
    method.attach(optimizer)
    rule = method.scheduler._rule
    assert {name: getattr(rule, name) for name in options} == options
    assert pickle.loads(pickle.dumps(MILESMethod(**options))) == MILESMethod(**options)


def test_the_method_refuses_other_splits_and_use_before_attach():
    with pytest.raises(InputError, match=r"^split = 'test': 'val' or 'train' is needed$"):
        MILESMethod(split="test")
    with pytest.raises(InputError, match=r"^the method has no optimizer yet: call attach\(optimizer\) first$"):
        MILESMethod().multipliers()
    MILESMethod().detach()


def test_a_pair_that_chance_decides_is_named_even_where_another_gap_is_wider():
    rule = MILESRule(("a", "b", "c"), tau=0.2)
    rule.step({"multimodal": 0.8, "a": 0.8, "b": 0.3, "c": 0.62}, counts=300)
    assert rule.history[0]["uncertain"] == [["a", "c"]]


def test_nothing_is_uncertain_while_the_rule_waits():
    rule = MILESRule(("audio", "image"), tau=0.25, start=1)
    rule.step(GOLDEN, counts=100)
    rule.step(GOLDEN, counts=100)
    assert [record["uncertain"] for record in rule.history] == [[], [["audio", "image"]]]


def test_a_score_of_zero_changes_nothing_under_smoothing_either():
    rule = rule_after(SLOW_AUDIO, BALANCED, smoothing=0.5)
    held = rule.multipliers
    rule.step({"multimodal": 0.0, "audio": 0.9, "image": 0.0})
    assert rule.history[-1]["decision"] == "no signal"
    assert rule.multipliers == held


@pytest.mark.parametrize("score", [None, "x", [0.1, 0.2]])
def test_a_score_that_is_no_number_is_named(optimizer, score):
    with pytest.raises(InputError, match=r"the score of 'audio' is .* \(epoch 1\): a number is needed"):
        MILES(optimizer).step({"multimodal": 0.9, "audio": score, "image": 0.4})


@pytest.mark.parametrize("options", [{"tau": "0.2"}, {"mu": True}, {"every": True}, {"smoothing": None}])
def test_a_mistyped_hyper_parameter_leaves_the_optimizer_free(optimizer, options):
    with pytest.raises(InputError, match=next(iter(options))):
        MILES(optimizer, **options)
    MILES(optimizer)


def test_scores_that_are_never_positive_are_remarked_on_once(optimizer):
    scheduler = MILES(optimizer)
    minus_loss = {"multimodal": -0.5, **dict.fromkeys(scheduler.modalities, -0.7)}
    for _ in range(SILENT_EPOCHS - 1):
        scheduler.step(minus_loss)
    with pytest.warns(NoSignalWarning, match=r"was -0.5 or so in all of the first 5 epochs, .* give scores that are larger"):
        scheduler.step(minus_loss)
    scheduler.step(minus_loss)  # says nothing more, or -W error would raise


def test_a_prefix_before_the_names_is_pointed_out(optimizer):
    with pytest.raises(InputError, match=r"^no score under .*: call 'val_multimodal' so, and the others by "):
        MILES(optimizer).step({"val_multimodal": 0.5, "val_audio": 0.4})


def test_an_optimizer_that_cannot_be_slowed_is_refused():
    optimizer = torch.optim.Rprop([{"params": [nn.Parameter(torch.zeros(1))], "modality": name} for name in ("audio", "image")])
    with pytest.raises(InputError, match=r"^Rprop reads its learning rate at the first step only and cannot be slowed: use another"):
        MILES(optimizer)
