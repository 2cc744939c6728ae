"""MSES over whole runs: a stopped part has its best weights and buffers back and keeps them to the last bit; ``fit`` is the oracle."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

from equimodal import fit
from equimodal.methods.mses import MSES
from equimodal.nn import JointFusion
from equimodal.train.batches import make_source
from oracles import mses as oracles
from oracles.training import owner

from .by_hand import BATCH, SGD, Loop, assert_same
from .test_mses_oracle import EPOCHS, problem_of

LR = 0.02


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def of_part(state, part):
    return {name: value for name, value in state.items() if owner(name) == part}


def identical(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


OPTIMIZERS = {
    "sgd": (torch.optim.SGD, 0.05, SGD),
    "nesterov": (torch.optim.SGD, 0.05, {**SGD, "nesterov": True}),
    "adam": (torch.optim.Adam, 0.05, {"weight_decay": 0.01}),
    "adamw": (torch.optim.AdamW, 0.05, {"weight_decay": 0.1}),
    "rmsprop": (torch.optim.RMSprop, 0.02, {"momentum": 0.9, "weight_decay": 0.01}),
}


@pytest.mark.parametrize(
    ("kind", "optimizer", "scheduled"),
    [*(("norm", name, False) for name in OPTIMIZERS), ("conv", "sgd", True), ("conv", "adamw", True)],
)
def test_a_stopped_part_gets_its_best_state_back_and_no_bit_of_it_moves(kind, optimizer, scheduled):
    problem = problem_of(2, kind)
    parts = ("audio", "image", "multimodal")
    made, lr, options = OPTIMIZERS[optimizer]
    loop = Loop(
        problem.copy(), MSES(patience=1), lr, made, scheduler=partial(StepLR, step_size=8, gamma=0.9) if scheduled else None, **options
    )
    rule = oracles.Stopping(parts, 1, 0.0)
    ends, frozen = {}, {}
    for number, batches in enumerate(problem.epochs(EPOCHS), start=1):
        loop.epoch_start(number)
        for batch in batches:
            before = state_of(loop.model)
            loop.step(batch)
            for part in parts:
                still = identical(of_part(state_of(loop.model), part), of_part(before, part))
                assert still == (part in frozen), (number, part)
                if part in frozen:
                    assert identical(of_part(state_of(loop.model), part), frozen[part])
        before = state_of(loop.model)
        _, stopped = rule.epoch(loop.epoch_end(problem.val))
        ends[number] = state_of(loop.model)
        for part in parts:
            after = of_part(ends[number], part)
            if part in stopped:
                frozen[part] = of_part(ends[rule.best_epoch[part]], part)
                assert identical(after, frozen[part])
                assert not identical(after, of_part(before, part))
            else:  # neither another part's stop nor anything else touches it
                assert identical(after, of_part(before, part))
        if len(frozen) == len(parts) and not stopped:  # the epoch at rest, which scores what was put together
            assert loop.context.stop_reason
            return
        assert loop.context.stop_reason is None
    assert frozen


def run(problem, method, on_epoch, epochs=EPOCHS):
    made = partial(torch.optim.SGD, lr=LR, **SGD)
    shared = {"epochs": epochs, "batch_size": BATCH, "seed": 5, "device": "cpu"}
    model = problem.copy()
    return fit(model, problem.train, problem.val, method=method, optimizer=made, on_epoch=partial(on_epoch, model), **shared)


def batches_of(problem, number):
    source = make_source(problem.train, "train", lambda *_: None, batch_size=BATCH, device=torch.device("cpu"), seed=5)
    return [share.batch for share in source.epoch(number)]


@pytest.mark.parametrize(("modalities", "kind", "restore"), [(2, "norm", "part"), (3, "plain", "model"), (2, "late", "part")])
def test_fit_is_the_oracle(modalities, kind, restore):
    problem = problem_of(modalities, kind)
    seen = []
    method = MSES(patience=2, smoothing=0.6, restore=restore)
    done = run(problem, method, lambda model, record: seen.append((record, state_of(model))))
    oracle = oracles.MSES(problem.copy(), 2, 0.6, LR, **SGD, whole=restore == "model")
    for number in range(1, EPOCHS + 1):
        active = {part: 0.0 if part in oracle.rule.stopped_at else 1.0 for part in oracle.rule.parts}
        for batch in batches_of(problem, number):
            oracle.step(batch)
        losses = oracle.epoch_end(problem.val)
        record, weights = seen[number - 1]
        assert_same(weights, oracle.model.state_dict())
        assert record["losses"]["val"] == pytest.approx(losses, rel=1e-10)
        assert {part: value for part, value in record["multipliers"].items() if part in active} == {
            part: active[part] for part in record["multipliers"]
        }
        if oracle.finished:
            break
    assert len(oracle.rule.stopped_at) > 1
    assert len(seen) == number
    assert (done.result["stopped"] is not None) == oracle.finished


def test_a_patience_that_is_never_used_up_is_plain_training():
    problem = problem_of(2, "norm")
    states = {"joint": [], "mses": []}
    run(problem, "joint", lambda model, record: states["joint"].append(state_of(model)), epochs=8)
    run(problem, MSES(patience=1000), lambda model, record: states["mses"].append(state_of(model)), epochs=8)
    assert all(identical(first, second) for first, second in zip(states["joint"], states["mses"], strict=True))


class NormalisedSum(nn.Module):
    """A late fusion with batch statistics and no parameters."""

    of_heads = True

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3, affine=False)

    def forward(self, logits):
        return self.norm(sum(logits.values()))


def test_normalisation_without_parameters_goes_on_as_long_as_its_part_does():
    problem = problem_of(2, "norm")
    problem.model = JointFusion(dict(problem.model.encoders.items()), 3, NormalisedSum()).double()
    states = {"joint": [], "mses": []}
    run(problem, "joint", lambda model, record: states["joint"].append(state_of(model)), epochs=8)
    run(problem, MSES(patience=1000), lambda model, record: states["mses"].append(state_of(model)), epochs=8)
    assert all(identical(first, second) for first, second in zip(states["joint"], states["mses"], strict=True))
