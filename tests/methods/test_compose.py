"""Several methods as one: which go together, who decides what, and that the whole is what its parts do by hand."""

from __future__ import annotations

import json
import pickle
from functools import partial

import pytest
import torch
from torch.nn import functional

from cli.tiny import Weighted
from equimodal import MILES, InputError, fit, modality_groups
from equimodal.cli import main
from equimodal.groups import ParameterRegistry
from equimodal.methods import methods
from equimodal.methods.base import EpochContext, Method
from equimodal.methods.compose import Composition
from equimodal.methods.gblend import GBlend
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.ogm import OGM, OGMGE
from equimodal.testing import tiny_problem
from equimodal.train.batches import make_source
from equimodal.train.config import resolve, train
from equimodal.train.seeds import derived_seed
from train.examples import Killed, assert_same_run, one_line, same

from .own import Halver, Noisy, Owner, Watcher, Weighing

MODALITIES = ("audio", "image")
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
RATES = {"audio": 0.01, "image": 0.1}
TINY = {"dataset": "cli.tiny:Tiny", "epochs": 3, "batch_size": 16, "device": "cpu", "optimizer": {"name": "SGD", "lr": 0.1}}


def both():
    return [MILESMethod(tau=0.0, mu=0.3), OGMGE(alpha=0.8)]


def start(method, *, epochs=4, dtype=torch.float32, **options):
    problem = tiny_problem(dtype=dtype)
    chosen = {"batch_size": 16, "seed": 3, "device": "cpu", "optimizer": SGD, **options}
    return fit(problem.model, problem.train, problem.val, epochs=epochs, method=method, **chosen)


# --- the whole is its parts


def by_hand(epochs):
    """Train with OGM-GE's hooks and the MILES scheduler side by side in a loop; return the weights and rates of every epoch."""
    problem = tiny_problem(dtype=torch.float64)
    source = make_source(problem.train, "train", lambda *_: None, batch_size=16, device=torch.device("cpu"), seed=3)
    torch.manual_seed(derived_seed(3, "build"))
    ogm = OGMGE(alpha=0.8)
    model = ogm.build(problem.model)
    registry = ParameterRegistry(model.modality_modules())
    optimizer = SGD(modality_groups(model))
    miles = MILES(optimizer, tau=0.0, mu=0.3)
    seen = []
    for epoch in range(1, epochs + 1):
        multipliers = miles.multipliers
        ogm.epoch_start(EpochContext(epoch))
        model.train()
        for share in source.epoch(epoch):
            batch = share.batch
            optimizer.zero_grad()
            prediction = model(batch.inputs, transform=lambda features, batch=batch: ogm.transform(features, batch))
            losses = [functional.cross_entropy(logits, batch.targets) for logits in (prediction.multimodal, *prediction.unimodal.values())]
            sum(losses).backward()
            ogm.observe(prediction, batch)
            ogm.modulate(registry)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            prediction = model(problem.val.inputs)
        logits = {"multimodal": prediction.multimodal, **prediction.unimodal}
        miles.step({head: float((values.argmax(dim=1) == problem.val.targets).double().mean()) for head, values in logits.items()})
        seen.append(({name: value.clone() for name, value in model.state_dict().items()}, multipliers))
    return seen


def test_miles_with_ogm_ge_is_both_done_by_hand():
    seen = []
    problem = tiny_problem(dtype=torch.float64)

    def on_epoch(record):
        seen.append(({name: value.clone() for name, value in problem.model.state_dict().items()}, record["multipliers"]))

    options = {"epochs": 6, "batch_size": 16, "seed": 3, "device": "cpu", "optimizer": SGD, "on_epoch": on_epoch}
    fit(problem.model, problem.train, problem.val, method=Composition(both()), **options)
    expected = by_hand(6)
    for (ours, our_rates), (theirs, their_rates) in zip(seen, expected, strict=True):
        assert our_rates == their_rates
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-12, atol=1e-14)
    assert len({tuple(rates.values()) for _, rates in seen}) > 1
    alone = start(OGMGE(alpha=0.8), epochs=6, dtype=torch.float64)
    assert not same(seen[-1][0], alone.model.state_dict())


