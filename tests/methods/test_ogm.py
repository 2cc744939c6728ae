"""OGM and OGM-GE in use: whose gradients they touch, and every way of training they must go along with."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional

from equimodal import InputError, fit
from equimodal.data import Batch, TensorSet
from equimodal.groups import ParameterRegistry
from equimodal.methods.base import EpochContext
from equimodal.methods.evidence import EVIDENCE
from equimodal.methods.ogm import OGM, OGMGE, coefficients
from equimodal.methods.vanilla import Vanilla
from equimodal.nn import MLP, JointFusion
from equimodal.tasks import multilabel_loss, regression_loss
from equimodal.testing import tiny_problem
from train.examples import Killed, assert_same_run, one_line, same, samples

from .models import Bilinear, Own, joint

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def start(method, model=None, train=None, val=None, *, epochs=3, dtype=torch.float64, **options):
    problem = tiny_problem(dtype=dtype)
    chosen = {"batch_size": 16, "seed": 3, "device": "cpu", "optimizer": SGD, **options}
    return fit(model or problem.model, train or problem.train, val or problem.val, epochs=epochs, method=method, **chosen)


class Watching(OGM):
    """Notes by what every encoder's gradient was multiplied."""

    def build(self, *arguments):
        self.seen = []
        return super().build(*arguments)

    def modulate(self, parameters):
        before = {name: [p.grad.clone() for p in parameters.of(name) if p.grad is not None] for name in parameters.modalities}
        super().modulate(parameters)
        found = {}
        for name, gradients in before.items():
            after = [p.grad for p in parameters.of(name) if p.grad is not None]
            top = max(range(len(gradients)), key=lambda index, gradients=gradients: gradients[index].abs().max(), default=None)
            if top is not None:
                place = gradients[top].abs().argmax()
                found[name] = float(after[top].flatten()[place] / gradients[top].flatten()[place])
        self.seen.append(found)


# --- whose gradients


@pytest.mark.parametrize("fusion", ["concat", "sum", "additive", "late"])
@pytest.mark.parametrize("modalities", [2, 3])
def test_the_encoders_that_are_ahead_get_smaller_gradients_and_nothing_else_changes(fusion, modalities):
    problem = tiny_problem(modalities, fusion=fusion, dtype=torch.float64)
    batch, method = problem.train[:20], OGM(alpha=0.5)
    model = method.build(problem.model)
    method.epoch_start(EpochContext(1))
    prediction = model(batch.inputs, transform=lambda features: method.transform(features, batch))
    method.combine(method.losses(prediction, batch)).backward()
    before = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    method.observe(prediction, batch)
    method.modulate(ParameterRegistry(model.modality_modules()))

    with torch.no_grad():
        parts = model.contributions(prediction.features)
        sure = {name: float(logits.softmax(dim=1)[torch.arange(20), batch.targets].sum()) for name, logits in parts.items()}
    expected = coefficients(sure, 0.5)
    assert min(expected.values()) < 1 == max(expected.values())
    for name, parameter in model.named_parameters():
        role, modality = name.split(".")[:2]
        factor = expected[modality] if role == "encoders" else 1.0
        torch.testing.assert_close(parameter.grad, factor * before[name], rtol=1e-12, atol=0)


def test_a_projection_to_a_common_size_belongs_to_the_encoder():
    torch.manual_seed(0)
    model = joint("sum", image=MLP(5, hidden=(8,), out_features=7)).double()
    seen = []

    class Looking(OGM):
        def _modulated(self, parameters, modality):
            seen.append(set(super()._modulated(parameters, modality)))
            return super()._modulated(parameters, modality)

    start(Looking(), model, epochs=1)
    assert set(model.encoders["image"].parameters()) in seen
    assert len(list(model.encoders["image"].parameters())) == 6


# --- ways of training


