"""Lightning: a run that goes on from a checkpoint ends as if it had never stopped."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning")
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from equimodal import InputError
from equimodal.adapters.lightning import BalanceCallback
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.ogm import OGMGE

from .lightning_small import REMARKS, Small, adam, assert_same, fitted, one_cycle, sgd, trainer

pytestmark = [pytest.mark.filterwarnings(remark) for remark in REMARKS]

METHODS = {
    "miles": lambda: MILESMethod(tau=0.3, smoothing=0.3),
    "miles+ogm-ge": lambda: [MILESMethod(tau=0.3), OGMGE(alpha=0.8)],
    "mses": lambda: MSES(patience=0, restore="model"),
}
CHECKPOINTS = {
    "after the training epoch": ({"save_on_train_epoch_end": True}, {}),
    "after validation": ({"save_on_train_epoch_end": False}, {}),
    "validation twice an epoch": ({"save_on_train_epoch_end": True}, {"val_check_interval": 0.5}),
    "validation before the epoch's end": ({"save_on_train_epoch_end": True}, {"val_check_interval": 4}),
}


class Killed(Exception):
    pass


class Kill(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Killed


def run(name, folder, *callbacks, ckpt_path=None, **options):
    callback = BalanceCallback(METHODS[name]())
    module = Small(callback, optimizer=adam if name == "miles" else sgd, schedule=one_cycle)
    return fitted(module, callback, folder, *callbacks, ckpt_path=ckpt_path, **options), callback


@pytest.mark.parametrize("kind", CHECKPOINTS)
@pytest.mark.parametrize("name", METHODS)
def test_going_on_is_never_having_stopped(name, kind, tmp_path):
    saving, options = CHECKPOINTS[kind]
    undisturbed, _ = run(name, tmp_path, **options)
    saved = ModelCheckpoint(tmp_path, filename="last", save_top_k=1, monitor=None, enable_version_counter=False, **saving)
    with pytest.raises(Killed):
        run(name, tmp_path, saved, Kill(2 * 6 + 2), enable_checkpointing=True, **options)
    resumed, _ = run(name, tmp_path, ckpt_path=tmp_path / "last.ckpt", **options)
    # What the third epoch begins with was decided before the kill, and stands in the checkpoint.
    assert_same(resumed, {**undisturbed, "logs": undisturbed["logs"][1:]})


def test_the_checkpoint_of_an_epoch_holds_what_that_epoch_decided(tmp_path):
    saved = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    outcome, _ = run("miles", tmp_path, saved, enable_checkpointing=True)
    for epoch, logs in enumerate(outcome["logs"]):
        checkpoint = torch.load(tmp_path / f"epoch={epoch}.ckpt", weights_only=True)
        assert len(checkpoint["callbacks"]["equimodal.BalanceCallback"]["balancer"]["state"]["history"]) == epoch + 1
        (state,) = checkpoint["optimizer_states"]
        held = {group["modality"]: group["modality_lr_multiplier"] for group in state["param_groups"]}
        assert (held["audio"], held["image"]) == (logs["multiplier/audio"], logs["multiplier/image"])


def test_everything_that_is_logged_survives_a_checkpoint(tmp_path):
    saved = ModelCheckpoint(tmp_path, filename="last")
    _, before = run("miles", tmp_path, saved, enable_checkpointing=True, epochs=2)
    _, after = run("miles", tmp_path, ckpt_path=tmp_path / "last.ckpt", epochs=2)  # there is nothing left to train
    assert after.balancer.logs() == before.balancer.logs()
    assert "utilization_gap" in after.balancer.logs()


@pytest.mark.parametrize("grouped", [True, False], ids=["same groups", "groups without modalities"])
def test_a_checkpoint_from_before_the_callback_has_multipliers_of_1(grouped, tmp_path):
    def untagged(model):
        optimizer = adam(model)
        for group in optimizer.param_groups:
            del group["modality"]
        return optimizer

    saved = ModelCheckpoint(tmp_path, filename="old")
    trainer(tmp_path, saved, enable_checkpointing=True, epochs=2).fit(Small(optimizer=adam if grouped else untagged))
    callback = BalanceCallback(MILESMethod(tau=0.3))
    module = Small(callback)
    trainer(tmp_path, epochs=2).fit(module, ckpt_path=tmp_path / "old.ckpt")
    assert callback.balancer.logs() == dict.fromkeys(callback.balancer.logs(), 0.02) | {"multiplier/audio": 1.0, "multiplier/image": 1.0}
    trainer(tmp_path, epochs=3).fit(module, ckpt_path=tmp_path / "old.ckpt")
    assert len(callback.balancer.method.scheduler.history) == 1
    assert 0.5 in callback.balancer.multipliers.values()


def test_a_checkpoint_of_another_method_is_refused(tmp_path):
    saved = ModelCheckpoint(tmp_path, filename="last")
    run("miles", tmp_path, saved, enable_checkpointing=True, epochs=1)
    with pytest.raises(InputError, match="the state is of the method 'miles', this balancer drives 'mses': use that one"):
        run("mses", tmp_path, ckpt_path=tmp_path / "last.ckpt")


def test_the_same_trainer_goes_on_and_another_begins_anew(tmp_path):
    undisturbed, _ = run("miles", tmp_path, epochs=4)
    callback = BalanceCallback(METHODS["miles"]())
    module = Small(callback)
    first = trainer(tmp_path, epochs=2)
    first.fit(module)
    first.fit_loop.max_epochs = 4
    first.fit(module)
    assert len(callback.balancer.method.scheduler.history) == 4
    trainer(tmp_path, epochs=1).fit(Small(callback))
    assert len(callback.balancer.method.scheduler.history) == 1
    assert undisturbed["logs"]


def test_a_trainer_that_has_finished_saves_the_state(tmp_path):
    callback = BalanceCallback(METHODS["miles"]())
    one = trainer(tmp_path, epochs=2)
    one.fit(Small(callback))
    one.save_checkpoint(tmp_path / "end.ckpt")
    _, after = run("miles", tmp_path, ckpt_path=tmp_path / "end.ckpt", epochs=2)
    assert after.balancer.logs() == callback.balancer.logs()


@pytest.mark.filterwarnings("ignore:.*resuming from a checkpoint that ended before the epoch ended:UserWarning")
def test_scores_wait_in_the_checkpoint_for_the_epoch_to_end(tmp_path):
    saved = ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=False, enable_version_counter=False)
    with pytest.raises(Killed):
        run("miles", tmp_path, saved, Kill(2 * 6 + 5), enable_checkpointing=True, val_check_interval=4)
    waiting = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]["equimodal.BalanceCallback"]
    assert len(waiting["balancer"]["state"]["history"]) == 2
    _, after = run("miles", tmp_path, ckpt_path=tmp_path / "last.ckpt", val_check_interval=4)
    history = after.balancer.method.scheduler.history
    assert history[2]["scores"] == waiting["seen"]["scores"]
    assert len(history) == 4
