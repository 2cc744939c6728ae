"""G-Blend in use: what it refuses, what its side trainings leave alone, and what they are counted as."""

from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from equimodal import InputError, TrainingDiverged, fit, modality_groups
from equimodal.cli import main
from equimodal.data import TensorSet
from equimodal.methods.base import EpochContext
from equimodal.methods.gblend import GBlend, weights
from equimodal.nn import MLP, JointFusion
from equimodal.testing import tiny_problem
from equimodal.train import Branches
from equimodal.train.batches import make_source
from equimodal.train.seeds import derived_seed
from train.examples import Killed, Pairs, assert_same_run, one_line, same

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
HEADS = ("multimodal", "audio", "image")
FIXED = {"multimodal": 0.5, "audio": 0.2, "image": 0.3}
OFFLINE = partial(GBlend, fraction=0.25)
ONLINE = partial(GBlend, schedule="online", super_epoch=2, fraction=0.25)


def network(dropout=0.0):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return JointFusion({name: MLP(5, hidden=(8,), out_features=6, dropout=dropout) for name in ("audio", "image")}, 3)


def start(method, *, train=None, model=None, **options):
    problem = tiny_problem()
    chosen = {"epochs": 4, "batch_size": 16, "seed": 3, "device": "cpu", "optimizer": SGD, **options}
    train = problem.train if train is None else train
    return fit(network() if model is None else model, train, problem.val, method=method, **chosen)


# --- what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"schedule": "onlin"}, "schedule = 'onlin': 'offline' or 'online' is needed"),
        ({"super_epoch": 0}, "super_epoch = 0: a whole number of epochs of at least 1 is needed"),
        ({"super_epoch": 2.0}, "super_epoch = 2.0: a whole number of epochs of at least 1 is needed"),
        ({"fraction": 0}, "fraction = 0: a number above 0 and below 1 is needed"),
        ({"fraction": 1.0}, "fraction = 1.0: a number above 0 and below 1 is needed"),
        ({"floor": 0.0}, "floor = 0.0: a number above 0 is needed"),
        ({"weights": {}}, "weights = {}: a number for every head is needed"),
        ({"weights": 3}, "weights = 3: a number for every head is needed"),
        ({"weights": {**FIXED, "audio": -0.1}}, "the weight of 'audio' = -0.1: a number of at least 0 is needed"),
        ({"weights": {**FIXED, "audio": math.nan}}, "the weight of 'audio' = nan: a number of at least 0 is needed"),
    ],
    ids=str,
)
def test_values_out_of_range(options, said):
    with pytest.raises(InputError) as caught:
        GBlend(**options)
    assert one_line(caught) == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (({}, {}), "gains are of no head, overfits of no head: give the same heads"),
        (({"a": 1.0}, {"b": 1.0}), "gains are of a, overfits of b: give the same heads"),
        (({"a": math.nan}, {"a": 1.0}), "the gain of 'a' = nan: a finite number is needed"),
        (({"a": 1.0}, {"a": math.inf}), "the overfitting of 'a' = inf: a finite number is needed"),
        (({"a": 1.0}, {"a": 1.0}, 0), "floor = 0: a number above 0 is needed"),
    ],
)
def test_numbers_that_give_no_weights(arguments, said):
    with pytest.raises(InputError) as caught:
        weights(*arguments)
    assert one_line(caught) == said


class Streamed(IterableDataset):
    def __iter__(self):
        return iter(Pairs(tiny_problem().train))


def batches():
    train = tiny_problem().train
    return [train[begin : begin + 4] for begin in range(0, 48, 4)]


SPLITS = {
    "a loader": (lambda: DataLoader(Pairs(tiny_problem().train), batch_size=4), "a DataLoader, which G-Blend cannot split"),
    "a list of batches": (batches, "a list, which G-Blend cannot split"),
    "a stream": (Streamed, "a Streamed, which G-Blend cannot split"),
    "too few": (
        lambda: tiny_problem().train.subset(torch.arange(39)),
        "fraction = 0.25 of 39 training samples holds 9 out and leaves 30: G-Blend needs at least 10 of each, change fraction",
    ),
    "too few samples of a data set": (lambda: Pairs(tiny_problem().train.subset(torch.arange(39))), "fraction = 0.25 of 39 training"),
}


@pytest.mark.parametrize("made", [OFFLINE, ONLINE])
@pytest.mark.parametrize("split", SPLITS)
def test_a_training_split_that_cannot_be_split_is_refused_before_a_folder_is_made(split, made, tmp_path):
    train, said = SPLITS[split]
    with pytest.raises(InputError) as caught:
        start(made(), train=train(), out=tmp_path / "run")
    assert said in one_line(caught)
    assert not (tmp_path / "run").exists()
    start(GBlend(weights=FIXED), train=tiny_problem().train.subset(torch.arange(8)), epochs=1)


