"""The base of all methods: plain joint training, its losses, and the hooks in the order in which a step calls them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from equimodal.data import Batch
from equimodal.methods.base import EpochContext, Method
from equimodal.methods.joint import Joint
from equimodal.nn import Prediction
from equimodal.tasks import regression_loss
from equimodal.testing import tiny_problem
from equimodal.train import fit

from .own import Owner


@pytest.fixture
def problem():
    return tiny_problem(dtype=torch.float64)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name])


def test_joint_training_adds_the_losses_of_all_heads_and_their_gradients_reach_the_encoders(problem):
    method, batch = Joint(), problem.train[slice(0, 20)]
    model = method.build(problem.model)
    assert model is problem.model
    prediction = model(batch.inputs)
    losses = method.losses(prediction, batch)
    assert list(losses) == ["multimodal", "audio", "image"]
    by_hand = {name: functional.cross_entropy(logits, batch.targets) for name, logits in prediction.unimodal.items()}
    by_hand["multimodal"] = functional.cross_entropy(prediction.multimodal, batch.targets)
    for name, loss in by_hand.items():
        torch.testing.assert_close(losses[name], loss)
    total = method.combine(losses)
    torch.testing.assert_close(total, sum(by_hand.values()))

    found = gradients(model, total)
    alone = gradients(model, functional.cross_entropy(model(batch.inputs).multimodal, batch.targets))
    image = gradients(model, functional.cross_entropy(model(batch.inputs).unimodal["image"], batch.targets))
    assert any(name.startswith("encoders.image") and value.abs().sum() > 0 for name, value in image.items())
    for name, value in found.items():
        if name.startswith("encoders.image"):
            torch.testing.assert_close(value, alone[name] + image[name])


def test_a_head_learns_from_the_samples_that_have_its_modality():
    logits = {
        name: torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) for seed, name in enumerate(("joint", "image", "audio"))
    }
    targets, mask = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([True, False, True, True, False])
    none = torch.zeros(5, dtype=torch.bool)
    prediction = Prediction(logits["joint"], {"image": logits["image"], "audio": logits["audio"]})
    losses = Method().losses(prediction, Batch({}, targets, {"image": mask, "audio": none}))
    torch.testing.assert_close(losses["multimodal"], functional.cross_entropy(logits["joint"], targets))
    torch.testing.assert_close(losses["image"], functional.cross_entropy(logits["image"][mask], targets[mask]))
    assert losses["audio"] == 0.0


def test_a_modality_that_the_batch_lacks_has_no_loss():
    prediction = Prediction(torch.zeros(2, 3), {"image": torch.zeros(2, 3)})
    assert list(Method().losses(prediction, Batch({}, torch.tensor([0, 1])))) == ["multimodal", "image"]


def test_the_loss_is_that_of_the_task():
    method = Joint()
    method.build(torch.nn.Identity(), regression_loss)
    losses = method.losses(Prediction(torch.tensor([[1.0], [3.0]]), {}), Batch({}, torch.tensor([[0.0], [0.0]])))
    assert losses["multimodal"].item() == 5.0
    assert Joint().losses(Prediction(torch.zeros(1, 4), {}), Batch({}, torch.tensor([0])))["multimodal"].item() == pytest.approx(1.386294)


def test_combine_takes_any_number_of_losses():
    assert Method().combine({"multimodal": torch.tensor(1.0)}) == 1.0
    assert Method().combine({name: torch.tensor(value) for name, value in zip("abcd", (1.0, 2.0, 4.0, 8.0), strict=True)}) == 15.0


def test_the_base_changes_nothing_by_itself(problem):
    method = Method()
    features = {"audio": torch.ones(2, 3)}
    routes = method.transform(features, problem.train[slice(0, 2)])
    assert routes.fusion["audio"] is routes.heads["audio"] is features["audio"]
    assert set(method.clipped(problem.model)) == set(problem.model.parameters())
    assert (method.multipliers(), method.state_dict(), method.options()) == ({}, {}, {})


def test_a_context_takes_a_wish_for_the_end():
    context = EpochContext(3)
    assert context.stop_reason is None
    context.stop("enough")
    assert context.stop_reason == "enough"


class Recorder(Method):
    """Notes which hook is called when."""

    name = "recorder"

    def __init__(self):
        self.calls = []

    def build(self, model, criterion=None):
        self.calls.append("build")
        return super().build(model, criterion)

    def attach(self, optimizer):
        self.calls.append("attach")

    def detach(self):
        self.calls.append("detach")

    def epoch_start(self, context):
        self.calls.append("epoch_start")

    def epoch_end(self, context):
        self.calls.append("epoch_end")

    def transform(self, features, batch):
        self.calls.append("transform" if torch.is_grad_enabled() else "transform in evaluation")
        return super().transform(features, batch)

    def losses(self, prediction, batch):
        self.calls.append("losses")
        return super().losses(prediction, batch)

    def combine(self, losses):
        self.calls.append("combine")
        return super().combine(losses)

    def backward(self, losses, step, batch):
        self.calls.append("backward")
        super().backward(losses, step, batch)

    def observe(self, prediction, batch):
        self.calls.append("observe")

    def modulate(self, parameters):
        assert parameters.modalities == ("audio", "image")
        assert all(parameter.grad is not None for parameter in parameters.of("audio"))
        self.calls.append("modulate")

    def after_step(self, step):
        self.calls.append("after_step")


def test_hooks_are_called_in_their_order():
    problem = tiny_problem()
    method = Recorder()
    fit(problem.model, problem.train, problem.val, method=method, epochs=1, batch_size=12, accumulate=2, device="cpu")
    micro_batch = ["transform", "losses", "backward", "combine", "observe"]
    step = [*micro_batch, *micro_batch, "modulate", "after_step"]
    assert method.calls == ["build", "attach", "epoch_start", *step, *step, "epoch_end", "detach"]


def test_the_method_lets_go_of_the_optimizer_when_training_fails():
    problem = tiny_problem()
    method = Recorder()

    def fail(groups):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(problem.model, problem.train, problem.val, method=method, epochs=1, optimizer=fail, device="cpu")
    assert method.calls[-1] == "detach"


def test_a_method_may_own_the_step(problem):
    before = {name: value.clone() for name, value in problem.model.state_dict().items()}
    run = fit(
        problem.model,
        problem.train,
        problem.val,
        method=Owner(),
        epochs=2,
        device="cpu",
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1, weight_decay=0.1),
    )
    moved = {name for name, value in problem.model.state_dict().items() if not value.equal(before[name])}
    assert not any(name.startswith("fusion") for name in moved)
    assert {name.split(".")[1] for name in moved} == {"audio", "image"}
    assert run.history[-1]["losses"]["train"]["audio"] < run.history[0]["losses"]["train"]["audio"]
