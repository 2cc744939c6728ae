"""Lightning: how methods that change losses or gradients are let in."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning")
from lightning.pytorch.plugins import MixedPrecision

from equimodal import InputError
from equimodal.adapters.lightning import BalanceCallback
from equimodal.methods.miles import MILESMethod
from equimodal.methods.ogm import OGM

from .lightning_small import EPOCHS, REMARKS, Small, assert_same, by_hand, fitted, sgd, trainer

pytestmark = [pytest.mark.filterwarnings(remark) for remark in REMARKS]


class Single(Small):
    """In single precision, which autocast wants."""

    def __init__(self, balance):
        super().__init__(balance, optimizer=sgd)
        self.net.float()

    def forward(self, inputs):
        return super().forward({name: value.float() for name, value in inputs.items()})


def test_gradients_are_changed_before_they_are_clipped_and_once_per_step(tmp_path):
    expected = by_hand(OGM(alpha=0.8), optimizer=sgd, accumulate=2, clip=0.1)
    unclipped = by_hand(OGM(alpha=0.8), optimizer=sgd, accumulate=2)
    assert any(not torch.equal(value, unclipped["weights"][name]) for name, value in expected["weights"].items())
    callback = BalanceCallback(OGM(alpha=0.8))
    found = fitted(Small(callback, optimizer=sgd), callback, tmp_path, accumulate_grad_batches=2, gradient_clip_val=0.1)
    assert_same(found, expected)


def test_validation_may_compute_its_loss_with_the_callback(tmp_path):
    class Both(Small):
        def validation_step(self, batch, batch_idx):
            inputs, targets = batch
            self.log("val_loss", self.balance.loss(self(inputs), targets))
            super().validation_step(batch, batch_idx)

    expected = by_hand(OGM(alpha=0.8), optimizer=sgd)
    callback = BalanceCallback(OGM(alpha=0.8))
    assert_same(fitted(Both(callback, optimizer=sgd), callback, tmp_path), expected)


def test_bfloat16(tmp_path):
    callback = BalanceCallback([MILESMethod(tau=0.3), OGM(alpha=0.8)])
    trainer(tmp_path, precision="bf16-mixed").fit(Single(callback))
    assert len(callback.balancer.method.methods[0].scheduler.history) == EPOCHS


def test_a_compiled_network(tmp_path):
    callback = BalanceCallback(OGM(alpha=0.8))
    module = Small(callback, optimizer=sgd)
    module.net.compile(backend="eager")
    assert_same(fitted(module, callback, tmp_path), by_hand(OGM(alpha=0.8), optimizer=sgd))


def test_the_module_itself_may_be_the_network(tmp_path):
    class Whole(Small):
        def modality_modules(self):
            return self.net.modality_modules()

        def forward(self, inputs, transform=None):
            return self.net(inputs, transform=transform)

        def configure_optimizers(self):
            return sgd(self)

    callback = BalanceCallback(OGM(alpha=0.8, evidence="head"))
    found = fitted(Whole(callback, optimizer=sgd), callback, tmp_path)
    assert_same(found, by_hand(OGM(alpha=0.8, evidence="head"), optimizer=sgd))


def test_a_gradient_method_whose_loss_is_not_used_is_an_error(tmp_path):
    callback = BalanceCallback(OGM())
    with pytest.raises(InputError, match="ogm has seen no prediction of this step"):
        trainer(tmp_path, callback).fit(Small(optimizer=sgd))


def test_scaled_gradients_are_unscaled_by_then(tmp_path):
    seen = []

    class Watched(BalanceCallback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            seen.append(max(float(parameter.grad.abs().max()) for parameter in pl_module.net.parameters()))
            super().on_before_optimizer_step(trainer, pl_module, optimizer)

    plugin = MixedPrecision("16-mixed", "cpu")
    trainer(tmp_path, plugins=plugin, epochs=1).fit(Single(Watched(OGM())))
    assert plugin.scaler.get_scale() >= 1024
    assert all(largest < 10 for largest in seen if largest == largest and largest != float("inf"))  # the first scales overflow
    assert any(0 < largest < 10 for largest in seen)


@pytest.mark.filterwarnings("ignore:.training_step. returned .None.:UserWarning")
def test_a_batch_may_be_left_out(tmp_path):
    class Skipping(Small):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    callback = BalanceCallback(OGM())
    trainer(tmp_path, epochs=1).fit(Skipping(callback, optimizer=sgd))
    assert callback.balancer.epoch == 1


@pytest.mark.parametrize("method", [MILESMethod(tau=0.3), OGM()])
def test_steps_that_pass_by_lightning(method, tmp_path):
    class Bypassing(Small):
        def training_step(self, batch, batch_idx):
            inputs, targets = batch
            optimizer = self.optimizers(use_pl_optimizer=False)
            optimizer.zero_grad()
            self.manual_backward(self.balance.loss(self(inputs), targets))
            optimizer.step()

    callback = BalanceCallback(method)
    module = Bypassing(callback, optimizer=sgd, manual=True)
    if isinstance(method, OGM):
        with pytest.raises(InputError, match="ogm changes gradients and was not let in during epoch 1"):
            fitted(module, callback, tmp_path, max_steps=-1)
    else:
        assert_same(fitted(module, callback, tmp_path), by_hand(method, optimizer=sgd))


def test_branches_are_not_trained_here(tmp_path):
    callback = BalanceCallback("gblend")
    with pytest.raises(InputError, match="give it, or fixed weights"):
        trainer(tmp_path).fit(Small(callback))
