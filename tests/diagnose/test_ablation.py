"""Ablations against what they are by definition, for every kind of model."""

from __future__ import annotations

import copy

import pytest
import torch

from diagnose import subjects
from diagnose.truths import TRUTHS
from equimodal import diagnose
from equimodal.data import TensorSet
from equimodal.diagnose.ablation import borrowed_means, donors_of
from equimodal.scores import MULTIMODAL

NAMES = ("audio", "image")


@pytest.fixture(scope="module")
def truth():
    return TRUTHS["balanced"]()


def accuracy(logits, targets):
    return float((logits.argmax(dim=1) == targets).double().mean())


def written_out(model, data, fill, replaced):
    """Score with the features of some modalities replaced by zeros or by the mean of another split."""
    with torch.no_grad():
        features, means = model.encode(data.inputs), {name: value.mean(dim=0) for name, value in model.encode(fill.inputs).items()}
        for name, kind in replaced.items():
            features[name] = torch.zeros_like(features[name]) if kind == "zero" else means[name].expand_as(features[name])
        return accuracy(model.fuse(features), data.targets)


@pytest.mark.parametrize("with_train", [False, True])
def test_zero_and_mean_of_features(truth, with_train):
    fill = truth.train if with_train else truth.test
    found = diagnose(truth.model, truth.test, train=truth.train if with_train else None, resamples=0, batch_size=100)
    assert found.ablated == "features"
    assert found.mean_of == ("train" if with_train else "given")
    for kind in ("zero", "mean"):
        for name in NAMES:
            expected = written_out(truth.model, truth.test, fill, {name: kind})
            assert found.ablations[kind][name].score.value == pytest.approx(expected, abs=1e-12)
            assert found.ablations[kind][name].loss.value == pytest.approx(found.heads[MULTIMODAL].value - expected, abs=1e-12)
        nothing = written_out(truth.model, truth.test, fill, dict.fromkeys(NAMES, kind))
        assert found.shapley[kind].empty.value == pytest.approx(nothing, abs=1e-12)


def test_permutation_averages_over_donors(truth):
    found = diagnose(truth.model, truth.test, resamples=0, permutations=3, seed=4)
    lenders = donors_of(600, 3, seed=4)
    with torch.no_grad():
        features = truth.model.encode(truth.test.inputs)
        targets = truth.test.targets
        scores = [accuracy(truth.model.fuse({**features, "image": features["image"][row]}), targets) for row in lenders]
        borrowed = [{name: feature[row] for name, feature in features.items()} for row in lenders]
        together = [accuracy(truth.model.fuse(features), targets) for features in borrowed]
    assert found.donors == 3
    assert found.ablations["permutation"]["image"].score.value == pytest.approx(sum(scores) / 3, abs=1e-12)
    assert found.shapley["permutation"].empty.value == pytest.approx(sum(together) / 3, abs=1e-12)


def test_nobody_borrows_from_itself_and_all_lend_alike():
    lenders = donors_of(50, 7, seed=2)
    assert lenders.shape == (7, 50)
    assert not (lenders == torch.arange(50)).any()
    assert (lenders.flatten().bincount() == 7).all()
    assert all(len(set(column.tolist())) == 7 for column in lenders.T)
    assert donors_of(3, 5, seed=0).shape == (2, 3)
    assert donors_of(1, 5, seed=0).shape == (0, 1)


def test_encoders_run_once_per_sample(truth):
    model = copy.deepcopy(truth.model)
    for name in NAMES:
        model.encoders[name] = subjects.Counted(model.encoders[name])
    found = diagnose(model, truth.test, resamples=10, batch_size=200)
    assert [model.encoders[name].samples for name in NAMES] == [600, 600]
    assert found.cost["encoder_passes"] == 1.0
    diagnose(subjects.Fusing(model), truth.test, resamples=10, batch_size=200)
    first_batch = 200  # which is tried once more, to see whether the features of a model of one's own lead to its logits
    assert [model.encoders[name].samples for name in NAMES] == [600 + 600 + first_batch] * 2


@pytest.mark.parametrize("make", [subjects.Fusing, subjects.probed])
def test_models_whose_features_can_be_replaced_give_the_same(truth, make):
    expected = diagnose(truth.model, truth.test, train=truth.train, resamples=20)
    found = diagnose(make(truth.model), truth.test, train=truth.train, resamples=20)
    assert found.ablated == "features"
    for quantity in ("ablations", "shapley", "heads", "gap", "utilization"):
        assert getattr(found, quantity) == getattr(expected, quantity)


