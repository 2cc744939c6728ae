"""Intervals of gradient norms, against the gradients of single samples."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from equimodal.data.batch import Batch
from equimodal.diagnose import diagnose
from equimodal.diagnose import gradient_intervals as module
from equimodal.diagnose.gradient_intervals import along_differences, along_gradients, gradient_intervals, sums_of_squares
from equimodal.diagnose.gradients import gradient_norms, sample_losses
from equimodal.diagnose.intervals import Bootstrap
from equimodal.errors import InputError
from equimodal.nn import MLP, JointFusion
from equimodal.tasks import get_task
from equimodal.testing import tiny_problem

TASK = get_task("single-label")
SAMPLES = 150


class Recurrent(nn.Module):
    """A recurrent network with batch normalisation behind it."""

    out_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.norm = nn.LSTM(3, 6, batch_first=True), nn.BatchNorm1d(6)

    def forward(self, values):
        return self.norm(self.recurrent(values)[0][:, -1])


class Attending(nn.Module):
    """A transformer layer: its fast kernels cannot be differentiated twice."""

    out_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, values):
        return self.layer(values).mean(dim=1)


class Doubling(torch.autograd.Function):
    """Someone's own function, whose gradient cannot be differentiated."""

    @staticmethod
    def forward(ctx, values):
        return 2 * values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient


class CutOff(Doubling):
    """One that hides so much instead of saying it."""

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient.detach()


class Odd(nn.Module):
    out_features = 6

    def __init__(self, function) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(8, 6), function

    def forward(self, values):
        return self.function.apply(self.layer(values.mean(dim=1)))


def made(image: nn.Module | None = None) -> JointFusion:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return JointFusion({"audio": Recurrent(), "image": image or Attending()}, num_outputs=4).eval()


def data(samples: int = SAMPLES) -> Batch:
    draws = torch.Generator().manual_seed(1)
    inputs = {"audio": torch.randn(samples, 6, 3, generator=draws), "image": torch.randn(samples, 7, 8, generator=draws)}
    # One class is common, so that the gradient is more than the noise of its samples.
    return Batch(inputs, torch.multinomial(torch.tensor([0.8, 0.1, 0.05, 0.05]), samples, replacement=True, generator=draws))


def encoders(model):
    return {name: list(model.encoders[name].parameters()) for name in model.modalities}


def one_by_one(model, batch):
    """Return by modality the gradient of every sample ``[samples, parameters]``."""
    found = {name: [] for name in model.modalities}
    for sample in range(len(batch)):
        one = batch.select(torch.tensor([sample]))
        loss = sample_losses(model(one.inputs), one, TASK, "multimodal").sum()
        for name, own in encoders(model).items():
            gradients = torch.autograd.grad(loss, own, retain_graph=True)
            found[name].append(torch.cat([gradient.flatten() for gradient in gradients]).double())
    return {name: torch.stack(own) for name, own in found.items()}


def directions(model, each):
    found = {}
    for name, own in encoders(model).items():
        mean = each[name].mean(dim=0)
        parts = (mean / mean.norm()).float().split([parameter.numel() for parameter in own])
        found[name] = {parameter: part.view_as(parameter) for parameter, part in zip(own, parts, strict=True)}
    return found


def test_what_a_sample_adds_is_its_own_gradient_along_that_of_all():
    model, batch = made(), data()
    each = one_by_one(model, batch)
    exact = along_gradients(model, lambda: [batch], TASK, directions(model, each), "multimodal")
    near = along_differences(model, lambda: [batch], TASK, directions(model, each), "multimodal")
    for name, own in each.items():
        wanted = own @ (own.mean(dim=0) / own.mean(dim=0).norm())
        assert torch.allclose(exact[name].double(), wanted, atol=1e-5 * float(wanted.std()))
        assert torch.allclose(near[name], wanted, atol=0.03 * float(wanted.std()))


@pytest.mark.parametrize("sizes", [(70,), (5, 1, 64)])
def test_the_squared_norms_of_few_samples_are_exact(sizes):
    model, batch = made(), data(70)
    each = one_by_one(model, batch)
    parts = [batch.select(rows) for rows in torch.arange(70).split(sizes)]
    found = sums_of_squares(model, lambda: parts, TASK, directions(model, each), sizes, "multimodal")
    for name, own in each.items():
        assert found[name] == pytest.approx(float(own.square().sum()), rel=1e-4)


def test_of_more_samples_they_are_estimated_without_bias(monkeypatch):
    model, batch = made(), data(128)
    each = one_by_one(model, batch)
    monkeypatch.setattr(module, "_SUMS", 8)  # one row of signs for each of eight groups
    turns = 40
    found = sums_of_squares(model, lambda: [batch] * turns, TASK, directions(model, each), [128], "multimodal")
    for name, own in each.items():
        assert found[name] / turns == pytest.approx(float(own.square().sum()), rel=0.15)
        assert found[name] / turns != pytest.approx(float(own.square().sum()), rel=1e-4)


