"""MSLR-K, MSLR-S and MSLR-D against a second, plain implementation: the rules, and whole training runs under schedulers."""

import copy
import random
from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from equimodal import fit
from equimodal.methods.base import EpochContext
from equimodal.methods.mslr import MSLRDynamic, MSLRKeep, MSLRSmooth, dynamic, smooth
from equimodal.train.batches import make_source
from oracles import mslr as oracles

from .by_hand import BATCH, SGD, Loop, Problem, assert_same

NAMES = ("audio", "image", "text")
RATES = {"audio": 0.03, "image": 0.2, "text": 0.008}
LR = 0.05
"""The optimizer's own rate, which the multimodal part has."""
EPOCHS = 17
"""Of three steps each, 51 steps."""
SCHEDULERS = {
    "step": (partial(StepLR, step_size=4, gamma=0.5), partial(oracles.step_lr, size=4, gamma=0.5)),
    "cosine": (partial(CosineAnnealingLR, T_max=20), partial(oracles.cosine, period=20)),
}


def rates_of(modalities):
    return {name: RATES[name] for name in NAMES[:modalities]}


# --- the rules


def test_golden_numbers():
    window = [0.40, 0.45, 0.50, 0.50, 0.55]
    assert dynamic([*window, 0.60], 5) == pytest.approx(1.25, rel=1e-12)
    assert 1.1 * dynamic([*window, 0.60], 5) == pytest.approx(1.375, rel=1e-12)


def test_smooth_is_the_formula():
    generator = random.Random("smooth")
    for _ in range(500):
        names = NAMES[: generator.choice((2, 3))]
        rates = {name: 10 ** generator.uniform(-5, 0) for name in names}
        strength = generator.choice((0.0, 0.5, 1.0, generator.random()))
        assert smooth(rates, strength) == pytest.approx(oracles.smooth(rates, strength), rel=1e-12)
    assert smooth(rates, 0.0) == rates
    assert len({round(rate, 15) for rate in smooth(rates, 1.0).values()}) == 1


def multipliers_over(method, rates, trace):
    """Drive a method by its hooks with given accuracies and return the effective rates after every epoch."""
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(len(rates) + 1)]
    groups = [{"params": [weight], "modality": name} for weight, name in zip(weights, ("multimodal", *rates), strict=True)]
    optimizer = torch.optim.SGD(groups, lr=LR)
    method.attach(optimizer)
    found = []
    for number, accuracies in enumerate(trace, start=1):
        context = EpochContext(number, scores={"val": {"multimodal": 0.5, **accuracies}, "train": {"multimodal": 0.5, **accuracies}})
        method.epoch_start(context)
        method.epoch_end(context)
        found.append({name: LR * value for name, value in method.multipliers().items() if name in rates})
    return found


@pytest.mark.parametrize("compound", [False, True])
def test_the_dynamic_rule_on_random_traces(compound):
    generator = random.Random(f"dynamic {compound}")
    changed = 0
    for _ in range(150):
        names = NAMES[: generator.choice((2, 3))]
        rates = {name: RATES[name] for name in names}
        window = generator.choice((1, 2, 5, 7))
        level = {name: generator.uniform(0.3, 0.6) for name in names}
        trace = [{name: min(1.0, max(0.15, level[name] + generator.uniform(-0.1, 0.1))) for name in names} for _ in range(24)]
        rules = {name: oracles.Dynamic(window, compound) for name in names}
        found = multipliers_over(MSLRDynamic(rates, window=window, compound=compound), rates, trace)
        for accuracies, ours in zip(trace, found, strict=True):
            expected = {name: rates[name] * rules[name].step(accuracies[name]) for name in names}
            assert ours == pytest.approx(expected, rel=1e-12)
            changed += expected != rates
    assert changed > 300


def test_accuracies_of_zero_leave_the_rate_alone():
    rates = rates_of(2)
    for compound in (False, True):
        method = MSLRDynamic(rates, window=2, compound=compound)
        found = multipliers_over(method, rates, [{"audio": 0.0, "image": 0.5}] * 8)
        assert found[-1] == pytest.approx(rates)


# --- whole runs


