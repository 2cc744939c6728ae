"""OGM and OGM-GE against a second, plain implementation: coefficients, whole training steps, and what the noise is."""

import copy
import math
import random
from functools import partial

import pytest
import torch

from equimodal import fit
from equimodal.data import TensorSet
from equimodal.methods.ogm import OGM, coefficients
from equimodal.train.batches import make_source
from oracles import ogm as oracles
from oracles.training import Trainer

from .by_hand import BATCH, SGD, Loop, Problem, assert_same, moved

NAMES = ("audio", "image", "text", "depth", "touch", "smell", "taste", "balance")
LR = 0.1
EPOCHS = 17
"""Of three steps each, 51 steps."""


# --- the coefficients


@pytest.mark.parametrize(("alpha", "k"), [(0.8, 0.166345), (0.1, 0.851115)])
def test_golden_numbers(alpha, k):
    found = coefficients({"audio": 10.0, "visual": 15.0}, alpha)
    assert found["visual"] == pytest.approx(k, abs=5e-7)
    assert found["audio"] == 1


def test_two_modalities_are_the_paper_on_random_scores():
    generator = random.Random("two")
    sides, tensor = set(), partial(torch.tensor, dtype=torch.float64)
    for _ in range(2000):
        alpha = generator.choice((0.0, 0.1, 0.3, 0.8, 1.0, 3.0))
        s_a, s_v = (generator.choice((0.25, 1.0, 7.5, generator.uniform(1e-6, 64))) for _ in range(2))
        k_v, k_a = oracles.of_the_paper(s_v, s_a, alpha)
        for scores in ({"audio": s_a, "visual": s_v}, {"audio": tensor(s_a), "visual": tensor(s_v)}):
            found = coefficients(scores, alpha)
            assert float(found["visual"]) == pytest.approx(k_v, rel=1e-12, abs=1e-15)
            assert float(found["audio"]) == pytest.approx(k_a, rel=1e-12, abs=1e-15)
        sides.add((s_v > s_a) - (s_v < s_a))
    assert sides == {-1, 0, 1}


@pytest.mark.parametrize("count", range(2, 9))
def test_more_modalities_are_the_oracle(count):
    generator = random.Random(f"{count}")
    for _ in range(300):
        alpha = generator.choice((0.0, 0.1, 0.3, 0.8, 1.0))
        values = generator.choice(
            (
                [generator.uniform(0.01, 64) for _ in range(count)],
                [generator.choice((1.0, 2.0, 4.0)) for _ in range(count)],
                [generator.uniform(0.01, 64)] * count,
            )
        )
        scores = dict(zip(NAMES, values, strict=False))
        found = coefficients(scores, alpha)
        assert tuple(found) == NAMES[:count]
        expected = oracles.coefficients(scores, alpha)
        assert {name: float(k) for name, k in found.items()} == pytest.approx(expected, rel=1e-12, abs=1e-15), scores


@pytest.mark.parametrize("count", range(2, 9))
@pytest.mark.parametrize("value", [0.1, 0.7, 1 / 3, 5.3, 21.1])
def test_of_equal_scores_the_first_is_modulated_and_no_other(count, value):
    # Also where the mean of equal numbers is rounded to another number.
    for kind in (float, lambda number: torch.tensor(number, dtype=torch.float32)):
        found = [float(k) for k in coefficients(dict.fromkeys(NAMES[:count], kind(value)), 0.3).values()]
        assert found == [pytest.approx(1 - math.tanh(0.3), rel=1e-6), *[1.0] * (count - 1)]


@pytest.mark.parametrize("scores", [(0.0, 0.0), (0.0, 3.0), (3.0, 0.0), (0.0, 0.0, 3.0), (0.0, 0.0, 0.0)])
def test_scores_of_zero_give_coefficients_between_zero_and_one(scores):
    found = coefficients(dict(zip(NAMES, scores, strict=False)), 0.3)
    assert all(0 <= float(k) <= 1 for k in found.values())
    for name, score in zip(NAMES, scores, strict=False):
        assert (float(found[name]) < 1) == (score == max(scores) > 0)


# --- whole steps


def compare(problem, method, oracle, epochs=EPOCHS, per_epoch=None):
    """Train the library's method by its hooks and the oracle on the same batches, comparing weights after every step."""
    loop = Loop(problem.copy(), method, LR)
    before = {name: value.clone() for name, value in oracle.model.named_parameters()}
    modulated, steps = set(), 0
    for number, batches in enumerate(problem.epochs(epochs, batches=per_epoch), start=1):
        loop.epoch_start(number)
        for batch in batches:
            loop.step(batch)
            oracle.step(number - 1, batch)
            assert_same(loop.model, oracle.model)
            modulated |= {name for name, k in oracle.k.items() if k < 1}
            steps += 1
        loop.epoch_end(problem.val)
    assert steps >= 50 or per_epoch
    assert moved(loop.model, before)
    return modulated


def plain(problem, **options):
    return oracles.OGM(problem.copy(), lr=LR, momentum=SGD["momentum"], weight_decay=SGD["weight_decay"], **options)


@pytest.mark.parametrize("fusion", ["concat", "sum", "additive"])
@pytest.mark.parametrize("modalities", [2, 3])
def test_fifty_steps_on_all_parameters(fusion, modalities):
    problem = Problem(modalities, fusion)
    modulated = compare(problem, OGM(alpha=0.5, params="all"), plain(problem, alpha=0.5))
    assert len(modulated) > 1


