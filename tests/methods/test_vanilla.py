"""Vanilla: the joint loss trains the network, and the heads watch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from equimodal.methods.joint import Joint
from equimodal.methods.vanilla import Vanilla
from equimodal.testing import tiny_problem


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_encoders_and_fusion_learn_from_the_joint_loss_alone_and_the_heads_as_probes(modalities, fusion):
    problem = tiny_problem(modalities, fusion=fusion)
    method, batch = Vanilla(), problem.train[slice(0, 20)]
    model = method.build(problem.model)

    prediction = model(batch.inputs, transform=lambda features: method.transform(features, batch))
    losses = method.losses(prediction, batch)
    found = gradients(model, method.combine(losses))
    joint_alone = gradients(model, functional.cross_entropy(model(batch.inputs).multimodal, batch.targets))
    eq3 = gradients(model, Joint().combine(Joint().losses(model(batch.inputs), batch)))

    assert list(losses) == ["multimodal", *model.modalities]
    for name, value in found.items():
        if name.startswith("heads"):
            assert value.abs().sum() > 0
            torch.testing.assert_close(value, eq3[name])  # a probe learns what a head of joint training would at this point
        else:
            assert torch.equal(value, joint_alone[name])
    assert set(found) == {name for name, _ in model.named_parameters()}


def test_under_late_fusion_the_heads_are_the_fusion_and_learn_from_the_joint_loss_alone():
    problem = tiny_problem(fusion="late")
    method, batch = Vanilla(), problem.train[slice(0, 20)]
    model = method.build(problem.model)
    assert not method.transforms()
    prediction = model(batch.inputs, transform=lambda features: method.transform(features, batch))
    losses = method.losses(prediction, batch)
    assert list(losses) == ["multimodal", *model.modalities]
    found = gradients(model, method.combine(losses))
    alone = gradients(model, functional.cross_entropy(model(batch.inputs).multimodal, batch.targets))
    assert all(torch.equal(value, alone[name]) for name, value in found.items())
    assert set(method.clipped(model)) == set(model.parameters())


def test_predictions_are_those_of_the_model_as_it_is():
    problem = tiny_problem()
    method, batch = Vanilla(), problem.val[slice(0, 5)]
    seen = problem.model(batch.inputs, transform=lambda features: method.transform(features, batch))
    plain = problem.model(batch.inputs)
    assert torch.equal(seen.multimodal, plain.multimodal)
    assert all(torch.equal(seen.unimodal[name], plain.unimodal[name]) for name in plain.unimodal)


def test_the_probes_are_left_out_of_clipping():
    model = tiny_problem().model
    clipped = list(Vanilla().clipped(model))
    assert set(clipped) == {parameter for name, parameter in model.named_parameters() if not name.startswith("heads")}


def test_a_model_of_ones_own_says_which_part_is_a_probe():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.audio, self.probe = nn.Linear(2, 2), nn.Linear(2, 2)

        def modality_modules(self):
            return {"audio": {"encoder": self.audio, "head": self.probe}}

    model = Own()
    assert set(Vanilla().clipped(model)) == set(model.audio.parameters())
    assert set(Vanilla().clipped(nn.Linear(2, 2))) != set()