def test_too_much_may_be_held_out_as_well():
    with pytest.raises(InputError, match=r"^fraction = 0.9 of 48 training samples holds 43 out and leaves 5: "):
        start(GBlend(fraction=0.9))
    assert start(GBlend(fraction=10.5 / 48), epochs=1).result["epochs"] == 1


def test_on_the_command_line_a_bad_value_leaves_nothing_behind(tmp_path, capsys):
    for words, said in (
        ("--method.super_epoch 0", "method 'gblend': super_epoch = 0: a whole number of epochs of at least 1 is needed"),
        ("", "fraction = 0.1 of 48 training samples holds 4 out and leaves 44: G-Blend needs at least 10 of each, change fraction"),
        ("--method.weights.audio 1", "weights are of audio, the model's heads are multimodal, audio, image: give one for each"),
    ):
        assert main(["train", "--dataset", "cli.tiny:Tiny", "--method", "gblend", *words.split(), "--out", str(tmp_path / "run")]) == 2
        assert capsys.readouterr().err == f"equimodal: {said}\n"
        assert not (tmp_path / "run").exists()


def test_what_a_loop_of_ones_own_forgets_is_named():
    train, method = tiny_problem().train, OFFLINE()
    model = method.build(network())
    branches = Branches(model, SGD(modality_groups(model)), batch_size=16, device="cpu")
    for context, said in (
        (EpochContext(1, branch=branches), "G-Blend needs to know how many epochs are planned: give EpochContext(epoch, epochs=N, ...)"),
        (EpochContext(1, epochs=2, branch=branches), "G-Blend trains branches of its own and lacks training_data(train): give it, or "),
        (EpochContext(1, epochs=2), "G-Blend trains branches of its own and lacks EpochContext(..., branch=equimodal.train.Branches(...))"),
    ):
        with pytest.raises(InputError) as caught:
            method.epoch_start(context)
        assert one_line(caught).startswith(said)
    with pytest.raises(InputError, match=r"^G-Blend has no weights yet: call epoch_start\(context\) first$"):
        method.combine(method.losses(model(train[:4].inputs), train[:4]))


