"""Lightning: a fit gives what the same training written by hand gives, and says in its own logs what happened."""

from __future__ import annotations

import csv
import pickle

import pytest
import torch

pytest.importorskip("lightning")
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger

from equimodal import MILES, HeadScores
from equimodal.adapters.lightning import BalanceCallback
from equimodal.methods.gblend import GBlend
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.ogm import OGM, OGMGE

from .lightning_small import (
    EPOCHS,
    HEADS,
    MODALITIES,
    REMARKS,
    Small,
    adam,
    assert_same,
    by_hand,
    fitted,
    one_cycle,
    parts,
    plain_loss,
    sgd,
    trainer,
    weights,
)

pytestmark = [pytest.mark.filterwarnings(remark) for remark in REMARKS]

METHODS = {
    "miles": lambda: MILESMethod(tau=0.3),
    "ogm": lambda: OGM(alpha=0.8),
    "miles+ogm-ge": lambda: [MILESMethod(tau=0.3), OGMGE(alpha=0.8)],
    "mses": lambda: MSES(patience=0),
    "mses, whole models": lambda: MSES(patience=0, restore="model"),
    "gblend": lambda: GBlend(weights={"multimodal": 1.0, "audio": 0.5, "image": 1.5}),
    "vanilla": lambda: "vanilla",
}


@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
@pytest.mark.parametrize("name", METHODS)
def test_a_fit_is_the_plain_loop(name, manual, tmp_path):
    optimizer = adam if name == "miles" else sgd
    expected = by_hand(METHODS[name](), optimizer=optimizer, schedule=one_cycle)
    callback = BalanceCallback(METHODS[name]())
    module = Small(callback, optimizer=optimizer, schedule=one_cycle, manual=manual)
    found = fitted(module, callback, tmp_path)
    assert_same(found, expected)
    if name == "miles":
        assert {logs["multiplier/audio"] for logs in found["logs"]} == {0.5, 1.0}


def test_a_module_with_its_own_loss_and_scores_is_a_loop_with_miles(tmp_path):
    model, train, val = parts()
    optimizer = adam(model)
    miles, rates = MILES(optimizer, tau=0.3), []
    for _ in range(EPOCHS):
        model.train()
        for inputs, targets in train:
            optimizer.zero_grad()
            plain_loss(model(inputs), targets).backward()
            optimizer.step()
        counter = HeadScores(MODALITIES)
        model.eval()
        with torch.no_grad():
            for inputs, targets in val:
                counter.update(model(inputs), targets)
        miles.step(counter.compute())
        rates.append(miles.get_last_lr())
    callback = BalanceCallback(MILESMethod(tau=0.3))
    found = fitted(Small(), callback, tmp_path)
    assert [[logs[f"learning_rate/{head}"] for head in HEADS] for logs in found["logs"]] == rates
    for name, value in weights(model).items():
        torch.testing.assert_close(found["weights"][name], value, rtol=0, atol=1e-12)


class BaseRates(Callback):
    def __init__(self):
        self.rates = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])


@pytest.mark.parametrize("make", [one_cycle, lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 9, 0.001)])
def test_another_schedule_is_the_same_with_and_without(make, tmp_path):
    plainly, balanced = BaseRates(), BaseRates()
    trainer(tmp_path, plainly).fit(Small(schedule=make))
    callback = BalanceCallback(MILESMethod(tau=0.3))
    trainer(tmp_path, balanced, callback).fit(Small(schedule=make))
    assert balanced.rates == plainly.rates
    assert 0.5 in callback.balancer.multipliers.values()