@pytest.mark.parametrize("sizes", [(150,), (7, 100, 43)])
def test_the_interval_is_that_of_the_true_bootstrap_less_its_noise(sizes):
    model, batch = made(), data()
    each, bootstrap = one_by_one(model, batch), Bootstrap(SAMPLES, resamples=400)
    parts = [batch.select(rows) for rows in torch.arange(SAMPLES).split(sizes)]
    found = gradient_intervals(model, lambda: iter(parts), "single-label", encoders(model), lambda _: bootstrap)
    norms = gradient_norms(model, [batch], "single-label", encoders(model))
    for name, own in each.items():
        squares = bootstrap.resampled(lambda counts, own=own: (counts @ own / SAMPLES).square().sum(dim=1))
        noise = float(own.var(dim=0).sum()) / SAMPLES
        # Draws are longer by the noise twice over.
        slow = (squares[1:] - 2 * noise).clamp(min=0).sqrt().quantile(torch.tensor([0.025, 0.975]).double())
        assert found[name].norm.value == pytest.approx(norms[name].norm, rel=1e-4)
        assert found[name].relative.value == pytest.approx(norms[name].relative, rel=1e-4)
        width = float(slow[1] - slow[0])
        assert found[name].norm.low == pytest.approx(float(slow[0]), abs=0.2 * width)
        assert found[name].norm.high == pytest.approx(float(slow[1]), abs=0.2 * width)
        assert found[name].relative.high / found[name].norm.high == pytest.approx(norms[name].relative / norms[name].norm)


@pytest.mark.parametrize("function", [Doubling, CutOff])
def test_models_that_cannot_be_differentiated_twice_are_asked_for_differences(function):
    batch, plain, odd = data(), made(Odd(Doubling)), made(Odd(function))
    odd.load_state_dict(plain.state_dict())
    state = copy.deepcopy(odd.state_dict())
    found = gradient_intervals(odd, lambda: [batch], "single-label", encoders(odd), lambda n: Bootstrap(n, resamples=100))["image"].norm
    each = one_by_one(odd, batch)["image"]
    bootstrap = Bootstrap(SAMPLES, resamples=100)
    along = each @ (each.mean(dim=0) / each.mean(dim=0).norm())
    noise = float(each.var(dim=0).sum())
    wanted = bootstrap.interval(module.Pulls(float(each.mean(dim=0).norm()), along, noise).column(bootstrap))
    assert tuple(found) == pytest.approx(tuple(wanted), rel=0.05)
    for name, value in odd.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_the_weights_are_put_back_when_the_model_fails_on_the_way():
    class Failing(Odd):
        calls = 0

        def forward(self, values):
            self.calls += 1
            if self.calls > 2:
                raise ValueError("no more")
            return super().forward(values)

    model, batch = made(Failing(Doubling)), data()
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="no more"):
        gradient_intervals(model, lambda: [batch], "single-label", encoders(model), lambda n: Bootstrap(n, resamples=100))
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_an_encoder_that_is_frozen_or_unread_has_none():
    model, batch = made(), data()
    model.encoders["image"].requires_grad_(False)
    with torch.no_grad():
        model.fusion.linear.weight[:, :6] = 0.0
    own = {**encoders(model), "nothing": []}
    found = gradient_intervals(model, lambda: [batch], "single-label", own, lambda n: Bootstrap(n, resamples=100))
    assert all(number == (0.0, 0.0, 0.0) for intervals in found.values() for number in intervals)


def test_without_draws_there_is_one_pass_and_no_ends():
    model, batch, passes = made(), data(), []
    found = gradient_intervals(
        model, lambda: passes.append(1) or [batch], "single-label", encoders(model), lambda n: Bootstrap(n, resamples=0)
    )
    assert len(passes) == 1
    assert found["audio"].norm.value > 0
    assert found["audio"].norm.low is None


def test_other_samples_the_second_time_are_refused():
    model, turns = made(), iter([data(100), *[data(99)] * 9])
    with pytest.raises(InputError, match="other samples when they are read again"):
        gradient_intervals(model, lambda: [next(turns)], "single-label", encoders(model), lambda n: Bootstrap(n, resamples=100))


def test_where_there_is_no_gradient_the_interval_begins_at_zero():
    """At the weights that fit the samples' population best, what single samples pull cancels out."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = JointFusion({"audio": MLP(4, hidden=()), "image": MLP(4, hidden=())}, num_outputs=3).eval()
    with torch.no_grad():
        model.fusion.linear.weight.zero_()
        model.fusion.linear.weight[0, 0] = 1e-3
    draws = torch.Generator().manual_seed(5)
    batch = Batch({name: torch.randn(600, 4, generator=draws) for name in ("audio", "image")}, torch.randint(3, (600,), generator=draws))
    found = gradient_intervals(model, lambda: [batch], "single-label", encoders(model), lambda n: Bootstrap(n, resamples=300))
    assert found["audio"].norm.low < 0.1 * found["audio"].norm.value
    assert math.isfinite(found["audio"].norm.high)


def test_a_frozen_encoder_leaves_the_others_their_gradients():
    problem = tiny_problem()
    problem.model.encoders["audio"].requires_grad_(False)
    found = diagnose(problem.model, problem.val, gradients=True, resamples=50)
    assert "gradients" not in found.skipped
    assert found.encoders["audio"].gradient_norm.value == 0.0
    assert found.encoders["image"].gradient_norm.value > 0.0


@pytest.mark.parametrize("share", [1.0, 0.8])
def test_differences_that_do_not_add_up_to_the_gradient_make_no_interval(monkeypatch, share):
    def refuse(*_):
        raise RuntimeError("no second derivative")

    problem = tiny_problem()
    encoder = {"audio": list(problem.model.encoders["audio"].parameters())}
    batches = [problem.val[:20]]
    norm = gradient_norms(problem.model, batches, "single-label", encoder)["audio"].norm
    monkeypatch.setattr(module, "along_gradients", refuse)
    monkeypatch.setattr(module, "along_differences", lambda *_: {"audio": torch.full((20,), share * norm)})
    found = gradient_intervals(problem.model, lambda: batches, "single-label", encoder, lambda count: Bootstrap(count, resamples=50))
    assert found["audio"].norm.value == pytest.approx(norm)
    assert (found["audio"].norm.low is None) == (share < 0.95)
