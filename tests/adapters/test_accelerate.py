"""Accelerate, in one process: a prepared loop gives what a plain one gives."""

from __future__ import annotations

import pytest
import torch

from equimodal import MILES, Balancer, InputError
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.ogm import OGM, OGMGE

from .plain import EPOCHS, adam, assert_same, head_scores, parts, plain, schedule_of, weights

pytest.importorskip("accelerate")
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.scheduler import AcceleratedScheduler
from accelerate.state import AcceleratorState, GradientState

METHODS = {
    "miles": lambda: MILESMethod(tau=0.5),
    "ogm": lambda: OGM(alpha=0.8),
    "miles+ogm-ge": lambda: [MILESMethod(tau=0.5), OGMGE(alpha=0.8)],
    "mses": lambda: MSES(patience=0),
    "vanilla": lambda: "vanilla",
}


@pytest.fixture(autouse=True)
def _fresh():
    """Accelerate keeps its settings for the whole process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


class Loop:
    """A training with Accelerate that can be saved and taken up again."""

    def __init__(self, method, *, accumulate=1, clip=None, attach="after", precision="no", dtype=torch.float64):
        self.accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate, mixed_precision=precision)
        self.clip = clip
        model, train, val = parts(dtype=dtype)
        torch.manual_seed(0)
        self.balancer = Balancer(method)
        model = self.balancer.build(model)
        optimizer = adam(model)
        schedule = schedule_of(optimizer)
        if attach == "before":
            self.balancer.attach(optimizer)
        prepared = self.accelerator.prepare(model, optimizer, train, val, schedule)
        self.model, self.optimizer, self.train, self.val, self.schedule = prepared
        if attach == "after":
            self.balancer.attach(self.optimizer)
        self.accelerator.register_for_checkpointing(self.balancer)
        self.logs = []

    def run(self, first=1, last=EPOCHS):
        for epoch in range(first, last + 1):
            self.model.train()
            self.balancer.epoch_start(epoch, epochs=EPOCHS)
            for inputs, targets in self.train:
                with self.accelerator.accumulate(self.model):
                    self.accelerator.backward(self.balancer.loss(self.model(inputs), targets))
                    if self.accelerator.sync_gradients:
                        self.balancer.before_step()
                        if self.clip is not None:
                            self.accelerator.clip_grad_norm_(self.model.parameters(), self.clip)
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
        model = self.accelerator.unwrap_model(self.model)
        return {"logs": self.logs, "weights": weights(model), "balancer": self.balancer.state_dict()}


@pytest.mark.parametrize("attach", ["before", "after"])
@pytest.mark.parametrize("method", METHODS)
def test_equals_the_plain_loop(method, attach):
    expected = plain(METHODS[method]())
    assert_same(Loop(METHODS[method](), attach=attach).run().outcome(), expected)


def test_methods_have_something_to_do():
    assert {log["multiplier/audio"] for log in plain(METHODS["miles"]())["logs"]} == {0.5, 1.0}
    assert {log["multiplier/image"] for log in plain(METHODS["mses"]())["logs"]} == {0.0, 1.0}


@pytest.mark.parametrize("method", ["miles", "miles+ogm-ge"])
def test_accumulation_and_clipping(method):
    expected = plain(METHODS[method](), accumulate=2, clip=0.5)
    assert_same(Loop(METHODS[method](), accumulate=2, clip=0.5).run().outcome(), expected)


@pytest.mark.parametrize("cut", [1, 4])
@pytest.mark.parametrize("method", METHODS)
def test_save_and_load(method, cut, tmp_path):
    whole = Loop(METHODS[method]()).run()
    begun = Loop(METHODS[method]()).run(last=cut)
    begun.accelerator.save_state(tmp_path)
    resumed = Loop(METHODS[method]())
    resumed.accelerator.load_state(tmp_path)
    assert resumed.balancer.multipliers == begun.balancer.multipliers
    resumed.logs = begun.logs
    assert_same(resumed.run(first=cut + 1).outcome(), whole.outcome())
    assert resumed.balancer.state_dict().keys() == whole.balancer.state_dict().keys()


def test_a_state_loaded_before_attach_waits(tmp_path):
    begun = Loop(METHODS["miles"]()).run(last=1)
    begun.accelerator.save_state(tmp_path)
    assert begun.balancer.multipliers["audio"] == 0.5
    resumed = Loop(METHODS["miles"](), attach="never")
    resumed.accelerator.load_state(tmp_path)
    assert resumed.balancer.multipliers == {}
    resumed.balancer.attach(resumed.optimizer)
    assert resumed.balancer.multipliers == begun.balancer.multipliers


def test_an_older_checkpoint_has_multipliers_of_1(tmp_path):
    old = Loop(METHODS["miles"]()).run(last=1)
    old.balancer.detach()
    for group in old.optimizer.param_groups:
        del group["modality"]
    old.accelerator._custom_objects.clear()  # as if it had never been registered
    old.accelerator.save_state(tmp_path)
    new = Loop(METHODS["miles"]())
    new.accelerator._custom_objects.clear()
    new.accelerator.load_state(tmp_path)
    new.accelerator.register_for_checkpointing(new.balancer)
    assert new.balancer.multipliers == {"audio": 1.0, "image": 1.0}
    assert [group["modality"] for group in new.optimizer.param_groups] == ["multimodal", "audio", "image"]
    new.balancer.epoch_end({"multimodal": 0.9, "audio": 0.9, "image": 0.4})
    assert new.balancer.multipliers == {"audio": 0.5, "image": 1.0}


def test_half_precision_losses_are_computed_in_full():
    loop = Loop("ogm", precision="bf16", dtype=torch.float32)
    seen = []
    loop.balancer.method.observe = lambda prediction, batch: seen.append(prediction.multimodal.dtype)
    loop.balancer.method.modulate = lambda parameters: None
    loop.run(last=1)
    assert set(seen) == {torch.float32}
    assert {loss.dtype for loss in loop.balancer.head_losses.values()} == {torch.float32}


@pytest.mark.parametrize("prepare", ["prepare", "prepare_scheduler"])
def test_miles_goes_through_prepare_unchanged(prepare):
    accelerator = Accelerator(cpu=True)
    model, *_ = parts()
    model, optimizer = accelerator.prepare(model, adam(model))
    miles = MILES(optimizer)
    assert getattr(accelerator, prepare)(miles) is miles


def test_only_the_other_scheduler_is_wrapped():
    accelerator = Accelerator(cpu=True)
    model, *_ = parts()
    optimizer = adam(model)
    miles, balancer = MILES(optimizer), Balancer("ogm")
    _, _, schedule, first, second = accelerator.prepare(model, optimizer, schedule_of(optimizer), miles, balancer)
    assert isinstance(schedule, AcceleratedScheduler)
    assert first is miles
    assert second is balancer


def test_miles_alone_beside_a_prepared_schedule(tmp_path):
    """Before ``prepare`` and after it; ``load_state`` brings rule and multipliers back."""
    scores = {"multimodal": 0.9, "audio": 0.85, "image": 0.4}
    for before in (True, False):
        accelerator = Accelerator(cpu=True)
        model, *_ = parts()
        optimizer = adam(model)
        miles = MILES(optimizer) if before else None
        model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule_of(optimizer, gamma=0.1))
        miles = miles or MILES(optimizer)
        accelerator.register_for_checkpointing(miles)
        accelerator.save_state(tmp_path / f"{before} untouched")
        miles.step(scores)
        for _ in range(2):
            optimizer.step()
            schedule.step()
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01] * 3)
        assert miles.get_last_lr() == pytest.approx([0.01, 0.005, 0.01])
        accelerator.save_state(tmp_path / f"{before}")
        accelerator.load_state(tmp_path / f"{before} untouched")
        assert miles.multipliers == {"audio": 1.0, "image": 1.0}
        assert miles.history == []
        accelerator.load_state(tmp_path / f"{before}")
        assert miles.get_last_lr() == pytest.approx([0.01, 0.005, 0.01])
        assert len(miles.history) == 1


def test_an_optimizer_without_tags_is_refused():
    accelerator = Accelerator(cpu=True)
    model, *_ = parts()
    model, optimizer = accelerator.prepare(model, torch.optim.Adam(model.parameters()))
    with pytest.raises(InputError, match="modality_groups"):
        Balancer("miles").attach(optimizer)


def test_an_engine_is_refused():
    """What Accelerate hands out where DeepSpeed trains: an optimizer in name, around one that is none of torch's."""

    class Engine:
        def __init__(self, optimizer):
            self.optimizer, self.param_groups = optimizer, optimizer.param_groups
            self.state, self.defaults = optimizer.state, optimizer.defaults

    model, *_ = parts()
    Accelerator(cpu=True)
    with pytest.raises(InputError, match=r"AcceleratedOptimizer is no .*, and holds Engine"):
        Balancer("miles").attach(AcceleratedOptimizer(Engine(adam(model)), device_placement=False))