def rows(folder):
    with (folder / "version_0" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("held", [False, True], ids=["scores of the module", "scores of the callback"])
def test_logs_of_the_trainer(held, tmp_path):
    callback = BalanceCallback(MILESMethod(tau=0.3), losses="val_loss_{}")
    module = Small(callback if held else None, schedule=one_cycle)
    if not held:
        callback = BalanceCallback(MILESMethod(tau=0.3))
    found = fitted(module, callback, tmp_path, logger=CSVLogger(tmp_path, name=""), log_every_n_steps=1)
    ends = [row for row in rows(tmp_path) if row["multiplier/audio"]]
    assert len(ends) == EPOCHS
    for epoch, (row, logs) in enumerate(zip(ends, found["logs"], strict=True)):
        assert int(row["epoch"]) == epoch
        for name in logs:
            # The scheduler of each step has moved on between the end of an epoch and the beginning of the next by nothing.
            assert float(row[name]) == pytest.approx(logs[name], rel=1e-12), name
    scored = [row for row in rows(tmp_path) if row["val_audio"]]
    assert [float(row["val_audio"]) for row in scored] == [
        record["scores"]["audio"] for record in callback.balancer.method.scheduler.history
    ]
    assert ("val_loss_audio" in scored[0]) == held


def test_the_method_may_end_the_training(tmp_path, caplog):
    callback = BalanceCallback(MSES(patience=0))
    ended = trainer(tmp_path, epochs=60)
    ended.fit(Small(callback, optimizer=sgd))
    assert ended.current_epoch < 60
    assert callback.balancer.stop_reason
    assert f"mses ends the training: {callback.balancer.stop_reason}" in caplog.text


@pytest.mark.parametrize("restore", ["part", "model"])
def test_weights_that_come_back_can_be_trained_on(restore, tmp_path):
    """Validation runs in inference mode, and tensors that are made there can never be trained."""
    expected = by_hand(MSES(patience=0, restore=restore), optimizer=sgd, epochs=12)
    callback = BalanceCallback(MSES(patience=0, restore=restore))
    assert_same(fitted(Small(callback, optimizer=sgd), callback, tmp_path, epochs=12), expected)
    assert 0.0 in callback.balancer.multipliers.values()


def test_other_callbacks_watch_what_is_logged(tmp_path):
    stop = EarlyStopping("utilization_gap", stopping_threshold=10.0, mode="min")
    monitor = LearningRateMonitor()
    callback = BalanceCallback(MILESMethod(tau=0.3))
    watched = trainer(tmp_path, stop, monitor, callback, logger=CSVLogger(tmp_path, name=""), log_every_n_steps=1)
    watched.fit(Small())
    assert watched.current_epoch == 1
    assert float(watched.callback_metrics["utilization_gap"]) == pytest.approx(callback.balancer.logs()["utilization_gap"])


def test_a_plateau_scheduler_reads_the_scores(tmp_path):
    class Plateau(Small):
        def configure_optimizers(self):
            optimizer = adam(self.net)
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", factor=0.5, patience=0)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_multimodal"}}

    callback = BalanceCallback(MILESMethod(tau=0.3))
    trainer(tmp_path).fit(Plateau(callback))
    logs = callback.balancer.logs()
    assert logs["learning_rate/multimodal"] < 0.02
    assert logs["learning_rate/audio"] == logs["learning_rate/multimodal"] * logs["multiplier/audio"]


def test_averaged_weights_beside_it(tmp_path):
    """The averaging callback copies the module deeply, and with it the callback that the module holds; it is validated in its place."""
    averaging = pytest.importorskip("lightning.pytorch.callbacks.weight_averaging").WeightAveraging()  # since 2.6
    callback = BalanceCallback([MILESMethod(tau=0.3), OGM(alpha=0.8)])
    found = fitted(Small(callback, optimizer=sgd), callback, tmp_path, averaging)
    history = callback.balancer.method.methods[0].scheduler.history
    assert [record["multipliers"]["audio"] for record in history] == [logs["multiplier/audio"] for logs in found["logs"]]
    assert len(history) == EPOCHS
    held = {group["modality"]: group["modality_lr_multiplier"] for group in callback.balancer.optimizer.param_groups}
    assert held["audio"] == history[-1]["multipliers"]["audio"]


def test_it_can_be_pickled_before_a_fit():
    callback = pickle.loads(pickle.dumps(BalanceCallback("miles+ogm", losses="val_loss_{}")))
    assert callback.balancer.method.name == "miles+ogm"
