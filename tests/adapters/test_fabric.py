"""Fabric in one process: a loop that was set up gives what a plain one gives."""

from __future__ import annotations

import pytest
import torch

from equimodal import MILES, Balancer, InputError
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.ogm import OGMGE

from .plain import EPOCHS, adam, assert_same, head_scores, parts, plain, schedule_of, weights

pytest.importorskip("lightning")
from lightning.fabric import Fabric

METHODS = {
    "miles": lambda: MILESMethod(tau=0.5),
    "miles+ogm-ge": lambda: [MILESMethod(tau=0.5), OGMGE(alpha=0.8)],
    "mses": lambda: MSES(patience=0),
    "vanilla": lambda: "vanilla",
}


class Loop:
    """A training with Fabric that can be saved and taken up again."""

    def __init__(self, method, *, attach="after", clip=None, precision="32-true"):
        self.fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
        self.clip = clip
        self.inner, train, val = parts(dtype=torch.float64 if precision == "32-true" else torch.float32)  # "32-true" leaves types alone
        torch.manual_seed(0)
        self.balancer = Balancer(method)
        self.inner = self.balancer.build(self.inner)
        optimizer = adam(self.inner)
        self.schedule = schedule_of(optimizer)
        if attach == "before":
            self.balancer.attach(optimizer)
        self.model, self.optimizer = self.fabric.setup(self.inner, optimizer)
        if attach == "after":
            self.balancer.attach(self.optimizer)
        self.train, self.val = self.fabric.setup_dataloaders(train, val)
        self.logs = []

    @property
    def state(self):
        return {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule, "balancer": self.balancer}

    def run(self, first=1, last=EPOCHS):
        for epoch in range(first, last + 1):
            self.model.train()
            self.balancer.epoch_start(epoch, epochs=EPOCHS)
            for inputs, targets in self.train:
                self.fabric.backward(self.balancer.loss(self.model(inputs), targets))
                self.balancer.before_step()
                if self.clip is not None:
                    self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.clip)
                self.optimizer.step()
                self.schedule.step()
                self.optimizer.zero_grad()
            counter = head_scores(self.model, self.val)
            stop = self.balancer.epoch_end(counter.compute(), counter.losses())
            self.logs.append(self.balancer.logs())
            if stop:
                break
        return self

    def outcome(self):
        return {"logs": self.logs, "weights": weights(self.inner)}


@pytest.mark.parametrize("attach", ["before", "after"])
@pytest.mark.parametrize("method", METHODS)
def test_equals_the_plain_loop(method, attach):
    assert_same(Loop(METHODS[method](), attach=attach).run().outcome(), plain(METHODS[method]()))


def test_clipping_follows_the_method():
    assert_same(Loop(METHODS["miles+ogm-ge"](), clip=0.5).run().outcome(), plain(METHODS["miles+ogm-ge"](), clip=0.5), 1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_save_and_load(method, tmp_path):
    whole = Loop(METHODS[method]()).run()
    begun = Loop(METHODS[method]()).run(last=4)
    begun.fabric.save(tmp_path / "state.pt", begun.state)
    resumed = Loop(METHODS[method]())
    assert resumed.fabric.load(tmp_path / "state.pt", resumed.state) == {}
    assert resumed.balancer.multipliers == begun.balancer.multipliers
    resumed.logs = begun.logs
    assert_same(resumed.run(first=5).outcome(), whole.outcome())


def test_an_older_checkpoint_has_multipliers_of_1(tmp_path):
    old = Loop(METHODS["miles"]()).run(last=1)
    old.balancer.detach()
    for group in old.optimizer.param_groups:
        del group["modality"]
    old.fabric.save(tmp_path / "state.pt", {"model": old.model, "optimizer": old.optimizer})
    new = Loop(METHODS["miles"]())
    new.fabric.load(tmp_path / "state.pt", new.state, strict=False)
    assert new.balancer.multipliers == {"audio": 1.0, "image": 1.0}
    new.balancer.epoch_end({"multimodal": 0.9, "audio": 0.9, "image": 0.4})
    assert new.balancer.multipliers == {"audio": 0.5, "image": 1.0}


@pytest.mark.parametrize("before", [True, False])
def test_miles_alone(before):
    fabric = Fabric(accelerator="cpu", devices=1)
    model, *_ = parts(dtype=torch.float32)
    optimizer = torch.optim.SGD(adam(model).param_groups, lr=0.1)
    miles = MILES(optimizer) if before else None
    inner = model
    model, optimizer = fabric.setup(model, optimizer)
    miles = miles or MILES(optimizer)
    miles.step({"multimodal": 0.9, "audio": 0.85, "image": 0.4})
    old = weights(inner)
    for parameter in inner.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name: float((old[name] - value).mean()) for name, value in weights(inner).items()}
    for name, distance in moved.items():
        assert distance == pytest.approx(0.05 if ".audio." in f".{name}" else 0.1, rel=1e-4), name


def test_mixed_precision_takes_a_prediction():
    loop = Loop("ogm", precision="bf16-mixed").run(last=1)
    assert {loss.dtype for loss in loop.balancer.head_losses.values()} == {torch.float32}


def test_an_optimizer_without_tags_is_refused():
    fabric = Fabric(accelerator="cpu", devices=1)
    model, *_ = parts()
    _, optimizer = fabric.setup(model, torch.optim.Adam(model.parameters()))
    with pytest.raises(InputError, match="modality_groups"):
        Balancer("miles").attach(optimizer)