class NotTakenApart(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = network()

    def forward(self, inputs):
        return self.model(inputs)

    def modality_modules(self):
        return self.model.modality_modules()


def test_a_model_that_cannot_be_taken_apart_needs_fixed_weights():
    with pytest.raises(InputError) as caught:
        start(OFFLINE(), model=NotTakenApart())
    assert one_line(caught).startswith("NotTakenApart has no method only(modality), with which G-Blend trains branches: use JointFusion")
    run = start(GBlend(weights=FIXED), model=NotTakenApart(), epochs=2)
    assert same(run.model.model.state_dict(), start(GBlend(weights=FIXED), epochs=2).model.state_dict())


# --- what the side trainings cost and leave alone


def test_side_trainings_are_counted_as_what_they_are():
    """36 of 48 samples make three steps of 16, like the 48 themselves; there are three heads."""
    offline = start(OFFLINE())
    assert [record["side_steps"] for record in offline.history] == [3 * 4 * 3, 0, 0, 0]
    assert [record["steps"] for record in offline.history] == [3] * 4
    online = start(ONLINE(), epochs=5, batch_size=36)
    assert [record["side_steps"] for record in online.history] == [3 * 2 * 1, 0, 6, 0, 6]
    assert [record["steps"] for record in online.history] == [1] * 5
    assert [estimate["epoch"] for estimate in online.method.estimates] == [1, 3, 5]
    fixed = start(GBlend(weights=FIXED))
    assert [record["side_steps"] for record in fixed.history] == [0] * 4
    for run in (offline, online, fixed):
        for record in run.history:
            assert sum(record["method"]["weights"].values()) == pytest.approx(1.0)
            assert tuple(record["method"]["weights"]) == HEADS


def test_side_trainings_leave_no_trace_in_the_run():
    """A run with noise, and one that is given from the start the weights that the first has found."""
    before = torch.random.get_rng_state()
    found = start(OFFLINE(), model=network(dropout=0.5))
    assert torch.equal(torch.random.get_rng_state(), before)
    (estimate,) = found.method.estimates
    given = start(GBlend(weights=estimate["weights"]), model=network(dropout=0.5))
    assert same(given.model.state_dict(), found.model.state_dict())
    assert found.method.current_weights == estimate["weights"] != dict.fromkeys(HEADS, 1 / 3)
    assert not same(found.model.state_dict(), start("joint", model=network(dropout=0.5)).model.state_dict())


def test_what_is_held_out_is_not_trained_on_online():
    """Samples are told apart by the rows that reach the encoder while it is trained."""
    problem, seen = tiny_problem(), {}
    model = network()

    def look(module, inputs):
        if module.training:
            for row in inputs[0].tolist():
                seen[tuple(row)] = seen.get(tuple(row), 0) + 1

    model.encoders["audio"].register_forward_pre_hook(look)
    start(ONLINE(), model=model, epochs=3)
    rows = {tuple(row) for row in problem.train.inputs["audio"].tolist()}
    assert len(seen) == 36
    assert seen.keys() < rows


def test_a_diverging_side_training_is_said_in_one_line():
    with pytest.raises(TrainingDiverged) as caught:
        start(OFFLINE(), optimizer=partial(torch.optim.SGD, lr=1e30))
    said = "a training beside the run (vanilla, before epoch 1) became NaN or infinite: lower the learning rate or clip the gradient"
    assert one_line(caught) == said


@pytest.mark.parametrize("made", [OFFLINE, partial(ONLINE, super_epoch=3)])
def test_killed_after_any_epoch_it_ends_as_if_never_killed(made, tmp_path):
    options = {"epochs": 5, "clip": 0.5}
    whole = start(made(), model=network(0.3), out=tmp_path / "whole", **options)

    def kill(record):
        raise Killed

    for _ in range(5):
        with pytest.raises(Killed):
            start(made(), model=network(0.3), out=tmp_path / "cut", on_epoch=kill, **options)
    again = start(made(), model=network(0.3), out=tmp_path / "cut", **options)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert again.method.estimates == whole.method.estimates


def test_a_loop_of_ones_own_is_the_run():
    seed, epochs, problem = 3, 4, tiny_problem()
    trained, last = network(), {}
    run = start(ONLINE(), model=trained, epochs=epochs, seed=seed, on_epoch=lambda record: last.update(copy.deepcopy(trained.state_dict())))
    method = ONLINE()
    torch.manual_seed(derived_seed(seed, "build"))
    model = method.build(network())
    data = method.training_data(problem.train)
    optimizer = SGD(modality_groups(model))
    branches = Branches(model, optimizer, batch_size=16, seed=seed, device="cpu")
    source = make_source(data, "train", lambda *_: None, batch_size=16, device=torch.device("cpu"), seed=seed)
    for epoch in range(1, epochs + 1):
        method.epoch_start(EpochContext(epoch, epochs=epochs, train=problem.train, branch=branches.at(epoch)))
        for share in source.epoch(epoch):
            optimizer.zero_grad()
            method.combine(method.losses(model(share.batch.inputs), share.batch)).backward()
            optimizer.step()
    assert method.estimates == run.method.estimates
    assert branches.steps == sum(record["side_steps"] for record in run.history)
    assert same(dict(model.state_dict()), last)


def test_a_loop_of_ones_own_that_goes_on_holds_the_same_samples_out():
    train, kept = tiny_problem().train, []
    first = ONLINE()
    first.build(network())
    for seed in (1, 2):
        torch.manual_seed(seed)
        other = ONLINE()
        other.build(network())
        kept.append(other.training_data(train).inputs["audio"])
        other.load_state_dict(first.state_dict())
        assert torch.equal(other.training_data(train).inputs["audio"], first.training_data(train).inputs["audio"])
    assert not torch.equal(*kept)


def test_the_losses_of_a_modality_are_those_of_the_samples_that_have_it():
    """What stands in the rows that lack a modality has no part in its gain."""
    train, asked = tiny_problem().train, []
    method = OFFLINE()
    model = method.build(network())
    lacking = torch.arange(48) % 2 == 0
    data = TensorSet(train.inputs, train.targets, {"audio": ~lacking})
    torch.manual_seed(0)
    method.training_data(data)
    branches = Branches(model, SGD(modality_groups(model)), batch_size=16, device="cpu").at(1)

    def branch(alone, kept, epochs, watch):
        found = branches(alone, kept, epochs, watch)
        asked.append((getattr(alone, "modality", "multimodal"), found))
        return found

    method.epoch_start(EpochContext(1, epochs=2, train=data, branch=branch))
    gains = method.estimates[0]["gains"]
    for head, found in asked:
        assert gains[head] == found.before["held out"][head] - found.after["held out"][head]
    audio = dict(asked)["audio"]
    assert audio.before["held out"]["audio"] != audio.before["held out"]["multimodal"]
