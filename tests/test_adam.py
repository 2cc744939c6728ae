"""What docs/concepts/learning-rate-or-gradient.md says of SGD, Adam and AdamW holds for the multipliers and for OGM as they are here."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from equimodal import JointFusion, modality_groups
from equimodal.data import datasets
from equimodal.groups import LearningRateMultipliers, ParameterRegistry
from equimodal.methods.base import EpochContext, Method
from equimodal.methods.ogm import OGM
from equimodal.nn import MLP
from equimodal.testing import tiny_problem

SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
Adam = partial(torch.optim.Adam, lr=0.01)
STEPS = 40


class Scaled:
    """A run of the tiny problem in which the learning rate or the gradient of the audio has a factor, encoder and head alike."""

    def __init__(self, make, *, rate=1.0, gradient=1.0, dtype=torch.float64):
        problem = tiny_problem(dtype=dtype)
        self.model, self.data = problem.model, problem.train
        self.audio = [parameter for part in self.model.modality_modules()["audio"].values() for parameter in part.parameters()]
        self.optimizer = make(modality_groups(self.model))
        self.copies = [torch.nn.Parameter(parameter.detach().clone()) for parameter in self.audio]
        self.shadow = make(self.copies)
        LearningRateMultipliers(self.optimizer).set({"audio": rate})
        self.gradient = gradient

    def step(self):
        """Take a step; return its length over that of the step which the same optimizer takes from the gradients as they were."""
        batch = self.data[:]
        self.optimizer.zero_grad()
        prediction = self.model(batch.inputs)
        Method().combine(Method().losses(prediction, batch)).backward()
        before = [parameter.detach().clone() for parameter in self.audio]
        for copy, value, parameter in zip(self.copies, before, self.audio, strict=True):
            copy.data.copy_(value)
            copy.grad = parameter.grad.clone()
        for parameter in self.audio:
            parameter.grad.mul_(self.gradient)
        self.optimizer.step()
        self.shadow.step()
        return moved(self.audio, before) / moved(self.copies, before)

    def run(self, steps=STEPS):
        return [self.step() for _ in range(steps)]

    def weights(self):
        return [parameter.detach().clone() for parameter in self.audio]


def moved(parameters, before):
    return float(torch.stack([(new.detach() - old).norm() for new, old in zip(parameters, before, strict=True)]).norm())


@pytest.mark.parametrize("factor", [0.5, 0.1])
@pytest.mark.parametrize("make", [SGD, partial(torch.optim.SGD, lr=0.05)], ids=["momentum", "plain"])
def test_under_sgd_both_scalings_are_the_factor_and_go_the_same_way(make, factor):
    by_rate, by_gradient = Scaled(make, rate=factor), Scaled(make, gradient=factor)
    assert by_rate.run() == pytest.approx([factor] * STEPS, rel=1e-9)
    assert by_gradient.run() == pytest.approx([factor] * STEPS, rel=1e-9)
    for one, other in zip(by_rate.weights(), by_gradient.weights(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    untouched = Scaled(make)
    untouched.run()
    assert not torch.allclose(untouched.weights()[0], by_rate.weights()[0], rtol=1e-3)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "Adamax", "Adafactor"])
def test_under_adam_a_constant_factor_on_the_gradient_is_divided_away_and_one_on_the_rate_is_not(name):
    but_for_epsilon = {} if name == "Adafactor" else {"eps": 1e-14}
    make = partial(getattr(torch.optim, name), lr=0.01, weight_decay=0.0, **but_for_epsilon)
    by_gradient, untouched = Scaled(make, gradient=0.1), Scaled(make)
    assert by_gradient.run() == pytest.approx([1.0] * STEPS, abs=1e-6)  # from the first step on
    assert Scaled(make, rate=0.1).run() == pytest.approx([0.1] * STEPS, rel=1e-9)
    untouched.run()
    for one, other in zip(by_gradient.weights(), untouched.weights(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_the_first_steps_of_radam_are_those_of_momentum():
    relative = Scaled(partial(torch.optim.RAdam, lr=0.01), gradient=0.1).run(10)
    assert relative[0] == pytest.approx(0.1)
    assert relative[-1] == pytest.approx(1.0, abs=0.01)


def test_under_adam_a_factor_on_the_gradient_is_a_larger_epsilon_to_the_bit():
    by_gradient, by_epsilon = (Scaled(partial(Adam, eps=1e-3), gradient=factor, dtype=torch.float32) for factor in (0.5, 1.0))
    for group in by_epsilon.optimizer.param_groups:
        group["eps"] = 2e-3 if group["modality"] == "audio" else 1e-3
    relative = by_gradient.run()
    by_epsilon.run()
    assert all(torch.equal(one, other) for one, other in zip(by_gradient.weights(), by_epsilon.weights(), strict=True))
    assert max(relative) < 0.99  # so large an epsilon leaves something of the factor


def relative_updates(factors, *, steps):
    """Return the lengths of Adam's steps on gradients that stay alike, each factor for so many steps, over those without factors."""
    generator = torch.Generator().manual_seed(0)
    scaled, free = (torch.nn.Parameter(torch.zeros(1000, dtype=torch.float64)) for _ in range(2))
    optimizers, found = [Adam([scaled]), Adam([free])], []
    for factor in (factor for factor in factors for _ in range(steps)):
        gradient = torch.randn(1000, generator=generator, dtype=torch.float64)
        scaled.grad, free.grad = factor * gradient, gradient
        before = [scaled.detach().clone(), free.detach().clone()]
        for optimizer in optimizers:
            optimizer.step()
        found.append(moved([scaled], before[:1]) / moved([free], before[1:]))
    return found