def test_a_list_a_name_and_either_order_are_the_same_training():
    first = start("miles+ogm-ge")
    for method in (["miles", "ogm-ge"], [MILESMethod(), "ogm-ge"], Composition([MILESMethod(), OGMGE()]), "ogm-ge+miles"):
        again = start(method)
        assert same(again.model.state_dict(), first.model.state_dict()), method
        assert [record["multipliers"] for record in again.history] == [record["multipliers"] for record in first.history]
    assert not same(start("miles").model.state_dict(), first.model.state_dict())
    assert isinstance(start(["miles"]).method, MILESMethod)


def test_records_are_those_of_the_deciding_method():
    run = start([MILESMethod(tau=0.0, mu=0.3, smoothing=0.5, split="train"), OGMGE(alpha=0.8)])
    assert run.result["method"] == "miles+ogm-ge"
    miles = run.method.methods[0].scheduler
    assert [record["gap"] for record in run.history] == pytest.approx([record["gap"] for record in miles.history])
    assert [record["multipliers"] for record in run.history[1:]] == [record["multipliers"] for record in miles.history[:-1]]
    assert not miles.optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize("method", [*map(methods.get, methods.names()), Weighing], ids=lambda method: method.name)
def test_beside_one_that_decides_nothing_a_method_is_what_it_is_alone(method):
    alone, beside = (start(chosen, clip=0.5) for chosen in (method.example(MODALITIES), [Watcher(), method.example(MODALITIES)]))
    assert same(beside.model.state_dict(), alone.model.state_dict())
    for ours, theirs in zip(beside.history, alone.history, strict=True):
        noted = {"method": {method.name: theirs["method"]}} if "method" in theirs else {}
        assert {**ours, "seconds": 0} == {**theirs, **noted, "seconds": 0}


def test_in_a_loop_of_ones_own_it_weighs_the_losses_as_the_deciding_method_does():
    losses = {"multimodal": torch.tensor(2.0), "audio": torch.tensor(1.0)}
    assert Composition([MILESMethod(), Weighing()]).combine(losses) == Weighing().combine(losses) == 2.0
    assert Composition([MILESMethod(), Noisy()]).combine(losses) == 3.0


def test_the_end_that_one_of_them_asks_for_is_the_end():
    run = start([OGM(), MSES(patience=0)], epochs=60)
    assert run.result["stopped"].startswith("all parts have stopped; ")
    assert len(run.history) < 60


# --- kills and states


@pytest.mark.parametrize("method", [both, lambda: [MSES(patience=1), OGMGE()], lambda: [GBlend("online", 2, 0.25), MILESMethod()]])
def test_killed_after_any_epoch_it_ends_as_if_never_killed(tmp_path, method):
    whole = start(method(), out=tmp_path / "whole")
    for epoch in (1, 3):

        def kill(record, epoch=epoch):
            if record["epoch"] == epoch:
                raise Killed

        with pytest.raises(Killed):
            start(method(), out=tmp_path / "cut", on_epoch=kill)
    again = start(method(), out=tmp_path / "cut")
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert same(again.method.state_dict(), whole.method.state_dict())


def test_the_state_of_other_methods_is_refused_in_one_line():
    state = start(both()).method.state_dict()
    assert list(state) == ["miles", "ogm-ge"]
    with pytest.raises(InputError) as caught:
        Composition([MILESMethod(), OGM()]).load_state_dict(state)
    assert one_line(caught) == "the state is of miles + ogm-ge, this composition of miles + ogm"


# --- configurations


def test_both_forms_of_a_configuration_are_one():
    named = resolve({**TINY, "method": {"name": "miles+ogm-ge", "ogm-ge": {"alpha": 0.8}, "miles": {"tau": 0.0}}})
    listed = resolve({**TINY, "method": [{"name": "miles", "tau": 0}, {"name": "ogm-ge", "alpha": 0.8}]})
    assert named == listed
    assert resolve(named) == named
    assert (named["method"]["miles"]["mu"], named["method"]["ogm-ge"]["alpha"]) == (0.5, 0.8)
    assert resolve({**TINY, "method": ["miles"]}) == resolve({**TINY, "method": "miles"})