def method_and_oracle(kind, problem, modalities, fusion, heads, factor, **options):
    rates = rates_of(modalities)
    trained = "all" if heads == "trained" else "multimodal" if fusion == "late" else "probes"
    dynamic_rules = {}
    if kind == "keep":
        method, used = MSLRKeep(rates, heads=heads), rates
    elif kind == "smooth":
        method, used = MSLRSmooth(rates, strength=0.3, heads=heads), oracles.smooth(rates, 0.3)
    else:
        compound = kind == "compound"
        method, used = MSLRDynamic(rates, window=3, compound=compound, heads=heads), rates
        dynamic_rules = {name: oracles.Dynamic(3, compound) for name in rates}
    used = {"multimodal": LR, **used}
    return method, oracles.MSLR(problem.copy(), used, trained, SGD["momentum"], SGD["weight_decay"], factor, dynamic_rules)


def compare(problem, method, oracle, scheduler, lr=LR, overrides=None):
    """Train by hooks and by the oracle, and compare weights after every step."""
    loop = Loop(problem.copy(), method, lr, scheduler=scheduler, overrides=overrides)
    ratios = set()
    for number, batches in enumerate(problem.epochs(EPOCHS), start=1):
        loop.epoch_start(number)
        oracle.model.train()
        for batch in batches:
            loop.step(batch)
            oracle.step(batch)
            assert_same(loop.model, oracle.model)
        loop.epoch_end(problem.val)
        oracle.epoch_end(problem.val)
        ratios |= set(oracle.ratios.values())
    return ratios


@pytest.mark.parametrize("kind", ["keep", "smooth", "dynamic", "compound"])
@pytest.mark.parametrize(
    ("modalities", "fusion", "heads", "schedule"),
    [(2, "late", "probes", "step"), (3, "concat", "trained", "cosine")],
)
def test_fifty_steps_under_schedulers(kind, modalities, fusion, heads, schedule):
    problem = Problem(modalities, fusion, noisy=0.4, seed=1)
    scheduler, factor = SCHEDULERS[schedule]
    method, oracle = method_and_oracle(kind, problem, modalities, fusion, heads, factor)
    ratios = compare(problem, method, oracle, scheduler)
    assert (len(ratios) > 1) == (kind in ("dynamic", "compound"))


@pytest.mark.parametrize(
    ("modalities", "fusion", "heads"),
    [(2, "late", "trained"), (3, "concat", "probes"), (2, "concat", "probes"), (3, "sum", "trained")],
)
def test_fifty_steps_of_other_fusions_and_heads(modalities, fusion, heads):
    problem = Problem(modalities, fusion)
    method, oracle = method_and_oracle("keep", problem, modalities, fusion, heads, lambda epoch: 1.0)
    compare(problem, method, oracle, None)


def test_the_rates_do_not_depend_on_the_optimizers_own():
    problem = Problem(2, "late")
    method, oracle = method_and_oracle("keep", problem, 2, "late", "probes", lambda epoch: 1.0)
    compare(problem, method, oracle, None, lr=0.7)
    method, oracle = method_and_oracle("keep", problem, 2, "late", "probes", lambda epoch: 1.0)
    compare(problem, method, oracle, None, overrides={"image": {"lr": 0.001}})


def test_the_multimodal_part_may_have_its_own_rate():
    problem = Problem(2)
    _, oracle = method_and_oracle("keep", problem, 2, "concat", "trained", lambda epoch: 1.0)
    oracle.rates["multimodal"] = 0.11
    compare(problem, MSLRKeep({**rates_of(2), "multimodal": 0.11}), oracle, None)


@pytest.mark.parametrize(
    ("kind", "fusion", "heads"),
    [
        ("keep", "late", "probes"),
        ("smooth", "concat", "probes"),
        ("dynamic", "late", "probes"),
        ("dynamic", "concat", "trained"),
        ("compound", "late", "trained"),
    ],
)
def test_fit_is_the_oracle(kind, fusion, heads):
    problem = Problem(2, fusion, noisy=0.4, seed=1)
    method, oracle = method_and_oracle(kind, problem, 2, fusion, heads, partial(oracles.step_lr, size=4, gamma=0.5))
    model, seen = problem.copy(), []
    fit(
        model,
        problem.train,
        problem.val,
        epochs=EPOCHS,
        method=method,
        optimizer=partial(torch.optim.SGD, lr=LR, **SGD),
        scheduler=partial(StepLR, step_size=4, gamma=0.5),
        batch_size=BATCH,
        seed=5,
        device="cpu",
        on_epoch=lambda record: seen.append(copy.deepcopy(model.state_dict())),
    )
    source = make_source(problem.train, "train", lambda *_: None, batch_size=BATCH, device=torch.device("cpu"), seed=5)
    for number in range(EPOCHS):
        oracle.model.train()
        for share in source.epoch(number + 1):
            oracle.step(share.batch)
        oracle.epoch_end(problem.val)
        assert_same(seen[number], oracle.model.state_dict())
