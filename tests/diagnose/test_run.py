"""One call: what it leaves as it was, what it refuses in one line, and what it goes on without."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.utils.data import DataLoader

import equimodal
from diagnose import subjects
from diagnose.truths import TRUTHS
from equimodal import diagnose
from equimodal.data import TensorSet
from equimodal.diagnose import asking
from equimodal.errors import InputError
from equimodal.nn import MLP, JointFusion
from equimodal.scores import MULTIMODAL
from equimodal.testing import tiny_problem

NAMES = ("audio", "image")


@pytest.fixture(scope="module")
def truth():
    return TRUTHS["balanced"]()


@pytest.fixture(scope="module")
def found(truth):
    return diagnose(truth.model, truth.test, train=truth.train, resamples=50)


def without_cost(diagnosis):
    return dataclasses.replace(diagnosis, cost={})


def test_the_heads_are_those_of_an_evaluation(truth, found):
    with torch.no_grad():
        prediction = truth.model(truth.test.inputs)
    for head, logits in {MULTIMODAL: prediction.multimodal, **prediction.unimodal}.items():
        assert found.heads[head].value == pytest.approx(float((logits.argmax(dim=1) == truth.test.targets).double().mean()), abs=1e-12)
    scores = {head: interval.value for head, interval in found.heads.items()}
    assert {name: rate.value for name, rate in found.utilization.items()} == equimodal.conditional_utilization(scores)
    assert found.gap.value == equimodal.utilization_gap(scores)


def test_the_same_call_gives_the_same_and_leaves_everything_as_it_was(truth, found):
    truth.model.train()
    state = {name: value.clone() for name, value in truth.model.state_dict().items()}
    random = torch.random.get_rng_state()
    again = diagnose(truth.model, truth.test, train=truth.train, resamples=50)
    assert without_cost(again) == without_cost(found)
    assert truth.model.training
    truth.model.eval()
    assert all(torch.equal(value, truth.model.state_dict()[name]) for name, value in state.items())
    assert torch.equal(random, torch.random.get_rng_state())


def test_batches_do_not_matter(truth, found):
    smaller = diagnose(truth.model, truth.test, train=truth.train, resamples=50, batch_size=77)
    for quantity in ("heads", "shapley", "ablations", "valuation", "disagreements"):
        assert getattr(smaller, quantity) == getattr(found, quantity)


def test_a_loader_and_a_dataset_give_the_same(truth, found):
    samples = [({name: truth.test.inputs[name][row] for name in NAMES}, truth.test.targets[row]) for row in range(600)]
    loader = DataLoader(samples, batch_size=128)
    for model in (truth.model, subjects.probed(truth.model)):
        other = diagnose(model, loader, train=truth.train, resamples=50)
        assert other.shapley == found.shapley


def test_a_loader_that_shuffles_is_refused_where_data_are_read_twice(truth):
    samples = [({name: truth.test.inputs[name][row] for name in NAMES}, truth.test.targets[row]) for row in range(100)]
    with pytest.raises(InputError, match="the data come in another order when they are read again"):
        diagnose(subjects.probed(truth.model), DataLoader(samples, batch_size=50, shuffle=True), resamples=0)


def test_noise_of_data_that_come_in_another_order_is_left_out(truth):
    samples = [({name: truth.test.inputs[name][row] for name in NAMES}, truth.test.targets[row]) for row in range(100)]
    random = torch.random.get_rng_state()
    shuffled = diagnose(truth.model, DataLoader(samples, batch_size=50, shuffle=True), resamples=0, robustness=True)
    assert {point.kind for point in shuffled.robustness} == {"missing"}
    assert "in another order" in shuffled.skipped["robustness.noise"]
    assert torch.equal(random, torch.random.get_rng_state())


def test_the_data_cannot_be_their_own_train_split(truth):
    with pytest.raises(InputError, match=r"^train is the same object as data"):
        diagnose(truth.model, truth.test, train=truth.test)


def test_a_method_is_asked_in_evaluation_mode(truth):
    asked = []

    class Model(torch.nn.Module):
        def answer(self, inputs):
            asked.append(self.training)
            return truth.model(inputs).multimodal

    model = Model().train()
    diagnose(model.answer, truth.test, resamples=0)
    assert set(asked) == {False}
    assert model.training


def test_samples_that_lack_a_modality_are_counted_and_left_out(truth, found):
    first = truth.test.subset(torch.arange(100))
    lacking = torch.arange(100) % 4 == 0
    inputs = {"audio": first.inputs["audio"], "image": torch.where(lacking[:, None], float("nan"), first.inputs["image"])}
    holes = TensorSet(inputs, first.targets, present={"image": ~lacking})
    some = diagnose(truth.model, holes, resamples=20)
    whole = diagnose(truth.model, first.subset((~lacking).nonzero().squeeze(1)), resamples=20)
    assert (some.samples, some.incomplete) == (75, 25)
    assert some.shapley == whole.shapley
    assert found.incomplete == 0
    numbers = {sample.index for sample in some.disagreements}
    assert numbers
    assert not numbers & set(lacking.nonzero().squeeze(1).tolist())


def test_more_than_six_modalities_are_sampled():
    problem = tiny_problem(7)
    many = diagnose(problem.model, problem.val, resamples=5)
    for parts in many.shapley.values():
        assert not parts.exact
        assert sum(value.value for value in parts.values.values()) == pytest.approx(parts.full.value - parts.empty.value, abs=1e-12)
    assert "7 modalities have too many subsets" in many.skipped["valuation"]
    assert list(many.ablations["mean"]) == list(many.modalities)


def test_three_modalities():
    problem = tiny_problem(3)
    three = diagnose(problem.model, problem.val, resamples=5)
    assert list(three.shapley["mean"].interactions) == ["audio × image", "audio × text", "image × text"]
    assert set(three.skipped) <= {"gradients", "robustness.noise", "curves", "findings", "generalisation", "update_size"}


def test_regression_keeps_what_makes_sense():
    generator = torch.Generator().manual_seed(0)
    inputs = {"audio": torch.randn(60, 4, generator=generator), "image": torch.randn(60, 4, generator=generator)}
    data = TensorSet(inputs, inputs["audio"][:, :1] + 0.1 * inputs["image"][:, :1])
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = JointFusion({name: MLP(4, hidden=(32,), out_features=16) for name in NAMES}, 1)
    found = diagnose(model, data, task="regression", resamples=5)
    assert found.metric == "r2"
    assert found.chance is None
    assert found.probes["audio"].value > 0.5 > 0.2 > found.probes["image"].value
    assert {"valuation", "calibration", "agreement", "disagreements"} <= found.skipped.keys()


def test_one_quantity_that_fails_does_not_take_the_others_with_it(truth, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr(asking, "fit_probe", broken)
    partial = diagnose(truth.model, truth.test, resamples=5)
    assert partial.skipped["probes"] == "ZeroDivisionError: oh"
    assert partial.probes == {}
    assert partial.shapley
    assert partial.calibration


def test_gradients_and_noise_on_request(truth):
    asked = diagnose(truth.model, truth.test, train=truth.train, resamples=5, gradients=True, robustness=True)
    assert not {"gradients", "robustness", "robustness.noise"} & asked.skipped.keys()
    assert all(encoder.gradient_norm.value > 0 and encoder.relative_gradient.value > 0 for encoder in asked.encoders.values())
    assert {point.kind for point in asked.robustness} == {"missing", "noise"}
    assert asked.cost["encoder_passes"] > 1


def subset_of(data, rows):
    return data.subset(torch.as_tensor(rows))


def test_data_that_lack_a_modality(truth):
    alone = TensorSet({"audio": truth.test.inputs["audio"]}, truth.test.targets)
    with pytest.raises(InputError, match=r"^the val split lacks 'image', which the model sees \(it has audio\)"):
        diagnose(truth.model, alone, split="val")


def test_data_without_a_complete_sample(truth):
    masks = {"audio": torch.arange(600) % 2 == 0, "image": torch.arange(600) % 2 == 1}
    with pytest.raises(InputError, match=r"^none of the 600 samples of the given split has every modality"):
        diagnose(truth.model, TensorSet(truth.test.inputs, truth.test.targets, present=masks))


def test_one_class_alone(truth):
    with pytest.raises(InputError, match=r"have the class 2 alone"):
        diagnose(truth.model, subset_of(truth.test, (truth.test.targets == 2).nonzero().squeeze(1)))


def test_one_class_alone_where_classes_are_ordered():
    model = JointFusion({name: MLP(3) for name in NAMES}, num_outputs=3)
    data = TensorSet({name: torch.randn(20, 3) for name in NAMES}, torch.ones(20, dtype=torch.long))
    with pytest.raises(InputError, match="have the class 1 alone"):
        diagnose(model, data, task="ordinal")


def test_curves_of_another_metric_are_left_out(tmp_path):
    problem = tiny_problem()
    equimodal.fit(problem.model, problem.train, problem.val, epochs=1, device="cpu", out=tmp_path / "run")
    other = diagnose(problem.model, problem.val, metric="macro_f1", resamples=0, run=tmp_path / "run")
    assert other.curves is None
    assert "recorded accuracy, which does not go with macro_f1" in other.skipped["curves"]
    assert diagnose(problem.model, problem.val, resamples=0, run=tmp_path / "run").curves is not None


def test_fewer_samples_than_classes_leave_what_can_be_found(truth):
    few = diagnose(truth.model, subset_of(truth.test, [0, 1, 2]), resamples=5)
    assert few.samples == 3
    assert few.heads.keys() == {"multimodal", *NAMES}
    assert few.ablations.keys() == {"zero", "mean", "permutation"}
    assert few.donors == 2
    assert few.skipped["samples"].startswith("3 samples are fewer than the 4 classes")


def test_a_model_that_gives_nan_for_whole_samples(truth):
    broken = TensorSet({**truth.test.inputs, "image": truth.test.inputs["image"].clone()}, truth.test.targets)
    broken.inputs["image"][17] = float("nan")
    with pytest.raises(InputError, match=r"^the joint logits of sample 17 of the given split are NaN or infinite"):
        diagnose(truth.model, broken)


def test_a_model_of_one_modality(truth):
    with pytest.raises(InputError, match=r"^this model sees 'audio' alone"):
        diagnose(truth.model.only("audio"), truth.test)


@pytest.mark.parametrize("model", ["runs/miles", None, 3])
def test_no_model(model, truth):
    with pytest.raises(InputError, match=r"a torch module or a function is needed"):
        diagnose(model, truth.test)


def test_a_model_that_cannot_be_called(truth):
    with pytest.raises(InputError, match=r"^Linear cannot be called with the data: TypeError: ") as refusal:
        diagnose(torch.nn.Linear(2, 2), truth.test)
    assert "\n" not in str(refusal.value)


def test_a_model_that_returns_something_else(truth):
    with pytest.raises(InputError, match=r"a Prediction, or logits \[batch, outputs\], is needed"):
        diagnose(lambda inputs: "cat", truth.test)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resamples": -1}, "resamples = -1"),
        ({"level": 2.0}, "level = 2.0"),
        ({"permutations": 0}, "permutations = 0"),
        ({"cache_limit": -5}, "cache_limit = -5"),
        ({"metric": "accurracy"}, "did you mean 'accuracy'"),
        ({"task": "single"}, "unknown task 'single'"),
        ({"modalities": "audio"}, "modalities = 'audio': a list of names is needed"),
        ({"modalities": ["audio", "audio"]}, r"modalities = \['audio', 'audio'\]: every name once is needed"),
        ({"seed": "a"}, "seed = 'a': a whole number"),
        ({"batch_size": 0}, "batch_size = 0: a whole number of at least 1"),
        ({"device": "tpu9"}, "device 'tpu9' cannot be used"),
        ({"task": "regression"}, "regression needs floating-point numbers"),
    ],
)
def test_settings_that_cannot_be(options, said, truth):
    with pytest.raises(InputError, match=said) as refusal:
        diagnose(truth.model, truth.test, **options)
    assert "\n" not in str(refusal.value)


def test_several_processes_are_refused(truth, monkeypatch):
    monkeypatch.setattr("equimodal.processes.world_size", lambda: 2)
    with pytest.raises(InputError, match="a diagnosis needs all samples in one process, and there are 2"):
        diagnose(truth.model, truth.test)


def test_a_folder_without_a_run_is_noted(truth, tmp_path):
    noted = diagnose(truth.model, truth.test, resamples=0, run=tmp_path)
    assert "no run in" in noted.skipped["curves"]
    assert noted.curves is None


def test_the_name_is_the_function_and_the_package():
    import equimodal.diagnose.record as record
    from equimodal.diagnose import diagnose as function

    assert callable(equimodal.diagnose)
    assert callable(function)
    assert record.Diagnosis.__module__ == "equimodal.diagnose.record"


def test_data_of_one_modality_for_a_model_that_does_not_say_which_it_has(truth):
    alone = TensorSet({"audio": truth.test.inputs["audio"]}, truth.test.targets)
    with pytest.raises(InputError, match=r"^the data hold 'audio' alone: a diagnosis compares modalities; give data with two or more$"):
        diagnose(lambda inputs: truth.model.only("audio")(inputs).multimodal, alone)


@pytest.mark.parametrize("model", ["known", "function"])
def test_classes_that_the_model_has_no_output_for(truth, model):
    counted_from_one = TensorSet(truth.test.inputs, truth.test.targets + 1)
    asked = truth.model if model == "known" else lambda inputs: truth.model(inputs).multimodal
    said = r"^the val split has the class number 4: numbers from 0 to 3 are needed"
    with pytest.raises(InputError, match=said if model == "known" else f"{said}; the model has 4 outputs$"):
        diagnose(asked, counted_from_one, split="val")
    with pytest.raises(InputError, match=r"^the train split has the class number 4"):
        diagnose(asked, truth.test, train=TensorSet(truth.train.inputs, truth.train.targets + 1), split="val")


def test_targets_of_other_tasks_that_the_model_has_no_output_for(truth):
    def three(inputs):
        return truth.model(inputs).multimodal[:, :3]

    inputs, targets = truth.test.inputs, truth.test.targets
    assert diagnose(three, truth.test, task="ordinal", resamples=0).heads  # four classes have three steps between them
    with pytest.raises(InputError, match=r"has the class number 4: numbers from 0 to 3 .*; the model has 3 outputs$"):
        diagnose(three, TensorSet(inputs, targets + 1), task="ordinal")
    with pytest.raises(InputError, match=r"multilabel needs \[samples, 3\] .*; the model has 3 outputs$"):
        diagnose(three, TensorSet(inputs, torch.nn.functional.one_hot(targets, 5)), task="multilabel")