def test_a_configuration_trains_what_fit_trains(tmp_path):
    configured = train({**TINY, "method": {"name": "miles+ogm-ge", "miles": {"tau": 0.0}}}, out=tmp_path / "run")
    members = configured.method.methods
    assert members == (MILESMethod(tau=0.0), OGMGE())
    again = train(json.loads((tmp_path / "run" / "config.yaml").read_text()))
    assert same(again.model.state_dict(), configured.model.state_dict())


def test_a_method_from_a_module_of_ones_own_in_a_configuration(tmp_path):
    method = [{"name": "cli.tiny:Weighted", "weight": 0.5}, {"name": "miles", "tau": 0.0}]
    run = train({**TINY, "method": method}, out=tmp_path / "run")
    assert run.method.methods == (Weighted(0.5), MILESMethod(tau=0.0))
    again = train(json.loads((tmp_path / "run" / "config.yaml").read_text()), out=tmp_path / "run")
    assert again.found_complete


def test_on_the_command_line(tmp_path, capsys):
    words = "--dataset cli.tiny:Tiny --epochs 1 --method miles+ogm-ge --method.ogm-ge.alpha 0.8 --method.miles.tau 0.1"
    assert main(["train", *words.split(), "--out", str(tmp_path / "run")]) == 0
    assert "miles+ogm-ge on cli.tiny:Tiny" in capsys.readouterr().out
    method = json.loads((tmp_path / "run" / "config.yaml").read_text())["method"]
    assert (method["name"], method["miles"]["tau"], method["ogm-ge"]["alpha"]) == ("miles+ogm-ge", 0.1, 0.8)


# --- a user's own methods


def test_methods_of_ones_own_compose():
    run = start([Noisy(), Halver()], epochs=2)
    assert (run.method.name, run.method.title) == ("noisy+halver", "noisy + halver")
    assert run.history[0]["learning_rates"] == pytest.approx({"multimodal": 0.1, "audio": 0.05, "image": 0.1})
    assert not same(run.model.state_dict(), start(Halver(), epochs=2).model.state_dict())


def test_who_owns_the_step_goes_with_a_method_of_learning_rates():
    owned, slowed = start(Owner(), epochs=2), start([Halver(), Owner()], epochs=2)
    moved = {name for name, value in slowed.model.state_dict().items() if not value.equal(owned.model.state_dict()[name])}
    assert moved
    assert all("audio" in name for name in moved)
    assert slowed.history[0]["steps"] == 2 * 3


class Recorder(Method):
    """Notes its hooks in a common list."""

    def __init__(self, name, calls):
        self.name = name
        self.calls = calls

    def options(self):
        return {}


def _noting(hook):
    def noted(self, *arguments, **options):
        self.calls.append((hook, self.name))
        return getattr(Method, hook)(self, *arguments, **options)

    return noted


TOLD = ("build", "check", "attach", "epoch_start", "observe", "after_step", "epoch_end", "detach")
for _hook in TOLD:
    setattr(Recorder, _hook, _noting(_hook))


def test_hooks_are_called_in_the_order_of_the_methods():
    calls = []
    start([Recorder("first", calls), Recorder("second", calls)], epochs=1, batch_size=48)
    forth = [(hook, name) for hook in TOLD[:-1] for name in ("first", "second")]
    assert calls == [*forth, ("detach", "second"), ("detach", "first")]


def test_it_describes_itself():
    composition = Composition(both())
    assert eval(repr(composition)) == composition
    assert pickle.loads(pickle.dumps(composition)) == composition
    assert composition != Composition([MILESMethod(tau=0.0), OGMGE()])
    assert composition.title == "MILES + OGM-GE"
    assert "IJCNN 2025; Peng et al." in composition.paper
