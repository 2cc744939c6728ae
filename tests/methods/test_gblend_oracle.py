"""G-Blend against a second, plain implementation: the weights, the branches trained alone, and whole blended runs."""

import copy
import random
from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import StepLR

from equimodal import fit
from equimodal.data import TensorSet
from equimodal.methods.base import Branch
from equimodal.methods.gblend import GBlend, weights
from equimodal.train.batches import make_source
from equimodal.train.seeds import derived_seed
from oracles import gblend as oracles
from oracles.mslr import step_lr

from .by_hand import BATCH, SGD, Loop, Problem, assert_same

LR = 0.1
HEADS = ("multimodal", "audio", "image", "text", "depth")


# --- the weights


def test_golden_numbers():
    found = weights({"multimodal": 0.5, "audio": 0.3, "image": 0.6}, {"multimodal": 0.2, "audio": 0.5, "image": 0.4})
    assert found == pytest.approx({"multimodal": 0.716332, "audio": 0.068768, "image": 0.214900}, abs=5e-7)


def test_the_weights_on_random_gains_and_overfits():
    generator = random.Random("weights")
    uniform = 0
    for _ in range(3000):
        heads = HEADS[: generator.choice((2, 3, 4, 5))]
        floor = generator.choice((1e-8, 1e-4, 0.01))
        gains = {head: generator.choice((0.0, -0.5, generator.uniform(-1, 1), 1e-6)) for head in heads}
        overfits = {head: generator.choice((0.0, 1e-5, generator.uniform(-1, 1))) for head in heads}
        before = dict.fromkeys(heads, (1.0, 1.0))  # L^T, L^V
        after = {head: (1.0 - gains[head] - overfits[head], 1.0 - gains[head]) for head in heads}
        measured = {head: 1.0 - after[head][1] for head in heads}, {head: after[head][1] - after[head][0] for head in heads}
        found = weights(*measured, floor=floor)
        assert tuple(found) == heads
        assert found == pytest.approx(oracles.weights(before, after, floor), rel=1e-12, abs=1e-15)
        assert sum(found.values()) == pytest.approx(1.0, rel=1e-12)
        assert all(weight >= 0 for weight in found.values())
        if all(gain <= 0 for gain in measured[0].values()):
            uniform += 1
            assert set(found.values()) == {1 / len(heads)}
        else:
            assert all((found[head] == 0) == (measured[0][head] <= 0) for head in heads)
    assert uniform > 50


def test_the_sign_and_the_scale_of_the_numbers_do_not_matter():
    gains, overfits = {"multimodal": 0.5, "audio": 0.3}, {"multimodal": 0.2, "audio": 0.5}
    expected = weights(gains, overfits)
    assert weights(gains, {"multimodal": -0.2, "audio": 0.5}) == pytest.approx(expected)
    assert weights({"multimodal": 5.0, "audio": 3.0}, overfits) == pytest.approx(expected)
    assert weights(gains, {"multimodal": 0.4, "audio": 1.0}) == pytest.approx(expected)


# --- whole runs


class Watching(GBlend):
    """Keeps what is asked of the branches and what they answer."""

    def epoch_start(self, context):
        ask = context.branch
        self.asked = getattr(self, "asked", [])

        def branch(method, train, epochs, watch):
            answer = ask(method, train, epochs, watch)
            head = getattr(method, "modality", "multimodal")
            self.asked.append({"epoch": context.epoch, "head": head, "train": train, "epochs": epochs, "watch": watch, "answer": answer})
            return answer

        context.branch = branch
        super().epoch_start(context)


def rows(data):
    """Return the samples as tuples, to see which are where."""
    return [tuple(torch.cat([value[i].flatten() for value in data.inputs.values()]).tolist()) for i in range(len(data))]


def parts_of(problem, call):
    """Return T and V of a branch, having looked whether they are the parts of the training split."""
    training = call["train"]
    (held_out,) = (data for data in call["watch"].values() if data is not training)
    assert len(call["watch"]) == 2
    assert sorted(rows(training) + rows(held_out)) == sorted(rows(problem.train))
    return training, held_out


def recorded(call, training):
    """Return the pairs L^T, L^V of a branch's own head, before and after."""
    (on_training,) = (name for name, data in call["watch"].items() if data is training)
    (held_out,) = (name for name in call["watch"] if name != on_training)
    return [(losses[on_training][call["head"]], losses[held_out][call["head"]]) for losses in (call["answer"].before, call["answer"].after)]


def problem_of(modalities, fusion="concat", masks=False):
    problem = Problem(modalities, fusion, noisy=0.1)
    if masks:
        generator = torch.Generator().manual_seed(1)
        lacking = torch.randint(0, modalities + 2, (48,), generator=generator)
        present = {name: lacking != index for index, name in enumerate(problem.train.inputs)}
        problem.train = TensorSet(problem.train.inputs, problem.train.targets, present)
    return problem


def by_hand(model):
    """Return a trainer of branches: the library's methods in a loop by hand, on all samples at once."""

    def branch(method, train, epochs, watch):
        loop = Loop(copy.deepcopy(model), method, LR)

        def measured():
            loop.model.eval()
            found = {}
            for name, data in watch.items():
                with torch.no_grad():
                    prediction = loop.model(data.inputs, **({"present": data.present} if data.present else {}))
                    losses = method.losses(prediction, data[:])
                found[name] = {head: float(loss) for head, loss in losses.items()}
            return found

        before = measured()
        for number in range(1, epochs + 1):
            loop.epoch_start(number)
            loop.step(train[:])
        return Branch(before, measured())

    return branch


