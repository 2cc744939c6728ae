"""MSES against a second, plain implementation: its state machine on thousands of random traces, and whole training runs."""

import copy
import math
import random
from collections import Counter

import pytest
import torch
from torch import nn

from equimodal.methods.mses import MSES, MSESRule
from equimodal.nn import JointFusion
from oracles import mses as oracles

from .by_hand import SGD, Loop, Problem, assert_same

NAMES = ("audio", "image", "text", "depth")
EPOCHS = 60
TRACES = 2100


# --- the state machine


def random_trace(generator, parts, style):
    """Return epochs of losses: falling, then rising, with ties, plateaus and repeats."""
    turn = {part: generator.randrange(1, 24) for part in parts}
    trace = []
    for epoch in range(20):
        losses = {}
        for part in parts:
            if style == "curve":
                losses[part] = 1 + 0.05 * abs(epoch - turn[part]) + generator.choice((0.0, 0.0, generator.uniform(-0.1, 0.1)))
            elif style == "grid":
                losses[part] = generator.randrange(1, 6) / 4
            else:
                losses[part] = generator.uniform(0.5, 2.0)
            if trace and generator.random() < 0.15:
                losses[part] = trace[-1][part]
        trace.append(losses)
    return trace


@pytest.mark.parametrize("style", ["curve", "grid", "noise"])
def test_the_rule_on_thousands_of_random_traces(style):
    generator = random.Random(f"traces {style}")
    kinds = Counter()
    for _ in range(TRACES // 3):
        parts = (*NAMES[: generator.choice((1, 2, 2, 3, 4))], "multimodal")
        patience = generator.choice((0, 1, 2, 5, 10))
        # Losses on the grid tie, and weights that are halves of halves leave the ties exact.
        weight = generator.choice((0.0, 0.25, 0.5, 0.75) if style == "grid" else (0.0, 0.6, generator.random()))
        rule, oracle = MSESRule(parts, patience, weight), oracles.Stopping(parts, patience, weight)
        for losses in random_trace(generator, parts, style):
            if len(oracle.stopped_at) == len(parts):
                break
            decision = rule.step(losses)
            improved, stopped = oracle.epoch(losses)
            assert set(decision.improved) == set(improved)
            assert set(decision.stopped) == set(stopped)
            assert rule.multipliers == {part: 0.0 if part in oracle.stopped_at else 1.0 for part in parts}
            assert set(rule.active) == set(parts) - oracle.stopped_at.keys()
            assert rule.finished == (len(oracle.stopped_at) == len(parts))
            assert all(math.isclose(rule.best[part], best, rel_tol=1e-14) for part, best in oracle.best.items())
            assert rule.best_epochs == oracle.best_epoch
            kinds["several stop at once"] += len(stopped) > 1
            kinds["one of them stops"] += 0 < len(stopped) < len(parts)
            kinds["nothing improves"] += not improved
            kinds["ties with the best"] += any(losses[part] == oracle.best[part] and part not in improved for part in parts)
        kinds["all stopped"] += rule.finished
        kinds["never ended"] += not rule.finished
    assert style == "noise" or kinds["ties with the best"] > 50
    del kinds["ties with the best"]
    assert min(kinds.values()) > 30, kinds


def test_patience_by_hand():
    rule = MSESRule(("audio", "multimodal"), 2, 0.0)
    audio = (1.0, 0.9, 0.9, 0.95, 0.9, 0.1)  # best in epoch 2; a tie is no improvement; 5 - 2 > 2
    decisions = [rule.step({"audio": loss, "multimodal": 1.0 - 0.1 * epoch}) for epoch, loss in enumerate(audio)]
    assert ["audio" in decision.improved for decision in decisions] == [True, True, False, False, False, False]
    assert ["audio" in decision.stopped for decision in decisions] == [False, False, False, False, True, False]
    assert rule.best["audio"] == 0.9
    assert rule.best_epochs["audio"] == 2
    assert rule.multipliers == {"audio": 0.0, "multimodal": 1.0}


def test_smoothing_looks_at_the_raw_loss_before_by_hand():
    rule = MSESRule(("audio", "multimodal"), 10, 0.6)
    for loss in (1.0, 0.5, 0.8):  # smoothed 1.0, 0.8, 0.62; a running average would be at 0.8
        decision = rule.step({"audio": loss, "multimodal": 1.0})
    assert decision.improved == ("audio",)
    assert rule.best["audio"] == pytest.approx(0.62, rel=1e-12)


def test_a_state_goes_on_where_it_was():
    generator = random.Random("state")
    for _ in range(200):
        parts = (*NAMES[:2], "multimodal")
        trace = random_trace(generator, parts, "grid")
        rule, cut = MSESRule(parts, 2, 0.6), generator.randrange(1, 12)
        for losses in trace[:cut]:
            rule.step(losses)
        again = MSESRule(parts, 2, 0.6)
        again.load_state_dict(copy.deepcopy(rule.state_dict()))
        for losses in trace[cut:]:
            if rule.finished:
                break
            assert again.step(losses) == rule.step(losses)
            assert (again.multipliers, again.best, again.best_epochs) == (rule.multipliers, rule.best, rule.best_epochs)


# --- whole runs


class Normalised(nn.Module):
    """A hidden layer with batch normalisation."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 8)
        self.norm = nn.BatchNorm1d(8)
        self.out_features = 8

    def forward(self, value):
        return torch.tanh(self.norm(self.linear(value)))


class NormalisedFusion(nn.Module):
    """A fusion with batch normalisation."""

    def __init__(self, size):
        super().__init__()
        self.norm = nn.BatchNorm1d(size)
        self.linear = nn.Linear(size, 3)

    def forward(self, features):
        return self.linear(self.norm(torch.cat(list(features.values()), dim=1)))


def problem_of(modalities, kind="plain"):
    """Return a problem on which parts overfit at different times."""
    if kind == "conv":
        return Problem(modalities, conv=True, noisy=0.5)
    problem = Problem(modalities, "late" if kind == "late" else "concat", noisy=0.5)
    if kind == "norm":
        torch.manual_seed(3)
        encoders = {name: Normalised() for name in problem.train.inputs}
        problem.model = JointFusion(encoders, 3, NormalisedFusion(8 * modalities)).double()
    return problem


CASES = [
    (3, "plain", 2, 0.6, 0.05),
    (2, "norm", 3, 0.0, 0.02),
    (3, "norm", 2, 0.6, 0.02),
    (2, "conv", 1, 0.0, 0.05),
    (2, "late", 2, 0.6, 0.05),
]


@pytest.mark.parametrize(
    ("modalities", "kind", "patience", "smoothing", "lr", "restore"),
    [*((*case, "part") for case in CASES), *((*case, "model") for case in CASES[1:4])],
)
def test_whole_runs_step_by_step(modalities, kind, patience, smoothing, lr, restore):
    problem = problem_of(modalities, kind)
    method = MSES(patience=patience, smoothing=smoothing, restore=restore)
    loop = Loop(problem.copy(), method, lr)
    oracle = oracles.MSES(problem.copy(), patience, smoothing, lr, **SGD, whole=restore == "model")
    number = 0
    for number, batches in enumerate(problem.epochs(EPOCHS), start=1):
        loop.epoch_start(number)
        for batch in batches:
            loop.step(batch)
            oracle.step(batch)
            assert_same(loop.model, oracle.model)
        loop.epoch_end(problem.val)
        oracle.epoch_end(problem.val)
        assert_same(loop.model, oracle.model)
        assert (loop.context.stop_reason is not None) == oracle.finished
        if oracle.finished:
            break
    assert len(set(oracle.rule.stopped_at.values())) > 1, oracle.rule.stopped_at
    assert number * 3 >= 50 or restore == "model"
