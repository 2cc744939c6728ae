"""The noise of OGM-GE: what it is, where it goes, and whole training steps of a plain implementation that is given it.

The draws are read off a run: gradient after the method, minus k g, over the standard deviation of g. A second run with the same random
state but other labels, weights and alpha must use the very same draws, so there the oracle predicts every weight.
"""

import pytest
import torch

from equimodal.data import TensorSet
from equimodal.methods.ogm import OGMGE
from oracles import ogm as oracles

from .by_hand import SGD, Loop, Problem, assert_same

LR = 0.02
EPOCHS = 17


def start(problem, method, **options):
    """Return a loop with the method and an oracle, both from the problem's weights, at the same random state."""
    torch.manual_seed(11)
    return Loop(problem.copy(), method, LR), oracles.OGM(
        problem.copy(), lr=LR, momentum=SGD["momentum"], weight_decay=SGD["weight_decay"], **options
    )


def draws(problem, method, epochs=EPOCHS, **options):
    """Return the draws of every step by encoder parameter, read off a run of the library."""
    loop, oracle = start(problem, method, **options)
    found = []
    for number, batches in enumerate(problem.epochs(epochs), start=1):
        loop.epoch_start(number)
        for batch in batches:
            loop.step(batch)
            oracle.look(batch)
            noise = {}
            for parameter, gradient in oracle.plain.items():
                after = loop.hand.gradients[parameter]
                name = parameter.split(".")[1]
                if parameter.startswith("encoders.") and oracle.acts(number - 1, name, parameter):
                    noise[parameter] = (after - oracle.k[name] * gradient) / oracles.deviation(gradient)
                else:
                    torch.testing.assert_close(after, gradient, rtol=1e-9, atol=1e-13)
            oracle.apply(number - 1, noise)
            assert_same(loop.model, oracle.model, rtol=1e-9)
            found.append(noise)
        loop.epoch_end(problem.val)
    return found


def other_problem(problem, modalities, fusion, conv):
    """Return one of the same shapes with other weights, inputs and labels."""
    other = Problem(modalities, fusion, conv=conv, seed=9)
    other.train = TensorSet(other.train.inputs, (other.train.targets + 1) % 3)
    return other


@pytest.mark.parametrize(
    ("modalities", "fusion", "conv", "params"),
    [
        (2, "concat", False, "all"),
        (2, "additive", True, "conv"),
        (3, "sum", True, "conv"),
    ],
)
def test_fifty_steps_with_the_draws_of_another_run(modalities, fusion, conv, params):
    problem = Problem(modalities, fusion, conv=conv)
    given = draws(problem, OGMGE(alpha=0.3, params=params), alpha=0.3, conv=params == "conv")
    assert len(given) >= 50
    other = other_problem(problem, modalities, fusion, conv)
    loop, oracle = start(other, OGMGE(alpha=0.8, params=params), alpha=0.8, conv=params == "conv")
    noise = iter(given)
    slowed = set()
    for number, batches in enumerate(other.epochs(EPOCHS), start=1):
        loop.epoch_start(number)
        for batch in batches:
            loop.step(batch)
            oracle.step(number - 1, batch, next(noise))
            slowed |= {name for name, k in oracle.k.items() if k < 1}
            assert_same(loop.model, oracle.model, rtol=1e-9)
    assert slowed


def test_the_draws_are_independent_standard_normal_numbers_on_every_tensor_of_every_encoder():
    problem = Problem(3)
    found = draws(problem, OGMGE(alpha=0.8), alpha=0.8)
    encoders = [name for name, _ in problem.model.named_parameters() if name.startswith("encoders.")]
    assert all(list(step) == encoders for step in found)
    together = torch.stack([torch.cat([noise.flatten() for noise in step.values()]) for step in found])
    count = together.numel()
    assert count > 10_000
    assert abs(together.mean()) < 4 / count**0.5
    assert abs(together.var() - 1) < 4 * (2 / count) ** 0.5
    assert abs((together**3).mean()) < 4 * (15 / count) ** 0.5
    assert abs((together**4).mean() - 3) < 4 * (96 / count) ** 0.5
    assert (together.abs() < 1).double().mean() == pytest.approx(0.6827, abs=0.015)
    for parameter in encoders:  # none is left out, or has a noise of another size
        values = torch.stack([step[parameter] for step in found])
        assert abs(values.var() - 1) < 5 * (2 / values.numel()) ** 0.5, parameter
    neighbours = (together[1:] * together[:-1]).mean(), (together[:, 1:] * together[:, :-1]).mean()
    assert all(abs(product) < 4 / count**0.5 for product in neighbours)
    third = together.shape[1] // 3
    for first, second in ((0, 1), (0, 2), (1, 2)):
        product = (together[:, first * third : (first + 1) * third] * together[:, second * third : (second + 1) * third]).mean()
        assert abs(product) < 4 / (len(together) * third) ** 0.5


def test_the_same_random_state_gives_the_same_draws_and_another_one_others():
    problem = Problem()
    once, again = (draws(problem, OGMGE(alpha=0.8), epochs=2, alpha=0.8) for _ in range(2))
    for first, second in zip(once, again, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.allclose(once[0]["encoders.audio.layers.1.weight"], once[1]["encoders.audio.layers.1.weight"])


@pytest.mark.parametrize("conv", [False, True])
def test_there_is_no_noise_outside_the_window_nor_on_other_parameters(conv):
    problem = Problem(conv=conv)
    params = "conv" if conv else "all"
    method = OGMGE(alpha=0.8, modulation_starts=1, modulation_ends=2, params=params)
    found = draws(problem, method, epochs=4, alpha=0.8, starts=1, ends=2, conv=conv)  # which looks at the other gradients
    assert [bool(noise) for noise in found] == [False] * 3 + [True] * 6 + [False] * 3
    if conv:
        assert {name.split(".")[2] for noise in found for name in noise} == {"convolution"}


def test_alpha_zero_leaves_the_noise_alone():
    problem = Problem()
    found = draws(problem, OGMGE(alpha=0.0), epochs=2, alpha=0.0)
    assert torch.cat([noise.flatten() for step in found for noise in step.values()]).var() == pytest.approx(1.0, abs=0.1)


def test_a_tensor_of_one_element_has_no_deviation_and_stays_finite():
    problem = Problem()
    model = problem.copy()
    for encoder in model.encoders.values():
        encoder.scale = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        encoder.register_forward_hook(lambda module, _, output: output * module.scale)
    problem.model = model
    loop = Loop(model, OGMGE(alpha=0.8), LR)
    loop.epoch_start(1)
    loop.step(problem.train[:16])
    assert all(gradient.isfinite().all() for gradient in loop.hand.gradients.values())
