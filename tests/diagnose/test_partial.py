"""Numbers that are NaN in one place: what does not need them is there, and a line says what is not."""

from __future__ import annotations

import pytest

from diagnose import subjects
from diagnose.truths import TRUTHS
from equimodal import diagnose
from equimodal.data import TensorSet
from equimodal.errors import InputError
from equimodal.nn import Prediction

NAMES = ("audio", "image")
MARKED = 17


@pytest.fixture(scope="module")
def truth():
    return TRUTHS["balanced"]()


@pytest.fixture(scope="module")
def whole(truth):
    return diagnose(subjects.Fusing(truth.model), truth.test, train=truth.train, resamples=50)


class Marked(subjects.Fusing):
    """Gives NaN in one place for samples whose image is marked."""

    def __init__(self, model, place):
        super().__init__(model)
        self.place = place

    def forward(self, inputs):
        marked = inputs["image"][:, 0] > 50
        found = self.inner({**inputs, "image": inputs["image"].clamp(max=50)})
        heads, features = dict(found.unimodal), dict(found.features)
        joint = found.multimodal
        if self.place == "head":
            heads["audio"] = heads["audio"].masked_fill(marked[:, None], float("nan"))
        elif self.place == "feature":
            features["audio"] = features["audio"].masked_fill(marked[:, None], float("nan"))
            joint = self.fuse(features)
        else:
            joint = joint.masked_fill(marked[:, None], float("inf"))
        return Prediction(joint, heads, features)

    def fuse(self, features):
        return self.inner.fuse({name: feature.nan_to_num() for name, feature in features.items()})


def marked(data, sample=MARKED):
    image = data.inputs["image"].clone()
    image[sample, 0] = 100.0
    return TensorSet({**data.inputs, "image": image}, data.targets)


def test_a_head_that_gives_nan_is_left_out(truth, whole):
    found = diagnose(Marked(truth.model, "head"), marked(truth.test), train=truth.train, resamples=50, batch_size=10)
    why = "the logits of the head 'audio' of sample 17 of the given split are NaN or infinite: the head is left out"
    assert found.skipped["heads.audio"] == why
    assert found.skipped["utilization"] == why
    assert list(found.heads) == list(found.calibration) == ["multimodal", "image"]
    assert list(found.agreement) == ["multimodal & image"]
    assert list(found.generalisation) == ["multimodal", "image"]
    assert (found.utilization, found.gap) == ({}, None)
    for kind in whole.ablations:
        assert set(found.ablations[kind]) == set(NAMES)
    assert set(found.skipped) - set(whole.skipped) == {"heads.audio", "utilization", "gap"}
    assert found.probes.keys() == whole.probes.keys()
    assert found.findings


def test_features_that_are_nan_have_no_probe_and_the_others_do(truth, whole):
    found = diagnose(Marked(truth.model, "feature"), marked(truth.test), resamples=50)
    assert list(found.probes) == ["image"]
    why = "the features of 'audio' are NaN or infinite in 1 of 600 samples: no probe can be fitted"
    assert found.skipped["probes.audio"] == found.skipped["probes.multimodal"] == why
    assert found.heads.keys() == whole.heads.keys()
    assert list(found.ablations["permutation"]) == list(found.ablations["zero"]) == list(NAMES)
    assert found.encoders["audio"].feature_norm.value is None
    assert found.encoders["image"].feature_norm.value is not None


def test_joint_logits_that_are_nan_end_it(truth):
    with pytest.raises(InputError, match=r"^the joint logits of sample 17 of the given split are NaN or infinite"):
        diagnose(Marked(truth.model, "joint"), marked(truth.test), train=truth.train)


def test_a_train_split_with_nan_is_done_without(truth):
    model = Marked(truth.model, "joint")
    found = diagnose(model, truth.test, train=marked(truth.train), resamples=50, gradients=True)
    alone = diagnose(model, truth.test, resamples=50, gradients=True)
    line = "the joint logits of sample 17 of the train split are NaN or infinite: look for such numbers in its inputs or in the weights"
    assert found.skipped["train"] == f"{line}; probes and means are of the other samples instead"
    assert found.skipped["generalisation"] == found.skipped["train"]
    assert (found.mean_of, found.probes_fitted_on) == ("given", "cross-fitted")
    for quantity in ("heads", "probes", "ablations", "shapley", "encoders", "valuation"):
        assert getattr(found, quantity) == getattr(alone, quantity)


def test_a_head_that_gives_nan_on_the_train_split_is_left_out_there(truth, whole):
    found = diagnose(Marked(truth.model, "head"), truth.test, train=marked(truth.train), resamples=50)
    assert "the head 'audio' of sample 17 of the train split" in found.skipped["generalisation.audio"]
    assert list(found.generalisation) == ["multimodal", "image"]
    assert found.heads == whole.heads
    assert found.utilization == whole.utilization


def test_features_of_the_train_split_that_are_nan(truth, whole):
    found = diagnose(Marked(truth.model, "feature"), truth.test, train=marked(truth.train), resamples=50)
    assert list(found.probes) == ["image"]
    assert "the features of 'audio' are NaN or infinite in 1 of 600 samples" in found.skipped["probes.audio"]
    note = "the mean of 'audio' over the train split is NaN or infinite: that of the given samples stands in"
    assert found.skipped["ablations.mean.audio"] == note
    assert list(found.ablations["mean"]) == list(NAMES)
    expected = whole.ablations["mean"]["image"].score.value  # but for the marked sample, whose image counts
    assert found.ablations["mean"]["image"].score.value == pytest.approx(expected, abs=0.01)


def test_a_model_that_asks_for_what_is_not_there_is_told_how_to_ask(truth):
    def answer(inputs, modalities):
        return truth.model(inputs if len(inputs) == 2 else {"audio": inputs["audio"], "image": inputs["image"]}).multimodal

    found = diagnose(answer, truth.test, resamples=5)
    why = found.skipped["ablations.absent"]
    assert "KeyError: 'image': inputs hold only the modalities that are there: use inputs.get" in why
    assert found.heads