def test_another_kind_of_evidence_serves_a_fusion_that_cannot_be_sliced():
    for evidence in ("zeroed-feature", "zeroed-input", "head", "prototype"):
        method = Watching(evidence=evidence)
        start(method, joint(Bilinear()), dtype=torch.float32)
        assert min(factor for step in method.seen for factor in step.values()) < 1


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("method", [OGM, OGMGE])
def test_two_half_batches_are_one_batch(method, masks):
    data = tiny_problem(dtype=torch.float64).train
    lacking = torch.arange(48) % 5 == 0
    train = TensorSet(data.inputs, data.targets, {"image": ~lacking}) if masks else data
    whole, halves = (start(method(alpha=0.8), train=train, batch_size=16 // parts, accumulate=parts) for parts in (1, 2))
    # Where samples lack a modality, the probes' losses are means over other numbers of samples: only they may differ.
    for name, value in whole.model.state_dict().items():
        if not (masks and name.startswith("heads.")):
            torch.testing.assert_close(halves.model.state_dict()[name], value, rtol=1e-9, atol=1e-12)
    assert not same(whole.model.state_dict(), start(Vanilla(), train=train).model.state_dict())


def test_what_stands_in_the_rows_of_absent_modalities_is_not_looked_at():
    data = tiny_problem(dtype=torch.float64).train
    lacking = torch.arange(48) % 3 == 0
    runs = []
    for filling in (0.0, float("nan")):
        image = data.inputs["image"].clone()
        image[lacking] = filling
        method = Watching(alpha=0.8)
        runs.append((start(method, train=TensorSet({**data.inputs, "image": image}, data.targets, {"image": ~lacking})), method.seen))
    assert same(runs[0][0].model.state_dict(), runs[1][0].model.state_dict())
    assert runs[0][1] == runs[1][1]
    assert all(any(factor < 1 for factor in step.values()) for step in runs[0][1])


def step_with(batch, model, method=None):
    """Return the factors of one step in a loop of one's own."""
    method = method or Watching(alpha=0.8)
    model = method.build(model)
    method.epoch_start(EpochContext(1))
    prediction = model(batch.inputs, **({"present": batch.present} if batch.present else {}))
    functional.cross_entropy(prediction.multimodal, batch.targets).backward()
    method.observe(prediction, batch)
    method.modulate(ParameterRegistry(model.modality_modules()))
    return method.seen[-1]


def test_a_modality_that_no_sample_has_is_not_compared_with():
    problem = tiny_problem(3)
    batch = problem.train[:16]
    assert min(step_with(batch, problem.model).values()) < 1
    gone = Batch({name: value for name, value in batch.inputs.items() if name != "image"}, batch.targets)
    assert step_with(gone, tiny_problem(3).model) == {"audio": 1.0, "text": 1.0}
    masked = Batch(batch.inputs, batch.targets, {"image": torch.zeros(16, dtype=torch.bool)})
    assert set(step_with(masked, tiny_problem(3).model).values()) == {1.0}


def test_a_step_that_was_broken_off_does_not_reach_the_next_epoch():
    problem, method = tiny_problem(), Watching(alpha=0.8)
    model, expected = method.build(problem.model), step_with(problem.train[:16], tiny_problem().model)
    method.epoch_start(EpochContext(1))
    broken = Batch(problem.train[16:].inputs, (problem.train[16:].targets + 1) % 3)
    method.observe(model(broken.inputs), broken)
    method.epoch_start(EpochContext(2))
    batch = problem.train[:16]
    prediction = model(batch.inputs)
    functional.cross_entropy(prediction.multimodal, batch.targets).backward()
    method.observe(prediction, batch)
    method.modulate(ParameterRegistry(model))
    assert method.seen[-1] == expected


@pytest.mark.parametrize(("surer", "other"), [("audio", "image"), ("image", "audio")])
def test_scores_are_means_over_the_samples_that_have_the_modality(surer, other):
    """One is a little surer than the other; half of the samples lack audio, which is neither for it nor against it."""
    torch.manual_seed(0)
    model, inputs = joint("additive"), tiny_problem().train[:16].inputs
    with torch.no_grad():
        for linear in model.fusion.linears.values():
            linear.weight.mul_(1e-3)
            linear.bias.zero_()
        model.fusion.linears[surer].bias.copy_(torch.tensor([0.2, 0.0, 0.0]))
    found = step_with(Batch(inputs, torch.zeros(16, dtype=torch.long), {"audio": torch.arange(16) < 8}), model)
    assert found[surer] < 1 == found[other]


def test_under_autocast_scores_and_factors_have_the_full_precision():
    method = Watching(alpha=0.8)
    run = start(method, dtype=torch.float32, autocast=torch.bfloat16, epochs=4)
    factors = [factor for step in method.seen for factor in step.values()]
    assert min(factors) < 1
    assert all(0 <= factor <= 1 for factor in factors)
    plain = Watching(alpha=0.8)
    start(plain, dtype=torch.float32, epochs=4)
    assert list(method.seen[0].values()) == pytest.approx(list(plain.seen[0].values()), abs=0.01)
    assert run.history[-1]["losses"]["train"]["multimodal"] < run.history[0]["losses"]["train"]["multimodal"]


@pytest.mark.parametrize(("task", "loss"), [("multilabel", multilabel_loss), ("regression", regression_loss)])
def test_with_other_tasks_a_sample_counts_by_its_loss(task, loss):
    names = ("audio", "image")
    torch.manual_seed(0)
    model = JointFusion({name: MLP(6, hidden=(8,), out_features=5) for name in names}, 3)
    train, method = samples(50, 1, task, names), Watching(alpha=0.3)
    with torch.no_grad():
        parts = model.contributions(model.encode(train.inputs))
        expected = coefficients({name: float(torch.exp(-loss(logits, train.targets)).sum()) for name, logits in parts.items()}, 0.3)
    options = {"task": task, "optimizer": None, "batch_size": 50, "epochs": 9}
    run = start(method, model, train, samples(30, 2, task, names), **options)
    assert method.seen[0] == pytest.approx(expected, rel=1e-5)
    assert run.history[-1]["losses"]["train"]["multimodal"] < run.history[0]["losses"]["train"]["multimodal"]


@pytest.mark.parametrize("evidence", EVIDENCE)
def test_killed_and_continued_with_every_kind_of_evidence(tmp_path, evidence):
    def model():
        return tiny_problem(fusion="sum", dtype=torch.float64).model

    def kill(record):
        raise Killed

    start(OGMGE(evidence=evidence), model(), out=tmp_path / "whole")
    with pytest.raises(Killed):
        start(OGMGE(evidence=evidence), model(), out=tmp_path / "cut", on_epoch=kill)
    start(OGMGE(evidence=evidence), model(), out=tmp_path / "cut")
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


# --- a model of one's own


def test_a_model_of_ones_own_without_heads():
    torch.manual_seed(0)
    model = Own()
    method = Watching(alpha=0.8, heads="trained")
    with torch.no_grad():  # image alone knows
        model.of_audio.weight.mul_(1e-3)
        model.of_image.bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    batch = tiny_problem().train[:16]
    found = step_with(Batch(batch.inputs, torch.zeros(16, dtype=torch.long)), model, method)
    assert found["image"] < 1 == found["audio"]
    run = start(method, model, dtype=torch.float32, epochs=5)
    assert run.history[-1]["losses"]["train"]["multimodal"] < run.history[0]["losses"]["train"]["multimodal"]


def test_a_model_that_takes_no_transform_cannot_have_probes():
    with pytest.raises(InputError) as caught:
        start(OGM(), Own(), dtype=torch.float32)
    assert "forward needs an argument transform" in one_line(caught)
