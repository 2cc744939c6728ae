"""A run that is cut off anywhere and started again is, bit by bit, the run that was never cut off."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import torch
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, RandomSampler

from equimodal.data.base import Splits
from equimodal.errors import InputError
from equimodal.methods.base import Method
from equimodal.methods.joint import Joint
from equimodal.methods.miles import MILESMethod
from equimodal.methods.unimodal import Unimodal
from equimodal.methods.vanilla import Vanilla

from .examples import Killed, Pairs, assert_same_run, network, run, same, splits

EPOCHS = 4
MOMENTUM = functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)


class Stateful(Method):
    """A method with noise and a state of its own, which weighs the losses."""

    name = "stateful"

    def __init__(self):
        self.weights = torch.ones(2)

    def epoch_start(self, context):
        self.weights += torch.rand(2)

    def combine(self, losses):
        multimodal, *others = losses.values()
        return multimodal + sum(weight * loss for weight, loss in zip(self.weights, others, strict=True))

    def state_dict(self):
        return {"weights": self.weights.clone()}

    def load_state_dict(self, state):
        self.weights = state["weights"].clone()


METHODS = {
    "vanilla": Vanilla,
    "joint": Joint,
    "miles": functools.partial(MILESMethod, tau=0.0, smoothing=0.5),
    "unimodal": functools.partial(Unimodal, "audio"),
    "stateful": Stateful,
}


def start(folder, method="miles", data=None, model=None, **options):
    """One call, as a fresh process would make it."""
    chosen = {"epochs": EPOCHS, "optimizer": MOMENTUM, **options}
    return run(network(dropout=0.3) if model is None else model(), data, method=METHODS[method](), out=folder, **chosen)


def cut_off_after(epoch):
    def on_epoch(record):
        if record["epoch"] == epoch:
            raise Killed

    return on_epoch


def killed(folder, **options):
    with pytest.raises(Killed):
        start(folder, **options)


@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
@pytest.mark.parametrize("method", METHODS)
def test_cut_off_after_an_epoch(tmp_path, method, epoch):
    whole = start(tmp_path / "whole", method)
    killed(tmp_path / "cut", method=method, on_epoch=cut_off_after(epoch))
    again = start(tmp_path / "cut", method)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert same(again.model.state_dict(), whole.model.state_dict())
    assert again.result == whole.result
    assert [{**record, "seconds": 0} for record in again.history] == [{**record, "seconds": 0} for record in whole.history]
    assert same(again.method.state_dict(), whole.method.state_dict())


def test_cut_off_after_every_epoch(tmp_path):
    start(tmp_path / "whole")
    for epoch in range(1, EPOCHS + 1):
        killed(tmp_path / "cut", on_epoch=cut_off_after(epoch))
    start(tmp_path / "cut")
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("step", [1, 4, 5, 11, 16])
def test_cut_off_in_the_middle_of_an_epoch(tmp_path, step):
    start(tmp_path / "whole")
    steps = iter(range(1, 100))

    class Mortal(MILESMethod):
        def after_step(self, taken):
            if next(steps) == step:
                raise Killed

    with pytest.raises(Killed):
        run(network(dropout=0.3), method=Mortal(tau=0.0, smoothing=0.5), out=tmp_path / "cut", epochs=EPOCHS, optimizer=MOMENTUM)
    start(tmp_path / "cut")
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


def die_at(monkeypatch, write, moment):
    """Kill the process at its nth written file: before it is opened, when it is written, or when it has its name."""
    rename, opened = Path.replace, Path.open
    written = iter(range(1000))

    def mortal_rename(self, target):
        now = next(written)
        if now == write and moment == "before the rename":
            raise Killed
        rename(self, target)
        if now == write and moment == "after the rename":
            raise Killed

    def mortal_open(self, *arguments, **options):
        file = opened(self, *arguments, **options)
        if self.suffix == ".tmp" and moment == "half written" and next(written) == write:
            file.write(b"PK\x03\x04 half")
            file.close()
            raise Killed
        return file

    monkeypatch.setattr(Path, "replace", rename if moment == "half written" else mortal_rename)
    monkeypatch.setattr(Path, "open", mortal_open)


@pytest.mark.parametrize("moment", ["half written", "before the rename", "after the rename"])
def test_cut_off_at_every_file(tmp_path, monkeypatch, moment):
    start(tmp_path / "whole", epochs=2)
    writes = 0
    while True:
        cut = tmp_path / f"cut-{writes}"
        with monkeypatch.context() as patch:
            die_at(patch, writes, moment)
            try:
                start(cut, epochs=2)
            except Killed:
                pass
            else:
                break
        start(cut, epochs=2)
        assert_same_run(cut, tmp_path / "whole")
        writes += 1
    # config, environment, metrics; metrics and two checkpoints (or one) per epoch; result and marker
    assert 9 <= writes <= 11


def own_loader(data):
    return DataLoader(Pairs(data), batch_size=16, shuffle=True)


def own_generator(data):
    return DataLoader(Pairs(data), batch_size=16, sampler=RandomSampler(Pairs(data), generator=torch.Generator()))


def every_split(make, **options):
    data = splits(**options)
    return Splits(*(make(part) for part in (data.train, data.val, data.test)))


SITUATIONS = {
    "a loader that shuffles": {"data": functools.partial(every_split, own_loader)},
    "a loader with a generator": {"data": functools.partial(every_split, own_generator)},
    "regression with a loader": {"data": functools.partial(every_split, own_loader, task="regression"), "task": "regression"},
    "a torch data set": {"data": functools.partial(every_split, Pairs)},
    "masks": {"data": functools.partial(splits, masks=True)},
    "batch normalisation": {"model": functools.partial(network, norm=True)},
    "bfloat16": {"autocast": torch.bfloat16},
    "accumulation and clipping": {"accumulate": 3, "clip": 0.1, "batch_size": 8},
    "groups": {"groups": {"overrides": {"audio": {"lr": 0.5}}, "no_decay": True}},
    "another metric": {"metric": "mean_average_precision"},
    "float64": {
        "model": functools.partial(network, dtype=torch.float64),
        "data": lambda: Splits(*(type(p)({k: v.double() for k, v in p.inputs.items()}, p.targets) for p in splits().parts().values())),
    },
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_in_many_situations(tmp_path, situation):
    options = dict(SITUATIONS[situation])
    make = options.pop("data", splits)
    start(tmp_path / "whole", data=make(), **options)
    for epoch in (2, EPOCHS):
        killed(tmp_path / "cut", data=make(), on_epoch=cut_off_after(epoch), **options)
    start(tmp_path / "cut", data=make(), **options)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_early_stopping_goes_on_counting(tmp_path, epoch):
    options = {"stop": 3, "epochs": 20, "optimizer": functools.partial(torch.optim.SGD, lr=0.0)}
    assert len(start(tmp_path / "whole", **options).history) == 4
    killed(tmp_path / "cut", on_epoch=cut_off_after(epoch), **options)
    again = start(tmp_path / "cut", **options)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert again.result["stopped"] is not None


def test_a_run_that_was_to_stop_stops(tmp_path):
    def enough(history):
        return len(history) == 2

    start(tmp_path / "whole", stop=enough)
    killed(tmp_path / "cut", stop=lambda history: len(history) == 2, on_epoch=cut_off_after(2), config={"a": 1})
    again = start(tmp_path / "cut", stop=lambda history: False, config={"a": 1})
    assert len(again.history) == 2
    assert (tmp_path / "cut" / "metrics.jsonl").exists()


def test_a_stop_function_is_known_by_its_name(tmp_path):
    def make():
        def patient(history):
            return len(history) == 3

        return patient

    killed(tmp_path / "cut", stop=make(), on_epoch=cut_off_after(1))
    assert len(start(tmp_path / "cut", stop=make()).history) == 3


SCHEDULERS = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda epoch: 0.9),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [1, 3, 6]),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, 0.5, total_iters=2),
    "LinearLR": lr_scheduler.LinearLR,
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 20),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 7, eta_min=0.001),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, step_size_up=3),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, total_iters=2), lr_scheduler.CosineAnnealingLR(o, 6)], milestones=[2]
    ),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(o, 0.5, 3), lr_scheduler.ExponentialLR(o, 0.9)]),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, mode="min", patience=0, threshold=10.0),
}


def test_every_scheduler_of_torch_is_tried():
    known = {name for name, value in vars(lr_scheduler).items() if isinstance(value, type) and issubclass(value, lr_scheduler.LRScheduler)}
    assert known - {"LRScheduler", "_LRScheduler"} <= set(SCHEDULERS)


STEPPED = [(name, interval) for name in SCHEDULERS for interval in ("epoch", "step") if (name, interval) != ("ReduceLROnPlateau", "step")]


@pytest.mark.parametrize(("scheduler", "interval"), STEPPED)
def test_with_every_scheduler(tmp_path, scheduler, interval):
    options = {"scheduler": SCHEDULERS[scheduler], "scheduler_interval": interval}
    whole = start(tmp_path / "whole", **options)
    killed(tmp_path / "cut", on_epoch=cut_off_after(2), **options)
    start(tmp_path / "cut", **options)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert len({record["learning_rates"]["multimodal"] for record in whole.history}) > 1


OPTIMIZERS = {
    name: value
    for name, value in vars(torch.optim).items()
    if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
}
UNUSABLE = {"LBFGS", "SparseAdam", "Muon"}  # for a closure, for sparse gradients, for matrices alone


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - UNUSABLE))
def test_with_every_optimizer(tmp_path, name):
    options = {"optimizer": functools.partial(OPTIMIZERS[name], lr=0.01), "epochs": 3}
    options |= {"method": "joint"} if name == "Rprop" else {}  # which no multiplier can slow
    whole = start(tmp_path / "whole", **options)
    killed(tmp_path / "cut", on_epoch=cut_off_after(1), **options)
    start(tmp_path / "cut", **options)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert not same(whole.model.state_dict(), network(dropout=0.3).state_dict())


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_plateau_is_one_of_the_validation_loss_or_of_its_score(tmp_path, mode):
    seen = []

    class Watching(lr_scheduler.ReduceLROnPlateau):
        def step(self, metrics):
            seen.append(metrics)
            super().step(metrics)

    finished = start(tmp_path / "run", scheduler=functools.partial(Watching, mode=mode))
    part = {"min": "losses", "max": "scores"}[mode]
    assert seen == [record[part]["val"]["multimodal"] for record in finished.history]


def test_a_finished_run_is_found_complete(tmp_path):
    first = start(tmp_path / "run")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "run").iterdir()}
    said = []
    again = start(tmp_path / "run", on_epoch=said.append)
    assert (first.found_complete, again.found_complete) == (False, True)
    assert again.result == first.result
    assert again.history == first.history
    assert same(again.model.state_dict(), first.model.state_dict())
    assert not again.model.training
    assert said == []
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "run").iterdir()} == before


def test_a_run_without_a_folder_gives_the_same_numbers(tmp_path):
    assert start(None).result == start(tmp_path / "run").result


def test_more_epochs_are_another_run(tmp_path):
    start(tmp_path / "run", config={"epochs": 4})
    identity = json.loads((tmp_path / "run" / "config.yaml").read_text())["identity"]
    start(tmp_path / "other", config={"epochs": 5})
    assert json.loads((tmp_path / "other" / "config.yaml").read_text())["identity"] != identity


def test_a_checkpoint_in_the_wrong_place_is_refused_in_one_line(tmp_path):
    def cut(record):
        raise Killed

    with pytest.raises(Killed):
        run(epochs=EPOCHS, out=tmp_path / "run", on_epoch=cut)
    (tmp_path / "run" / "last.pt").write_bytes((tmp_path / "run" / "best.pt").read_bytes())
    with pytest.raises(InputError, match="lacks the state of the optimizer: remove the run's folder") as caught:
        run(epochs=EPOCHS, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
