"""Quantities of models whose truth is known by construction."""

from __future__ import annotations

import pytest

from diagnose.truths import TRUTHS
from equimodal import diagnose
from equimodal.diagnose.record import Diagnosis
from equimodal.scores import MULTIMODAL

KINDS = ("zero", "mean", "permutation")


@pytest.fixture(scope="module")
def of():
    made = {}

    def diagnosis(name: str) -> Diagnosis:
        if name not in made:
            truth = TRUTHS[name]()
            made[name] = diagnose(truth.model, truth.test, train=truth.train, resamples=300)
        return made[name]

    return diagnosis


def holds(interval, value):
    return interval.low <= value <= interval.high


@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_shapley_values_add_up_to_the_gain_over_nothing(of, name, kind):
    parts = of(name).shapley[kind]
    assert sum(value.value for value in parts.values.values()) == pytest.approx(parts.full.value - parts.empty.value, abs=1e-12)
    assert parts.full.value == of(name).heads[MULTIMODAL].value


@pytest.mark.parametrize("name", TRUTHS)
def test_nothing_is_skipped_but_what_was_not_asked_for(of, name):
    assert set(of(name).skipped) <= {"gradients", "robustness.noise", "curves", "findings", "update_size"}


@pytest.mark.parametrize("name", TRUTHS)
def test_it_survives_json(of, name):
    assert Diagnosis.from_json(of(name).to_json()) == of(name)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_worth_nothing_however_it_is_left_out(of, kind):
    found = of("noise")
    assert abs(found.ablations[kind]["image"].loss.value) < 0.02
    assert abs(found.shapley[kind].values["image"].value) < 0.02
    assert found.shapley[kind].values["audio"].value > 0.7
    assert abs(found.shapley[kind].interactions["audio × image"].value) < 0.04


def test_noise_has_a_probe_at_chance(of):
    found = of("noise")
    assert holds(found.probes["image"], 0.25)
    assert found.probes["audio"].value > 0.95
    assert found.utilization["audio"].low > 0.5 > found.utilization["image"].high


@pytest.mark.parametrize("kind", KINDS)
def test_an_exclusive_or_has_its_interaction(of, kind):
    parts = of("exclusive_or").shapley[kind]
    assert parts.interactions["audio × image"].low > 0.35
    assert abs(parts.values["audio"].value - 0.25) < 0.06
    assert abs(parts.values["image"].value - 0.25) < 0.06
    assert all(ablation.loss.low > 0.35 for ablation in of("exclusive_or").ablations[kind].values())


def test_an_exclusive_or_cannot_be_told_from_one_modality(of):
    found = of("exclusive_or")
    assert found.heads[MULTIMODAL].value > 0.98
    assert all(abs(found.probes[name].value - 0.5) < 0.07 for name in ("audio", "image"))
    assert found.valuation["both needed"].value > 0.2


def test_a_copy_is_not_missed(of):
    found = of("copied")
    for kind in ("zero", "mean"):
        assert all(abs(ablation.loss.value) < 0.02 for ablation in found.ablations[kind].values())
        # Each is worth as much as the other, and two together no more than one.
        assert abs(found.shapley[kind].values["audio"].value - found.shapley[kind].values["image"].value) < 0.02
        assert found.shapley[kind].interactions["audio × image"].high < -0.5
    # By permutation a copy contradicts its original: the choice of ablation matters.
    assert all(ablation.loss.low > 0.2 for ablation in found.ablations["permutation"].values())
    assert found.gap.low == 0.0
    assert found.agreement["audio & image"].value > 0.95


def test_a_modality_that_was_never_connected_is_worth_nothing_and_could_help(of):
    found = of("frozen")
    for kind in KINDS:
        assert found.ablations[kind]["image"].loss == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
        assert found.shapley[kind].values["image"].value == pytest.approx(0.0, abs=1e-12)
    assert found.probes["image"].low > 0.45
    assert found.probes[MULTIMODAL].value > found.heads[MULTIMODAL].value + 0.04
    assert found.encoders["image"].trainable == 0 < found.encoders["image"].parameters


def test_two_equal_views_are_used_alike(of):
    found = of("balanced")
    assert found.gap.low == 0.0
    assert found.gap.value < 0.1
    for kind in KINDS:
        values = found.shapley[kind].values
        assert min(values["audio"].low, values["image"].low) > 0.15
        assert abs(values["audio"].value - values["image"].value) < 0.1
        assert all(ablation.loss.low > 0.08 for ablation in found.ablations[kind].values())


def test_what_was_learnt_by_heart_shows_between_the_splits(of):
    found = of("overfitted")
    assert found.generalisation["image"].value > 0.6
    assert found.generalisation[MULTIMODAL].value > 0.4
    assert found.generalisation["image"].value > found.generalisation["audio"].value + 0.2
    assert of("noise").generalisation[MULTIMODAL].value < 0.05
    assert found.ablations["mean"]["image"].loss.high < 0.0