@pytest.mark.parametrize(
    ("modalities", "fusion", "params"), [(2, "concat", "conv"), (3, "concat", "conv"), (2, "additive", "conv"), (3, "sum", "all")]
)
def test_fifty_steps_of_convolutions(fusion, params, modalities):
    problem = Problem(modalities, fusion, conv=True)
    compare(problem, OGM(alpha=0.8, params=params), plain(problem, alpha=0.8, conv=params == "conv"))


def test_fifty_steps_with_trained_heads():
    problem = Problem(2, "additive")
    compare(problem, OGM(alpha=0.5, heads="trained"), plain(problem, alpha=0.5, probes=False))


@pytest.mark.parametrize(("starts", "ends"), [(0, 0), (3, 9), (16, 16), (17, 50)])
def test_the_window_counts_epochs_from_zero_and_holds_both_ends(starts, ends):
    problem = Problem()
    method = OGM(alpha=0.8, modulation_starts=starts, modulation_ends=ends)
    compare(problem, method, plain(problem, alpha=0.8, starts=starts, ends=ends), per_epoch=1)


def test_the_window_ends_after_epoch_number_fifty_by_default():
    problem = Problem()
    compare(problem, OGM(alpha=0.8), plain(problem, alpha=0.8), epochs=54, per_epoch=1)


@pytest.mark.parametrize(("modalities", "fusion"), [(2, "additive"), (3, "concat")])
def test_samples_that_lack_a_modality(modalities, fusion):
    problem = Problem(modalities, fusion)
    generator = torch.Generator().manual_seed(1)
    lacking = torch.randint(0, modalities + 3, (48,), generator=generator)
    present = {name: lacking != index for index, name in enumerate(list(problem.train.inputs)[1:])}
    problem.train = TensorSet(problem.train.inputs, problem.train.targets, present)
    compare(problem, OGM(alpha=0.8), plain(problem, alpha=0.8))


def test_a_tie_of_equal_streams_slows_the_first():
    problem = Problem(2, "additive")
    data = TensorSet(dict.fromkeys(problem.train.inputs, problem.train.inputs["image"]), problem.train.targets)
    with torch.no_grad():
        for parts in (problem.model.encoders, problem.model.fusion.linears):
            parts["audio"].load_state_dict(parts["image"].state_dict())
    loop, oracle = Loop(problem.copy(), OGM(alpha=0.8), LR), plain(problem, alpha=0.8)
    loop.epoch_start(1)
    loop.step(data[:16])
    oracle.step(0, data[:16])
    assert oracle.scores["audio"] == oracle.scores["image"]
    assert_same(loop.model, oracle.model)
    slowed, other = (loop.hand.gradients[f"encoders.{name}.layers.1.weight"] for name in ("audio", "image"))
    torch.testing.assert_close(slowed, (1 - math.tanh(0.8)) * other, rtol=1e-10, atol=0)


@pytest.mark.parametrize("modalities", [2, 3])
def test_alpha_zero_is_plain_training_on_the_multimodal_loss(modalities):
    problem = Problem(modalities)
    loop, oracle = Loop(problem.copy(), OGM(alpha=0.0), LR), Trainer(problem.copy(), LR, **SGD)
    for number, batches in enumerate(problem.epochs(EPOCHS), start=1):
        loop.epoch_start(number)
        for batch in batches:
            loop.step(batch)
            losses = oracle.losses(batch)
            gradients = oracle.gradients(losses["multimodal"])
            oracle.move(gradients)
            for name, value in oracle.parameters.items():
                if not name.startswith("heads."):  # which the multimodal loss does not reach
                    torch.testing.assert_close(loop.model.get_parameter(name), value, rtol=1e-10, atol=1e-13)


def trained(problem, method, epochs=EPOCHS, **options):
    """Run the library's own loop and return the weights after every epoch, and the batches it used."""
    model, seen = problem.copy(), []
    fit(
        model,
        problem.train,
        problem.val,
        epochs=epochs,
        method=method,
        optimizer=partial(torch.optim.SGD, lr=LR, **SGD),
        batch_size=BATCH,
        seed=5,
        device="cpu",
        on_epoch=lambda record: seen.append(copy.deepcopy(model.state_dict())),
        **options,
    )
    source = make_source(problem.train, "train", lambda *_: None, batch_size=BATCH, device=torch.device("cpu"), seed=5)
    return seen, [[share.batch for share in source.epoch(number)] for number in range(1, epochs + 1)]


@pytest.mark.parametrize(("fusion", "conv"), [("sum", False), ("concat", True)])
def test_fit_is_the_oracle(fusion, conv):
    problem = Problem(2, fusion, conv=conv)
    method = OGM(alpha=0.5, modulation_starts=2, modulation_ends=12, params="conv" if conv else "all")
    seen, epochs = trained(problem, method)
    oracle = plain(problem, alpha=0.5, starts=2, ends=12, conv=conv)
    for number, batches in enumerate(epochs):
        for batch in batches:
            oracle.step(number, batch)
        assert_same(seen[number], oracle.model.state_dict())


def test_accumulated_batches_are_one_step_with_one_score():
    problem = Problem(2, "additive")
    seen, _ = trained(problem, OGM(alpha=0.5), epochs=30, accumulate=3)
    oracle = plain(problem, alpha=0.5)
    modulated = set()
    for number in range(30):
        oracle.step(number, problem.train[:])
        modulated |= {name for name, k in oracle.k.items() if k < 1}
        assert_same(seen[number], oracle.model.state_dict())
    assert len(modulated) > 1