def test_under_adam_a_factor_that_begins_late_lasts_for_thousands_of_steps():
    relative = relative_updates([1.0, 0.1], steps=1000)
    square = 0.999**1000  # what the running square still holds of the untouched gradients, before the correction of its start
    assert relative[999] == pytest.approx(1.0)
    held = (square - 0.999**2000 + 0.01 * (1 - square)) / (1 - 0.999**2000)
    assert relative[-1] == pytest.approx(0.1 / held**0.5, rel=0.05)
    assert relative[-1] < 0.25


def test_under_adam_the_end_of_a_factor_lengthens_the_steps_beyond_untouched_ones():
    relative = relative_updates([0.1, 1.0], steps=300)
    assert relative[299] == pytest.approx(1.0, abs=1e-3)
    assert max(relative[300:]) > 2
    assert relative[-1] > 1.05


def test_decay_scales_with_the_rate_and_not_with_the_gradient():
    def step(cls, decay, **factor):
        run = Scaled(partial(cls, lr=0.01, weight_decay=decay), **factor)
        run.step()
        return torch.cat([weight.flatten() for weight in run.weights()])

    start = torch.cat([weight.flatten() for weight in Scaled(Adam).weights()])
    decay_of_rate = step(torch.optim.AdamW, 0.1, rate=0.5) - step(torch.optim.AdamW, 0.0, rate=0.5)
    decay_of_gradient = step(torch.optim.AdamW, 0.1, gradient=0.5) - step(torch.optim.AdamW, 0.0, gradient=0.5)
    torch.testing.assert_close(decay_of_rate, -0.5 * 0.01 * 0.1 * start)
    torch.testing.assert_close(decay_of_gradient, -0.01 * 0.1 * start)
    # In SGD the decay is part of the gradient by the time it is scaled with the rate, and not yet when the gradient is.
    torch.testing.assert_close(step(torch.optim.SGD, 0.1, rate=0.5) - step(torch.optim.SGD, 0.0, rate=0.5), -0.5 * 0.01 * 0.1 * start)
    torch.testing.assert_close(step(torch.optim.SGD, 0.1, gradient=0.5) - step(torch.optim.SGD, 0.0, gradient=0.5), -0.01 * 0.1 * start)


class Modulated:
    """Joint training of the shipped digits with OGM; notes what it asks of the image encoder's steps, and what becomes of them."""

    def __init__(self, make):
        data = datasets.get("digits-av")().load().train
        torch.manual_seed(0)
        model = JointFusion({"image": MLP(64), "audio": MLP(576)}, 10)
        method = OGM(heads="trained")
        method.build(model)
        method.epoch_start(EpochContext(1))
        optimizer, registry = make(modality_groups(model)), ParameterRegistry(model)
        image = registry.of("image")
        copies = [torch.nn.Parameter(torch.zeros_like(parameter)) for parameter in image]
        shadow = make(copies)
        self.asked, self.relative = [], []
        for indices in torch.randperm(len(data)).repeat(6).split(64):
            batch = data[indices]
            optimizer.zero_grad()
            prediction = model(batch.inputs)
            method.combine(method.losses(prediction, batch)).backward()
            method.observe(prediction, batch)
            for copy, parameter in zip(copies, image, strict=True):
                copy.data.copy_(parameter)
                copy.grad = parameter.grad.clone()
            method.modulate(registry)
            self.asked.append(float(image[0].grad.norm() / copies[0].grad.norm()))
            before = [parameter.detach().clone() for parameter in image]
            optimizer.step()
            shadow.step()
            self.relative.append(moved(image, before) / moved(copies, before))


def test_what_ogm_asks_for_happens_under_sgd_and_fades_under_adam():
    for make, kept in ((SGD, True), (partial(torch.optim.Adam, lr=1e-3), False)):
        run = Modulated(make)
        asked, became = (sum(values[-36:]) / 36 for values in (run.asked, run.relative))
        assert asked < 0.4
        assert became == pytest.approx(asked, abs=0.05) if kept else became > asked + 0.3