@pytest.mark.parametrize("make", [subjects.LogitsAlone, subjects.PredictionAlone, subjects.FusingSomethingElse])
def test_other_models_are_asked_with_their_inputs_replaced(truth, make):
    found = diagnose(make(truth.model), truth.test, train=truth.train, resamples=0)
    assert found.ablated == "inputs"
    with torch.no_grad():
        inputs = truth.test.inputs
        image = inputs["image"]
        by_hand = {
            "zero": torch.zeros_like(image),
            "mean": truth.train.inputs["image"].mean(dim=0).expand_as(image),
        }
        for kind, other in by_hand.items():
            expected = accuracy(truth.model({**inputs, "image": other}).multimodal, truth.test.targets)
            assert found.ablations[kind]["image"].score.value == pytest.approx(expected, abs=1e-12)
        borrowed = [
            accuracy(truth.model({**inputs, "image": image[row]}).multimodal, truth.test.targets) for row in donors_of(600, 2, seed=0)
        ]
    assert found.ablations["permutation"]["image"].score.value == pytest.approx(sum(borrowed) / 2, abs=1e-12)
    assert found.donors == 2
    assert found.cost["encoder_passes"] == 1 + 3 * (1 + 1 + 2)  # three subsets lack something
    assert (found.utilization == {}) == (make is subjects.LogitsAlone)


def test_a_model_that_is_told_its_modalities(truth):
    found = diagnose(subjects.by_subset(truth.model), truth.test, resamples=0)
    assert found.ablated == "subsets"
    assert list(found.ablations) == list(found.shapley) == ["absent"]
    with torch.no_grad():
        alone = {name: accuracy(logits, truth.test.targets) for name, logits in truth.model(truth.test.inputs).unimodal.items()}
    assert {name: ablation.score.value for name, ablation in found.ablations["absent"].items()} == pytest.approx(
        {"audio": alone["image"], "image": alone["audio"]}
    )
    assert found.shapley["absent"].empty.value == found.chance


def test_what_exceeds_the_cache_is_the_same_from_disk(truth, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    for model in (truth.model, subjects.LogitsAlone(truth.model)):
        in_memory = diagnose(model, truth.test, train=truth.train, resamples=10)
        on_disk = diagnose(model, truth.test, train=truth.train, resamples=10, cache_limit=0)
        assert on_disk.shapley == in_memory.shapley
    assert list(tmp_path.iterdir()) == []


def test_what_is_borrowed_has_the_mean_of_all_pairs():
    lenders = donors_of(40, 5, seed=0)
    right = torch.rand(5, 40, generator=torch.Generator().manual_seed(0)) < 0.6
    assert float(borrowed_means(right, lenders).mean()) == pytest.approx(float(right.double().mean()), abs=1e-12)
    by_lender = (torch.arange(40) % 2 == 0)[lenders]  # right exactly when the lender's number is even
    each = borrowed_means(by_lender, lenders)
    assert each[::2].mean() > each[1::2].mean() + 0.6
    assert torch.equal(borrowed_means(right[:1], lenders[:1]), right[0].double())


class Tokens(torch.nn.Module):
    """Reads class numbers out of whole numbers, and a class signal out of real ones."""

    modalities = ("text", "audio")

    def forward(self, inputs):
        return torch.nn.functional.one_hot(inputs["text"][:, 0], 4) * 2.0 + inputs["audio"][:, :4]


def test_whole_numbers_have_no_zero_and_no_mean(truth):
    targets = truth.test.targets
    data = TensorSet({"text": targets.unsqueeze(1), "audio": truth.test.inputs["audio"]}, targets)
    found = diagnose(Tokens(), data, resamples=0)
    assert list(found.ablations) == list(found.shapley) == ["permutation"]
    assert found.skipped["ablations.zero"] == "the input of 'text' has whole numbers alone, of which zero says nothing"
    assert found.skipped["ablations.mean"] == "the input of 'text' has whole numbers alone, of which a mean says nothing"
    assert found.ablations["permutation"]["text"].loss.value > 0.1


class Fails(torch.nn.Module):
    """Gives NaN, or stops, for an image of zeros."""

    modalities = NAMES

    def __init__(self, model, how):
        super().__init__()
        self.inner, self.how = model, how

    def forward(self, inputs):
        if not inputs["image"].any() and self.how == "stops":
            raise RuntimeError("an empty image\nat layer 3")
        return self.inner(inputs).multimodal / (inputs["image"].abs().sum() > 0)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("gives NaN", "the model returns NaN or infinite logits without image"),
        ("stops", "the model cannot answer without image (RuntimeError: an empty image)"),
    ],
)
def test_a_model_that_fails_without_a_modality_keeps_the_rest(truth, how, said):
    found = diagnose(Fails(truth.model, how), truth.test, resamples=10)
    assert found.skipped["ablations.zero"] == said
    assert list(found.ablations["zero"]) == ["audio"]
    assert list(found.ablations["mean"]) == list(found.ablations["permutation"]) == ["audio", "image"]
    assert list(found.shapley) == ["mean", "permutation"]
