"""Trainings beside a run: what they are equal to, what they go on from, and that they leave everything as it was."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler

from equimodal import InputError, TrainingDiverged, fit, modality_groups
from equimodal.groups import LearningRateMultipliers, effective_rates
from equimodal.methods.base import Method
from equimodal.methods.joint import Joint
from equimodal.methods.miles import MILESMethod
from equimodal.methods.ogm import OGMGE
from equimodal.methods.unimodal import Unimodal
from equimodal.methods.vanilla import Vanilla
from equimodal.train import Branches
from equimodal.train.seeds import derived_seed

from .examples import network, one_line, same, splits
from .test_resume import SCHEDULERS, STEPPED

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def setting(optimizer=SGD, *, model=None, **options):
    """A model, its optimizer with moments, and branches; a step has been taken."""
    model = network(dropout=0.3) if model is None else model
    made = optimizer(modality_groups(model))
    train = splits(**options).train
    Joint().losses(model(train[:9].inputs), train[:9])["multimodal"].backward()
    made.step()
    return model, made, train


def branches_of(model, optimizer, **options):
    return Branches(model, optimizer, **{"batch_size": 16, "seed": 5, "device": "cpu", **options})


# --- what a branch is


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({}, {}),
        ({"batch_size": 8, "accumulate": 2, "clip": 0.05}, {}),
        ({"autocast": torch.bfloat16}, {"masks": True}),
        ({"task": "regression"}, {"task": "regression"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", [Joint, Vanilla, OGMGE, partial(Unimodal, "audio")])
def test_a_branch_is_a_run_from_the_weights_of_the_moment(method, options, data):
    model, optimizer, train = setting(**data)
    val = splits(**data).val
    model.eval()  # the branch is trained all the same
    branch = branches_of(model, optimizer, **options).at(7)
    branch(Joint(), train, 1, {"val": val})
    found = branch(method(), train, 3, {"val": val, "test": splits(**data).test})
    # The second branch before epoch 7, as a run of its own with that seed.
    shared = {"batch_size": 16, "seed": derived_seed(5, "branch", 7, 2), "device": "cpu", "optimizer": SGD, **options}
    same_run = fit(copy.deepcopy(model), train, val, test=splits(**data).test, method=method(), epochs=3, **shared)
    assert found.after["val"] == same_run.history[-1]["losses"]["val"]
    assert found.before["val"] != found.after["val"]
    assert set(found.before) == set(found.after) == {"val", "test"}
    still = fit(copy.deepcopy(model), train, val, method=method(), epochs=1, **{**shared, "optimizer": partial(torch.optim.SGD, lr=0.0)})
    assert found.before["val"] == still.history[0]["losses"]["val"]


def test_branches_differ_by_their_number_and_by_the_epoch_and_come_again():
    model, optimizer, train = setting()
    branch = branches_of(model, optimizer)
    found = {}
    for epoch in (1, 2, 1):
        branch.at(epoch)
        for number in (1, 2):
            after = branch(Joint(), train, 1, {"train": train}).after["train"]["multimodal"]
            assert found.setdefault((epoch, number), after) == after
    assert len(set(found.values())) == 4
    assert branches_of(model, optimizer, seed=6).at(1)(Joint(), train, 1, {"train": train}).after["train"]["multimodal"] != found[1, 1]


def test_the_steps_of_all_branches_are_counted():
    model, optimizer, train = setting()  # 50 samples
    branch = branches_of(model, optimizer, accumulate=2)
    branch.at(1)(Joint(), train, 3, {})
    assert branch.steps == 3 * 2
    branch.at(2)(Joint(), train.subset(torch.arange(10)), 1, {})
    assert branch.steps == 3 * 2 + 1


# --- what it leaves alone


def test_model_optimizer_and_random_state_stay_as_they_are():
    model, optimizer, train = setting(torch.optim.Adam)
    model.train()
    model.encoders["audio"].eval()
    multipliers = LearningRateMultipliers(optimizer)
    multipliers.set({"audio": 0.5})
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    scheduler.step()
    modes = [module.training for module in model.modules()]
    gradients = [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()]
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict(), scheduler.state_dict()))
    random = torch.random.get_rng_state()

    branch = branches_of(model, optimizer, scheduler=scheduler, make_scheduler=partial(lr_scheduler.StepLR, step_size=1))
    branch.at(1)(MILESMethod(tau=0.0), train, 2, {"train": train})

    assert torch.equal(torch.random.get_rng_state(), random)
    assert same(before, (model.state_dict(), optimizer.state_dict(), scheduler.state_dict()))
    assert [module.training for module in model.modules()] == modes
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert (parameter.grad is None and gradient is None) or torch.equal(parameter.grad, gradient)
    assert multipliers.get()["audio"] == 0.5
    optimizer.step()  # its moments belong to the parameters that it holds


class Failing(Method):
    name = "failing"

    def attach(self, optimizer):
        self.optimizer = optimizer
        self.attached = True

    def detach(self):
        self.attached = False

    def after_step(self, step):
        torch.rand(3)
        raise ZeroDivisionError


def test_where_a_branch_fails_everything_is_given_back():
    model, optimizer, train = setting()
    before, random, method = copy.deepcopy((model.state_dict(), optimizer.state_dict())), torch.random.get_rng_state(), Failing()
    with pytest.raises(ZeroDivisionError):
        branches_of(model, optimizer).at(1)(method, train, 1, {"train": train})
    assert not method.attached
    assert method.optimizer is not optimizer
    assert same(before, (model.state_dict(), optimizer.state_dict()))
    assert torch.equal(torch.random.get_rng_state(), random)


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_branch_that_diverges_says_so_in_one_line(epochs):
    """In training, or, after a single step, only where its losses are measured."""
    model, optimizer, train = setting(model=network())
    for group in optimizer.param_groups:
        group["lr"] = 1e38
    with pytest.raises(TrainingDiverged) as caught:
        branches_of(model, optimizer, batch_size=50).at(4)(Joint(), train, epochs, {"train": train})
    said = "a training beside the run (joint, before epoch 4) became NaN or infinite: lower the learning rate or clip the gradient"
    assert one_line(caught) == said


def test_what_cannot_be_trained_on_is_refused_in_one_line():
    model, optimizer, train = setting()
    branch = branches_of(model, optimizer).at(1)
    for data, said in (
        (train.subset(torch.arange(0)), "the branch's training split is empty"),
        (3, "the branch's training split is a int"),
    ):
        with pytest.raises(InputError) as caught:
            branch(Joint(), data, 1, {})
        assert one_line(caught).startswith(said)
    with pytest.raises(InputError) as caught:
        branch(Joint(), train, 1, {"held out": train.subset(torch.arange(0))})
    assert one_line(caught) == "the held out split is empty"


# --- what it goes on from


class Noting(Method):
    """Notes the rates and momenta with which every epoch begins, and those of every step."""

    name = "noting"

    def __init__(self):
        self.epochs = []
        self.steps = []

    def options(self):
        return {}

    def attach(self, optimizer):
        self.optimizer = optimizer

    def _now(self):
        return [(group["lr"], group["momentum"]) for group in self.optimizer.param_groups]

    def epoch_start(self, context):
        self.epochs.append(self._now())

    def after_step(self, step):
        self.steps.append(self._now())


def run_on(make, interval, epochs):
    """Return the rates of a run of so many epochs of three steps, and the optimizer and the scheduler at its end."""
    optimizer = SGD(modality_groups(network(), overrides={"audio": {"lr": 0.01}}))
    scheduler, steps = make(optimizer), []
    for epoch in range(epochs):
        for _ in range(3):
            steps.append([(group["lr"], group["momentum"]) for group in optimizer.param_groups])
            optimizer.step()
            if interval == "step":
                scheduler.step()
        if interval == "epoch":
            scheduler.step(*([1.0 + epoch] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))
    return steps, optimizer, scheduler


@pytest.mark.parametrize(("name", "interval"), STEPPED)
def test_the_scheduler_goes_on_from_where_the_runs_stands(name, interval):
    make, train = SCHEDULERS[name], splits().train.subset(torch.arange(48))
    steps, _, _ = run_on(make, interval, 6)
    _, optimizer, scheduler = run_on(make, interval, 3)
    model = network()
    optimizer.param_groups[0]["params"] = list(model.fusion.parameters())
    for group, name_ in zip(optimizer.param_groups[1:], ("image", "audio"), strict=True):
        group["params"] = [*model.encoders[name_].parameters(), *model.heads[name_].parameters()]
    method, before = Noting(), copy.deepcopy(scheduler.state_dict())
    branch = branches_of(model, optimizer, scheduler=scheduler, make_scheduler=make, scheduler_interval=interval)
    branch.at(4)(method, train, 3, {})
    assert scheduler.state_dict() == before
    if name == "ReduceLROnPlateau":  # which waits for the run's scores
        assert method.steps == [[(group["lr"], group["momentum"]) for group in optimizer.param_groups]] * 9
    else:
        assert [[pytest.approx(pair) for pair in now] for now in steps[9:]] == method.steps
    assert len({now[0] for now in steps}) > 1


@pytest.mark.parametrize(("total", "interval"), [(4, "epoch"), (11, "step")])
def test_a_branch_may_be_longer_than_what_is_left_of_a_scheduler(total, interval):
    make = partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=total)
    model, train = network(), splits().train.subset(torch.arange(48))
    optimizer = SGD(modality_groups(model))
    scheduler, method = make(optimizer), Noting()
    branches_of(model, optimizer, scheduler=scheduler, make_scheduler=make, scheduler_interval=interval).at(1)(method, train, 9, {})
    assert len(method.steps) == 27
    assert method.steps[-1][0][0] == pytest.approx(0.1 / 25 / 1e4)
    assert method.steps[-1] == method.steps[-3]


def test_multipliers_of_a_method_do_not_reach_the_branches():
    model, optimizer, train = setting(model=network())
    plain = branches_of(model, optimizer).at(1)(Joint(), train, 2, {"train": train})
    multipliers = LearningRateMultipliers(optimizer)
    multipliers.set({"audio": 0.0, "image": 0.0})
    assert effective_rates(optimizer)["audio"] == 0.0
    assert branches_of(model, optimizer).at(1)(Joint(), train, 2, {"train": train}) == plain
    method = Noting()
    branches_of(model, optimizer).at(1)(method, train, 1, {})
    assert effective_rates(method.optimizer)["audio"] == 0.1


def test_moments_of_the_run_do_not_reach_the_branches():
    model, optimizer, train = setting(model=network())
    fresh = SGD(modality_groups(model))
    watched = [branches_of(model, chosen).at(1)(Joint(), train, 2, {"train": train}) for chosen in (optimizer, fresh)]
    assert watched[0] == watched[1]
