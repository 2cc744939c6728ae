"""Gradient norms per encoder, and that measuring them leaves no trace."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from equimodal.data.batch import Batch
from equimodal.diagnose.gradients import gradient_norms, undisturbed
from equimodal.errors import InputError
from equimodal.nn import JointFusion


class Encoder(nn.Module):
    """Dropout and batch normalisation: what a pass in training mode would leave traces in."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(size, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.ReLU())
        self.out_features = 6

    def forward(self, values):
        return self.layers(values)


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return JointFusion({"audio": Encoder(3), "image": Encoder(5)}, num_outputs=4)


def data(samples: int = 40):
    draws = torch.Generator().manual_seed(1)
    inputs = {"audio": torch.randn(samples, 3, generator=draws), "image": torch.randn(samples, 5, generator=draws)}
    return Batch(inputs, torch.randint(4, (samples,), generator=draws))


def cut(batch, *sizes):
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        yield Batch({name: value[rows] for name, value in batch.inputs.items()}, batch.targets[rows])
        start += size


def encoders(model):
    return {name: list(model.encoders[name].parameters()) for name in model.modalities}


def by_hand(model, batch, total):
    copied = copy.deepcopy(model).eval()
    prediction = copied(batch.inputs)
    loss = functional.cross_entropy(prediction.multimodal, batch.targets)
    if total:
        loss = loss + sum(functional.cross_entropy(logits, batch.targets) for logits in prediction.unimodal.values())
    loss.backward()
    found = {}
    for name, parameters in encoders(copied).items():
        gradient = torch.cat([parameter.grad.flatten() for parameter in parameters]).norm().item()
        weights = torch.cat([parameter.detach().flatten() for parameter in parameters]).norm().item()
        found[name] = (gradient, gradient / weights)
    return found


@pytest.mark.parametrize("loss", ["multimodal", "sum"])
@pytest.mark.parametrize("sizes", [(40,), (7, 1, 32)])
def test_the_norm_is_that_of_the_mean_over_all_samples(model, loss, sizes):
    found = gradient_norms(model, cut(data(), *sizes), "single-label", encoders(model), loss=loss)
    for name, wanted in by_hand(model, data(), loss == "sum").items():
        assert tuple(found[name]) == pytest.approx(wanted, rel=1e-4)


def test_nothing_of_the_model_changes(model):
    model.encoders["audio"].eval()  # a part that is frozen in its own mode stays so
    model.train(model.training)
    model.encoders["audio"].training = False
    model.fusion.requires_grad_(True)
    first = next(model.parameters())
    first.grad = torch.full_like(first, 2.0)
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    random = torch.random.get_rng_state()
    with torch.no_grad():
        gradient_norms(model, cut(data(), 20, 20), "single-label", encoders(model))
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(first.grad, torch.full_like(first, 2.0))
    assert all(parameter.grad is None for parameter in list(model.parameters())[1:])
    assert torch.equal(torch.random.get_rng_state(), random)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_buffers_that_change_in_evaluation_mode_are_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, values):
            self.calls += 1
            return values + torch.rand(())

    counting = Counting()
    random = torch.random.get_rng_state()
    with undisturbed(counting):
        counting(torch.zeros(2))
        assert counting.calls == 1
    assert counting.calls == 0
    assert counting.training
    assert torch.equal(torch.random.get_rng_state(), random)


def test_a_frozen_encoder_has_no_gradient_and_another_keeps_its_own(model):
    wanted = gradient_norms(model, [data()], "single-label", encoders(model))["image"]
    model.encoders["audio"].requires_grad_(False)
    found = gradient_norms(model, [data()], "single-label", encoders(model))
    assert found["audio"] == (0.0, 0.0)
    assert found["image"] == pytest.approx(wanted)
    model.requires_grad_(False)
    assert gradient_norms(model, [data()], "single-label", encoders(model))["image"].norm == 0.0


def test_an_unread_encoder_pulls_at_nothing(model):
    with torch.no_grad():
        for parameter in model.fusion.parameters():
            if parameter.dim() == 2:
                parameter[:, :6] = 0.0
    found = gradient_norms(model, [data()], "single-label", encoders(model))
    assert found["audio"].norm == 0.0
    assert found["image"].norm > 0.0
    assert gradient_norms(model, [data()], "single-label", encoders(model), loss="sum")["audio"].norm > 0.0


def test_samples_without_a_modality_do_not_count_for_its_head(model):
    batch = data()
    mask = torch.arange(40) < 25
    found = gradient_norms(model, [Batch(batch.inputs, batch.targets, {"audio": mask})], "single-label", encoders(model), loss="sum")
    copied = copy.deepcopy(model).eval()
    prediction = copied(batch.inputs, {"audio": mask})
    losses = {name: functional.cross_entropy(logits, batch.targets, reduction="none") for name, logits in prediction.unimodal.items()}
    joint = functional.cross_entropy(prediction.multimodal, batch.targets)
    (joint + (losses["audio"] * mask).mean() + losses["image"].mean()).backward()
    wanted = torch.cat([parameter.grad.flatten() for parameter in encoders(copied)["audio"]]).norm().item()
    assert found["audio"].norm == pytest.approx(wanted, rel=1e-4)


def test_what_has_no_gradient_is_refused_and_the_model_put_back(model):
    with pytest.raises(InputError, match="no sample"):
        gradient_norms(model, [], "single-label", encoders(model))
    broken = data()
    broken.inputs["audio"][0] = torch.nan
    with pytest.raises(InputError, match="the loss is nan"):
        gradient_norms(model, [broken], "single-label", encoders(model))
    assert model.training
