"""MSES in use: what it refuses, parts at rest to the last bit, how a run ends, and which weights it leaves."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from equimodal import InputError, fit, modality_groups
from equimodal.cli import main
from equimodal.methods.base import EpochContext
from equimodal.methods.joint import Joint
from equimodal.methods.mses import FEWEST_SAMPLES, MSES, MSESRule
from equimodal.methods.mslr import MSLRKeep
from equimodal.nn import MLP, JointFusion, Prediction
from equimodal.testing import tiny_problem
from train.examples import Killed, Pairs, assert_same_run, one_line, same

EPOCHS = 12
OPTIMIZERS = {
    "momentum": partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=0.01),
    "AdamW": partial(torch.optim.AdamW, lr=0.05, weight_decay=0.1),
}
TURNS = {"audio": 2, "image": 4, "multimodal": 6}
"""The epochs after which the losses of a script rise."""


class Scripted(MSES):
    """Sees losses that fall and rise by a script, and keeps the weights as they were scored."""

    turns = TURNS

    def epoch_end(self, context):
        self.scored = [*getattr(self, "scored", []), {name: value.clone() for name, value in self._model.state_dict().items()}]
        context.losses["val"] = {part: 1.0 + abs(context.epoch - turn) for part, turn in self.turns.items()}
        super().epoch_end(context)


def network(fusion="concat"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoders = {name: nn.Sequential(MLP(5, hidden=(8,), out_features=6), nn.BatchNorm1d(6)) for name in ("audio", "image")}
        return JointFusion(encoders, 3, fusion, feature_sizes={"audio": 6, "image": 6})


def start(method, *, fusion="concat", optimizer="momentum", on_epoch=None, **options):
    """Train; return the run, and the weights after every epoch."""
    model, problem, seen = network(fusion), tiny_problem(), []

    def look(record):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        if on_epoch is not None:
            on_epoch(record)

    chosen = {"epochs": EPOCHS, "batch_size": 16, "seed": 3, "device": "cpu", "optimizer": OPTIMIZERS.get(optimizer, optimizer), **options}
    return fit(model, problem.train, problem.val, method=method, on_epoch=look, **chosen), seen


def of_part(state, part):
    prefixes = ("fusion.",) if part == "multimodal" else (f"encoders.{part}.", f"heads.{part}.")
    return {name: value for name, value in state.items() if name.startswith(prefixes)}


# --- what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"patience": -1}, "patience = -1: a whole number of epochs of at least 0 is needed"),
        ({"patience": 2.5}, "patience = 2.5: a whole number of epochs of at least 0 is needed"),
        ({"patience": True}, "patience = True: a whole number of epochs of at least 0 is needed"),
        ({"smoothing": 1}, "smoothing = 1: a number of at least 0 (off) and below 1 is needed"),
        ({"smoothing": -0.1}, "smoothing = -0.1: a number of at least 0 (off) and below 1 is needed"),
        ({"restore": "best"}, "restore = 'best': 'part' or 'model' is needed"),
    ],
    ids=str,
)
def test_values_out_of_range(options, said):
    with pytest.raises(InputError) as caught:
        MSES(**options)
    assert one_line(caught) == said


@pytest.mark.parametrize("loader", [False, True])
def test_a_validation_split_whose_loss_is_noise_is_refused_before_a_folder_is_made(loader, tmp_path):
    problem = tiny_problem()
    options = {"epochs": 1, "method": MSES(), "device": "cpu"}
    for count in (FEWEST_SAMPLES - 1, FEWEST_SAMPLES):
        val = problem.val.subset(torch.arange(count))
        val = DataLoader(Pairs(val), batch_size=4) if loader else val
        if count == FEWEST_SAMPLES:
            assert (fit(problem.model, problem.train, val, out=tmp_path / "run", **options).folder / "complete").exists()
            continue
        with pytest.raises(InputError) as caught:
            fit(problem.model, problem.train, val, out=tmp_path / "run", **options)
        assert one_line(caught) == "the validation split has 9 samples: MSES watches its loss, give at least 10"
        assert not (tmp_path / "run").exists()


def test_on_the_command_line_a_bad_value_leaves_nothing_behind(tmp_path, capsys):
    words = "--dataset cli.tiny:Tiny --method mses --method.patience -1"
    assert main(["train", *words.split(), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == "equimodal: method 'mses': patience = -1: a whole number of epochs of at least 0 is needed\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: MSES().build(nn.Linear(2, 2)), "Linear does not name its modalities in modality_modules(): MSES stops them one by one"),
        (lambda: MSES().multipliers(), "mses has no model yet: call build(model) first"),
        (lambda: MSESRule(()), "MSES stops parts by name, got none: give each name once"),
        (lambda: MSESRule(("a", "a")), "MSES stops parts by name, got a, a: give each name once"),
        (lambda: MSESRule(("a",)).step({"a": float("nan")}), "epoch 1: the validation loss of 'a' is nan: a number is needed"),
        (lambda: MSESRule(("a",)).step({"b": 1.0}), "epoch 1: the validation loss of 'a' is None: a number is needed"),
        (
            lambda: MSESRule(("a", "b")).load_state_dict(MSESRule(("a",)).state_dict()),
            "the state is of the parts a, this rule of a, b",
        ),
    ],
)
def test_what_cannot_work_is_said_in_one_line(call, said):
    with pytest.raises(InputError) as caught:
        call()
    assert one_line(caught) == said


# --- parts at rest


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stopped_part_has_its_best_weights_and_does_not_move_by_a_bit(optimizer):
    run, seen = start(Scripted(patience=2), optimizer=optimizer)
    best, stops = TURNS, {part: turn + 3 for part, turn in TURNS.items()}
    assert len(seen) == max(stops.values()) + 1 < EPOCHS  # one epoch at rest scores what has been put together
    for part, stop in stops.items():
        at_best = of_part(seen[best[part] - 1], part)
        for epoch, state in enumerate(seen, start=1):
            assert same(of_part(state, part), at_best) == (epoch == best[part] or epoch >= stop), (part, epoch)
        rates = [record["learning_rates"][part] for record in run.history]
        assert rates == [0.05] * stop + [0.0] * (len(seen) - stop)
    assert any("running_mean" in name for name in of_part(seen[0], "audio"))
    assert run.history[-1]["method"] == {"best_epochs": TURNS, "active": []}


def test_restoring_the_whole_model_undoes_the_epochs_of_the_others_and_leaves_the_scheduler_alone():
    kept, momenta = [], []

    def remember(groups):
        kept.append(OPTIMIZERS["momentum"](groups))
        return kept[0]

    def look(record):
        momenta.append({index: state["momentum_buffer"].clone() for index, state in kept[0].state_dict()["state"].items()})

    decay = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9)
    _, seen = start(Scripted(patience=2, restore="model"), optimizer=remember, scheduler=decay, on_epoch=look)
    assert same(seen[4], seen[1])
    assert same(momenta[4], momenta[1])
    assert not same(of_part(seen[5], "image"), of_part(seen[4], "image"))
    assert same(seen[8], seen[5])
    assert [group["lr"] for group in kept[0].param_groups] == pytest.approx([0.05 * 0.9**10] * 3)


def test_the_run_ends_with_its_reason_when_all_parts_have_stopped():
    run, _ = start(Scripted(patience=1))
    assert run.result["stopped"] == "all parts have stopped; their best epochs: audio 2, image 4, multimodal 6"
    assert (len(run.history), run.result["epochs"]) == (9, 9)
    assert set(run.history[-1]["learning_rates"].values()) == {0.0}
    assert run.method.multipliers() == dict.fromkeys(TURNS, 0.0)
    patient, _ = start(Scripted(patience=EPOCHS))
    assert (patient.result["stopped"], len(patient.history)) == (None, EPOCHS)


def test_under_late_fusion_the_modalities_are_all_there_is_to_stop():
    run, _ = start(Scripted(patience=1), fusion="late")
    assert run.method.rule.parts == ("audio", "image")
    assert run.result["stopped"] == "all parts have stopped; their best epochs: audio 2, image 4"
    assert len(run.history) == 7


def test_the_rule_sees_the_losses_of_the_validation_split():
    run, _ = start(MSES(patience=3))
    expected = MSESRule(("audio", "image", "multimodal"), patience=3)
    for record in run.history:
        expected.step(record["losses"]["val"])
    assert run.method.rule.state_dict() == expected.state_dict()


def test_the_best_checkpoint_has_the_weights_that_were_scored_and_the_last_one_those_that_go_on(tmp_path):
    """Audio gets its old weights back at the end of the very epoch that scores best."""
    best = start(Joint(), epochs=4)[0].result["best_epoch"]
    assert best > 1
    method = Scripted(patience=0)
    method.turns = {**TURNS, "audio": best - 1}
    run, _ = start(method, epochs=best, out=tmp_path / "run")
    kept, last = (torch.load(tmp_path / "run" / f"{name}.pt", weights_only=True) for name in ("best", "last"))
    assert kept["epoch"] == best
    assert same(kept["model"], method.scored[-1])
    assert same(run.model.state_dict(), method.scored[-1])
    assert run.result["scores"]["val"] == run.history[-1]["scores"]["val"]
    assert same(of_part(last["model"], "audio"), of_part(method.scored[-2], "audio"))
    assert not same(of_part(last["model"], "audio"), of_part(kept["model"], "audio"))
    assert same(of_part(last["model"], "image"), of_part(kept["model"], "image"))


def test_a_patience_that_is_never_used_up_is_joint_training():
    assert same(start(MSES(patience=EPOCHS), epochs=6)[0].model.state_dict(), start(Joint(), epochs=6)[0].model.state_dict())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("restore", ["part", "model"])
def test_killed_after_any_epoch_it_ends_as_if_never_killed(restore, optimizer, tmp_path):
    method = partial(Scripted, patience=0, smoothing=0.4, restore=restore)
    whole, _ = start(method(), optimizer=optimizer, out=tmp_path / "whole")
    assert len(whole.history) < EPOCHS

    def kill(record):
        raise Killed

    for _ in range(len(whole.history)):
        with pytest.raises(Killed):
            start(method(), optimizer=optimizer, out=tmp_path / "cut", on_epoch=kill)
    start(method(), optimizer=optimizer, out=tmp_path / "cut")
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


# --- a loop and a model of one's own


class Listed(nn.Module):
    """Names the parameters of its modalities, not their modules, and adds up the logits of their heads."""

    def __init__(self):
        super().__init__()
        parts = {name: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)) for name in ("audio", "image")}
        self.parts = nn.ModuleDict(parts)

    def forward(self, inputs):
        logits = {name: part(inputs[name]) for name, part in self.parts.items()}
        return Prediction(sum(logits.values()), logits)

    def modality_modules(self):
        return {name: list(part.parameters()) for name, part in self.parts.items()}


def test_in_a_loop_of_ones_own_normalisation_rests_with_its_part():
    torch.manual_seed(0)
    problem, model, method = tiny_problem(), Listed(), MSES(patience=0)
    model = method.build(model)
    optimizer = torch.optim.SGD(modality_groups(model, lr=0.1), momentum=0.9)
    method.attach(optimizer)
    # Audio gets worse in the second epoch and stops, image in the fifth.
    script = [(1.0, 1.0), (2.0, 0.9), (0.1, 0.8), (0.1, 0.7), (0.1, 0.9), (0.1, 0.1)]
    means, reasons = [], []
    for epoch, (audio, image) in enumerate(script, start=1):
        model.train()
        method.epoch_start(EpochContext(epoch))
        modes = {name: part[1].training for name, part in model.parts.items()}
        assert modes == {"audio": epoch <= 2, "image": epoch <= 5}
        for batch in problem.train[:24], problem.train[24:]:
            optimizer.zero_grad()
            prediction = model(batch.inputs)
            method.combine(method.losses(prediction, batch)).backward()
            optimizer.step()
        method.epoch_end(context := EpochContext(epoch, losses={"val": {"audio": audio, "image": image}}))
        means.append({name: part[1].running_mean.clone() for name, part in model.parts.items()})
        reasons.append(context.stop_reason)
    assert reasons[:5] == [None] * 5
    assert reasons[5] == "all parts have stopped; their best epochs: audio 1, image 4"
    assert all(torch.equal(mean["audio"], means[0]["audio"]) for mean in means[1:])
    assert not torch.equal(means[1]["image"], means[0]["image"])
    assert torch.equal(means[4]["image"], means[3]["image"])
    assert torch.equal(means[5]["image"], means[3]["image"])
    again, other = MSES(patience=0), torch.optim.SGD(modality_groups(model, lr=0.1))
    again.build(model)
    again.attach(other)
    again.load_state_dict(method.state_dict())
    assert {group["modality_lr_multiplier"] for group in other.param_groups} == {0.0}
    method.detach()
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}
    functional.cross_entropy(model(problem.train[:24].inputs).multimodal, problem.train[:24].targets).backward()
    before = [part[2].weight.clone() for part in model.parts.values()]
    optimizer.step()
    assert not any(torch.equal(old, part[2].weight) for old, part in zip(before, model.parts.values(), strict=True))


def test_it_cannot_share_an_optimizer_with_another_method_of_learning_rates():
    problem = tiny_problem()
    optimizer = torch.optim.SGD(modality_groups(problem.model), lr=0.1)
    MSLRKeep({"audio": 0.1, "image": 0.1}).attach(optimizer)
    with pytest.raises(InputError, match="already multiplied by modality"):
        MSES().attach(optimizer)