@pytest.mark.parametrize(
    ("modalities", "fusion", "schedule", "masks"),
    [(2, "concat", "offline", False), (3, "sum", "online", False), (2, "late", "online", False), (2, "concat", "online", True)],
)
def test_fifty_steps_by_hand(modalities, fusion, schedule, masks):
    problem = problem_of(modalities, fusion, masks)
    method = Watching(schedule=schedule, super_epoch=6, fraction=0.25)
    loop, oracle = Loop(problem.copy(), method, LR), oracles.Blend(problem.copy(), LR, **SGD)
    torch.manual_seed(0)
    data = method.training_data(problem.train)
    assert len(data) == (48 if schedule == "offline" else 36)
    seen, blend = [], {}
    for number in range(1, 19):
        asked = len(getattr(method, "asked", []))
        loop.epoch_start(number, epochs=18, train=problem.train, branch=by_hand(loop.model))
        calls = method.asked[asked:]
        assert bool(calls) == (number == 1 if schedule == "offline" else number in (1, 7, 13))
        if calls:
            training, held_out = parts_of(problem, calls[0])
            assert len(held_out) == 12
            length = 18 if schedule == "offline" else 6
            assert {call["epochs"] for call in calls} == {length}
            blend = oracles.estimate(oracle.model, [[training[:]]] * length, training, held_out, LR, **SGD)
            assert method.current_weights == pytest.approx(blend, rel=1e-10, abs=1e-15)
            seen.append(blend)
        oracle.model.train()
        for indices in torch.randperm(len(data), generator=torch.Generator().manual_seed(number)).split(12)[:3]:
            loop.step(data[indices])
            oracle.step(data[indices], blend)
            assert_same(loop.model, oracle.model)
        loop.epoch_end(problem.val)
    assert all(sum(found.values()) == pytest.approx(1.0) for found in seen)
    assert max(max(found.values()) - min(found.values()) for found in seen) > 0.1


@pytest.mark.parametrize(
    ("modalities", "fusion", "conv", "schedule", "gamma"),
    [(2, "concat", False, "offline", 0.7), (3, "late", False, "online", 0.7), (2, "concat", True, "online", None)],
)
def test_fit_is_the_oracle(modalities, fusion, conv, schedule, gamma):
    problem = Problem(modalities, fusion, conv=True) if conv else problem_of(modalities, fusion)
    method = Watching(schedule=schedule, super_epoch=6, fraction=0.25)
    model, seen = problem.copy(), []
    fit(
        model,
        problem.train,
        problem.val,
        epochs=17,
        method=method,
        optimizer=partial(torch.optim.SGD, lr=LR, **SGD),
        scheduler=partial(StepLR, step_size=4, gamma=gamma) if gamma else None,
        batch_size=BATCH,
        seed=5,
        device="cpu",
        on_epoch=lambda record: seen.append((copy.deepcopy(model.state_dict()), method.current_weights)),
    )
    oracle = oracles.Blend(problem.copy(), LR, **SGD)
    calls = {(call["epoch"], call["head"]): call for call in method.asked}
    heads = list(dict.fromkeys(head for _, head in calls))
    training, held_out = parts_of(problem, method.asked[0])
    sources = partial(make_source, check=lambda *_: None, batch_size=BATCH, device=torch.device("cpu"))
    run = sources(problem.train if schedule == "offline" else training, "train", seed=5)
    blend = {}
    for number in range(1, 18):
        if (number, "multimodal") in calls:
            length = 17 if schedule == "offline" else 6
            epochs = {}
            for place, head in enumerate(heads, start=1):
                source = sources(training, "branch", seed=derived_seed(5, "branch", number, place))
                epochs[head] = [[share.batch for share in source.epoch(passed)] for passed in range(1, length + 1)]
                assert calls[number, head]["epochs"] == length
                assert calls[number, head]["train"] is training
            factors = [step_lr(number - 1 + passed, 4, gamma or 1.0) for passed in range(length)]
            measured = {head: recorded(calls[number, head], training) for head in heads}
            for head, losses in measured.items():
                expected = oracles.branch(oracle.model, head, epochs[head], training, held_out, LR, **SGD, factors=factors)
                assert [*losses[0], *losses[1]] == pytest.approx([*expected[0], *expected[1]], rel=1e-10)
            blend = oracles.weights(*({head: losses[when] for head, losses in measured.items()} for when in (0, 1)))
            assert seen[number - 1][1] == pytest.approx(blend, rel=1e-10, abs=1e-15)
        oracle.lr = LR * step_lr(number - 1, 4, gamma or 1.0)
        oracle.model.train()
        for share in run.epoch(number):
            oracle.step(share.batch, blend)
        assert_same(seen[number - 1][0], oracle.model.state_dict())
    assert {number for number, _ in calls} == ({1} if schedule == "offline" else {1, 7, 13})


def test_fixed_weights():
    problem = problem_of(2)
    given = {"multimodal": 0.37, "audio": 0.36, "image": 0.27}
    loop, oracle = Loop(problem.copy(), GBlend(weights=given), LR), oracles.Blend(problem.copy(), LR, **SGD)
    for number, batches in enumerate(problem.epochs(17), start=1):
        loop.epoch_start(number)
        for batch in batches:
            loop.step(batch)
            oracle.step(batch, given)
            assert_same(loop.model, oracle.model)


@pytest.mark.parametrize("schedule", ["offline", "online"])
def test_a_split_of_which_the_held_out_part_just_suffices_is_taken(schedule):
    problem = Problem(2)
    data = problem.train.subset(torch.arange(100) % 48)
    fit(problem.copy(), data, problem.val, epochs=1, method=GBlend(schedule=schedule, super_epoch=1, fraction=0.1), device="cpu")
