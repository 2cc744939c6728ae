"""MSLR in use: what it refuses, the rates that are in force, and every scheduler of torch beside it."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch

from equimodal import InputError, fit, modality_groups
from equimodal.cli import main
from equimodal.methods.base import EpochContext
from equimodal.methods.joint import Joint
from equimodal.methods.mslr import MSLRDynamic, MSLRKeep, MSLRSmooth, dynamic, smooth
from equimodal.methods.vanilla import Vanilla
from equimodal.testing import tiny_problem
from train.examples import Killed, assert_same_run, one_line, same
from train.test_resume import SCHEDULERS

RATES = {"audio": 0.01, "image": 0.4}
LR = 0.1
SGD = partial(torch.optim.SGD, lr=LR, momentum=0.9)
METHODS = (MSLRKeep, MSLRSmooth, MSLRDynamic)


def start(method, *, fusion="concat", **options):
    problem = tiny_problem(fusion=fusion)
    chosen = {"epochs": 3, "batch_size": 16, "seed": 3, "device": "cpu", "optimizer": SGD, **options}
    return fit(problem.model, problem.train, problem.val, method=method, **chosen)


# --- what is refused


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rates": {}}, "rates = {}: the best unimodal learning rate of every modality is needed, as {'audio': 0.001, ...}"),
        ({"rates": 0.1}, "rates = 0.1: the best unimodal learning rate of every modality is needed, as {'audio': 0.001, ...}"),
        ({"rates": {"audio": 0.0, "image": 0.1}}, "the rate of 'audio' = 0.0: a number above 0 is needed"),
        ({"rates": {"audio": 0.1, "image": float("inf")}}, "the rate of 'image' = inf: a number above 0 is needed"),
        ({"rates": {"audio": "0.1", "image": 0.1}}, "the rate of 'audio' = '0.1': a number above 0 is needed"),
        ({"rates": RATES, "heads": "none"}, "heads = 'none': 'trained' or 'probes' is needed"),
    ],
    ids=str,
)
def test_values_out_of_range(method, options, said):
    with pytest.raises(InputError) as caught:
        method(**options)
    assert one_line(caught) == said


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (partial(MSLRSmooth, RATES, strength=-0.1), "strength = -0.1: a number from 0 (keep) to 1 (one common rate) is needed"),
        (partial(MSLRSmooth, RATES, strength=1.5), "strength = 1.5: a number from 0 (keep) to 1 (one common rate) is needed"),
        (partial(smooth, RATES, "1"), "strength = '1': a number from 0 (keep) to 1 (one common rate) is needed"),
        (partial(smooth, {}, 0.5), "there are no rates to smooth: give one per modality"),
        (partial(MSLRDynamic, RATES, window=0), "window = 0: a whole number of epochs of at least 1 is needed"),
        (partial(MSLRDynamic, RATES, window=2.5), "window = 2.5: a whole number of epochs of at least 1 is needed"),
        (partial(dynamic, [0.5], True), "window = True: a whole number of epochs of at least 1 is needed"),
    ],
)
def test_strength_and_window_out_of_range(call, said):
    with pytest.raises(InputError) as caught:
        call()
    assert one_line(caught) == said


RUNS = {
    "rates = {'audio': 0.01} lacks 'image': give its best unimodal rate (see: equimodal rates)": (MSLRKeep({"audio": 0.01}), {}),
    "rates has the unknown modality 'imag': did you mean 'image'?": (MSLRSmooth({**RATES, "imag": 0.1}), {}),
    "rates has the unknown modality 'multimodal': known: audio, image": (MSLRKeep({**RATES, "multimodal": 0.1}), {"fusion": "late"}),
    "the optimizer's learning rate of 'multimodal' = 0.0: a number above 0 is needed": (
        MSLRDynamic(RATES),
        {"optimizer": partial(torch.optim.SGD, lr=0.0)},
    ),
    "the groups of 'audio' have learning rates 0.2 and 0.1: MSLR sets one for all, give them one": (
        MSLRKeep(RATES),
        {"optimizer": lambda groups: torch.optim.SGD([{**group, "lr": LR * (1 + (i == 2))} for i, group in enumerate(groups)], lr=LR)},
    ),
}


@pytest.mark.parametrize("said", RUNS)
def test_rates_that_do_not_fit_are_refused_before_a_folder_is_made(said, tmp_path):
    method, options = RUNS[said]
    kept = []

    def remember(groups):
        kept.append(options.get("optimizer", SGD)(groups))
        return kept[0]

    groups = {"no_decay": True} if "groups of" in said else {}
    with pytest.raises(InputError) as caught:
        start(method, out=tmp_path / "run", **{**options, "optimizer": remember, "groups": groups})
    assert one_line(caught) == said
    assert not (tmp_path / "run").exists()
    assert not kept[0]._optimizer_step_pre_hooks  # free for another method


@pytest.mark.parametrize("method", ["mslr-k", "mslr-s", "mslr-d"])
def test_the_command_line_asks_for_the_rates(method, tmp_path, capsys):
    lacks = f"method {method!r} lacks its option 'rates': give the unimodal learning rates, or let equimodal compare find them"
    for words, said in (
        ("", lacks),
        ("--method.rates.audio 0.01", "rates = {'audio': 0.01} lacks 'image': give its best unimodal rate (see: equimodal rates)"),
        ("--method.rates.audio 0.01 --method.rates.imag 1", "rates has the unknown modality 'imag': did you mean 'image'?"),
        ("--method.rates.audio 0.01 --method.rates.image -1", f"method {method!r}: the rate of 'image' = -1: a number above 0 is needed"),
        ("--method.rates 0.01", f"method {method!r}: rates = 0.01: the best unimodal learning rate of every modality is needed, as "),
    ):
        assert main(["train", "--dataset", "cli.tiny:Tiny", "--method", method, *words.split(), "--out", str(tmp_path / "run")]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"equimodal: {said}")
        assert err.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_the_command_line_takes_the_rates(tmp_path):
    words = "--dataset cli.tiny:Tiny --method mslr-s --method.rates.audio 0.01 --method.rates.image 0.03 --epochs 1"
    assert main(["train", *words.split(), "--out", str(tmp_path / "run")]) == 0
    record = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert record["learning_rates"] == pytest.approx({"multimodal": 0.001, "audio": 0.015, "image": 0.025})


def test_a_score_that_is_no_number_is_named():
    method = MSLRDynamic(RATES)
    method.attach(SGD(modality_groups(tiny_problem().model)))
    with pytest.raises(InputError) as caught:
        method.epoch_end(EpochContext(4, scores={"val": {"multimodal": 0.5, "audio": float("nan"), "image": 0.5}}))
    assert one_line(caught) == "the validation score of 'audio' in epoch 4 = nan: a finite number is needed"


def test_before_a_run_it_says_what_is_missing():
    with pytest.raises(InputError, match=r"^mslr-d has no optimizer yet: call attach\(optimizer\) first$"):
        MSLRDynamic(RATES).load_state_dict({"history": {}, "epochs": 0, "ratios": {}})


# --- the rates in force


def rates_of(run):
    return [record["learning_rates"] for record in run.history]


def test_every_modality_is_trained_at_its_own_rate_and_the_fusion_at_the_optimizers():
    assert rates_of(start(MSLRKeep(RATES))) == [pytest.approx({"multimodal": LR, **RATES})] * 3
    assert rates_of(start(MSLRKeep({**RATES, "multimodal": 0.7}), epochs=1)) == [pytest.approx({"multimodal": 0.7, **RATES})]
    smoothed = {"multimodal": 0.7, "audio": 0.049, "image": 0.361}
    assert rates_of(start(MSLRSmooth({**RATES, "multimodal": 0.7}, strength=0.2), epochs=1)) == [pytest.approx(smoothed)]
    own = start(MSLRKeep(RATES), epochs=1, groups={"overrides": {"image": {"lr": 0.003}}})
    assert rates_of(own) == [pytest.approx({"multimodal": LR, **RATES})]


@pytest.mark.parametrize(("heads", "plain"), [("trained", Joint), ("probes", Vanilla)])
@pytest.mark.parametrize("fusion", ["concat", "late"])
def test_with_equal_rates_it_is_plain_training(heads, plain, fusion):
    expected = start(plain(), fusion=fusion).model.state_dict()
    equal = dict.fromkeys(RATES, LR)
    for method in (MSLRKeep(equal, heads=heads), MSLRSmooth(equal, heads=heads), MSLRSmooth(equal, 1.0, heads)):
        assert same(start(method, fusion=fusion).model.state_dict(), expected), method
    assert not same(start(MSLRKeep(RATES, heads=heads), fusion=fusion).model.state_dict(), expected)


def test_the_rates_are_true_learning_rates_for_adam_too():
    """The first step of Adam moves every weight by its learning rate, whatever the size of the gradient."""
    problem = tiny_problem()
    before = {name: value.clone() for name, value in problem.model.state_dict().items()}
    adam = partial(torch.optim.Adam, lr=LR)
    fit(problem.model, problem.train, problem.val, method=MSLRKeep(RATES), epochs=1, batch_size=48, optimizer=adam, device="cpu")
    rates = {"audio": 0.01, "image": 0.4, "linear": LR}
    for name, value in problem.model.state_dict().items():
        moved = (value - before[name]).abs().max()
        assert float(moved) == pytest.approx(rates[name.split(".")[1]], rel=1e-3), name


def test_dynamic_rates_follow_the_validation_scores():
    run = start(MSLRDynamic({**RATES, "multimodal": 0.2}, window=2), epochs=7)
    for modality, rate in RATES.items():
        scores = [record["scores"]["val"][modality] for record in run.history]
        expected = [rate, *(rate * dynamic(scores[:epoch], 2) for epoch in range(1, 7))]
        assert [rates[modality] for rates in rates_of(run)] == pytest.approx(expected)
    assert len({rates["audio"] for rates in rates_of(run)}) > 2
    assert [rates["multimodal"] for rates in rates_of(run)] == pytest.approx([0.2] * 7)


@pytest.mark.parametrize("compound", [False, True])
def test_a_method_that_is_used_again_begins_anew(compound):
    method = MSLRDynamic(RATES, window=1, compound=compound)
    first, second = start(method, epochs=5), start(method, epochs=5)
    assert rates_of(first) == rates_of(second)
    assert same(first.model.state_dict(), second.model.state_dict())


# --- beside other schedulers

REPLACE_THE_RATES = {"OneCycleLR", "CyclicLR"}
"""They give the optimizer rates of their own; where they are made first, those are what it begins with."""


def loop(make, first, *, cut=None, epochs=6):
    """Run both in a loop of one's own, the method attached first or last; return the effective rates, of a part begun anew after a cut."""
    states, found = (), []
    for begin, end in [(0, epochs)] if cut is None else [(0, cut), (cut, epochs)]:
        optimizer = SGD(modality_groups(tiny_problem().model))
        method = MSLRKeep(RATES)
        if first:
            method.attach(optimizer)
        scheduler = make(optimizer)
        if not first:
            method.attach(optimizer)
        parts = (optimizer, method, scheduler)
        for part, state in zip(parts, states, strict=False):  # none at first
            part.load_state_dict(state)
        for epoch in range(begin, end):
            found.append({group["modality"]: group["lr"] * group["modality_lr_multiplier"] for group in optimizer.param_groups})
            optimizer.step()
            scheduler.step(*([1.0 + epoch] if "Plateau" in type(scheduler).__name__ else []))
        states = [part.state_dict() for part in parts]
    return found


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_goes_on_as_it_would_in_either_order_and_after_a_cut(name):
    make = SCHEDULERS[name]
    optimizer = SGD(modality_groups(tiny_problem().model))
    scheduler, factors = make(optimizer), []
    for epoch in range(6):
        factors.append(optimizer.param_groups[0]["lr"] / LR)
        optimizer.step()
        scheduler.step(*([1.0 + epoch] if name == "ReduceLROnPlateau" else []))
    assert len(set(factors)) > 1
    expected = [pytest.approx({"multimodal": LR * factor, **{m: rate * factor for m, rate in RATES.items()}}) for factor in factors]
    assert loop(make, first=True) == expected
    assert loop(make, first=True, cut=3) == expected
    if name not in REPLACE_THE_RATES:
        assert loop(make, first=False) == expected
        assert loop(make, first=False, cut=3) == expected


@pytest.mark.parametrize(("name", "interval"), [("StepLR", "epoch"), ("OneCycleLR", "step"), ("ReduceLROnPlateau", "epoch")])
def test_killed_and_continued_beside_a_scheduler(tmp_path, name, interval):
    def run(out, **options):
        chosen = {"scheduler": SCHEDULERS[name], "scheduler_interval": interval, "epochs": 5, **options}
        return start(MSLRDynamic(RATES, window=2), out=out, **chosen)

    def kill(record):
        raise Killed

    whole = run(tmp_path / "whole")
    for _ in range(4):
        with pytest.raises(Killed):
            run(tmp_path / "cut", on_epoch=kill)
    run(tmp_path / "cut")
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert len({rates["audio"] / rates["multimodal"] for rates in rates_of(whole)}) > 1
