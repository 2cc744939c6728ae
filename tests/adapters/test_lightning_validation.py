"""Lightning: to which validations the method is applied, and which scores it sees."""

from __future__ import annotations

import csv

import pytest
import torch

pytest.importorskip("lightning")
torchmetrics = pytest.importorskip("torchmetrics")
from lightning.pytorch.loggers import CSVLogger  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from equimodal import HeadScores  # noqa: E402
from equimodal.adapters.lightning import BalanceCallback  # noqa: E402
from equimodal.methods.miles import MILESMethod  # noqa: E402
from equimodal.methods.mslr import MSLRKeep  # noqa: E402

from .lightning_small import EPOCHS, HEADS, MODALITIES, REMARKS, Small, adam, fitted, plain_loss, sgd, trainer  # noqa: E402

pytestmark = [pytest.mark.filterwarnings(remark) for remark in REMARKS]


def made(**options):
    return BalanceCallback(MILESMethod(tau=0.3), **options)


def history(callback):
    return callback.balancer.method.scheduler.history


class Told(Small):
    """Logs what it is told, one mapping per validation; None for none."""

    def __init__(self, told, **options):
        super().__init__(**options)
        self.told, self.validations = list(told), 0

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        pass

    def log_scores(self):
        if self.trainer.sanity_checking:
            scores = dict.fromkeys(HEADS, 0.1)
        else:
            scores, self.validations = self.told[self.validations], self.validations + 1
        if scores is not None:
            self.log_dict({f"val_{head}": torch.tensor(score, dtype=torch.float64) for head, score in scores.items()})


def scores_of(number):
    return {"multimodal": 0.9, "audio": 0.8 - number / 100, "image": 0.5 + number / 100}


def seen(callback):
    return [record["scores"] for record in history(callback)]


@pytest.mark.parametrize("sanity", [0, 2])
def test_once_per_epoch_and_never_for_the_sanity_check(sanity, tmp_path):
    callback = made()
    trainer(tmp_path, callback, num_sanity_val_steps=sanity).fit(Told(map(scores_of, range(EPOCHS))))
    assert seen(callback) == [scores_of(number) for number in range(EPOCHS)]


def test_epochs_without_validation_change_nothing(tmp_path):
    callback = made()
    found = fitted(Told([scores_of(0), scores_of(5)]), callback, tmp_path, check_val_every_n_epoch=2)
    assert seen(callback) == [scores_of(0), scores_of(5)]
    assert [logs["multiplier/audio"] for logs in found["logs"]] == [1.0, 0.5, 0.5, 1.0]
    assert callback.balancer.epoch == EPOCHS


def test_old_scores_do_not_count_twice(tmp_path):
    same = scores_of(0)
    callback = made()
    trainer(tmp_path, callback).fit(Told([same, None, same, None]))
    assert seen(callback) == [same, same]


@pytest.mark.parametrize("reduce", ["mean", "max", "sum"])
def test_equal_scores_that_are_logged_anew_do(reduce, tmp_path):
    class Reduced(Small):
        def validation_step(self, batch, batch_idx):
            for head in HEADS:
                self.log(f"val_{head}", 0.5, reduce_fx=reduce, batch_size=1)

        def log_scores(self):
            pass

    callback = made()
    trainer(tmp_path, callback).fit(Reduced())
    assert len(history(callback)) == EPOCHS


def test_a_metric_object_is_read_each_time(tmp_path):
    class Metrics(Small):
        def __init__(self):
            super().__init__()
            made = {head: torchmetrics.Accuracy("multiclass", num_classes=3) for head in HEADS}
            self.accuracies = torch.nn.ModuleDict(made)
            self.expected = []

        def validation_step(self, batch, batch_idx):
            inputs, targets = batch
            prediction = self(inputs)
            self.counter.update(prediction, targets)
            for head, logits in {"multimodal": prediction.multimodal, **prediction.unimodal}.items():
                self.accuracies[head](logits, targets)
                self.log(f"val_{head}", self.accuracies[head])

        def log_scores(self):
            self.expected.append(self.counter.compute())
            self.counter.reset()

    callback, module = made(), Metrics()
    trainer(tmp_path, callback).fit(module)
    assert len(history(callback)) == EPOCHS
    for found, expected in zip(seen(callback), module.expected[1:], strict=True):  # the first was the sanity check
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("interval", [0.5, 4], ids=["at the end too", "not at the end"])
def test_the_last_of_several_validations_counts(interval, tmp_path):
    times = 2 if interval == 0.5 else 1
    callback = made()
    trainer(tmp_path, callback, val_check_interval=interval).fit(Told(map(scores_of, range(times * EPOCHS))))
    assert seen(callback) == [scores_of(times * epoch + times - 1) for epoch in range(EPOCHS)]


def test_every_validation_counts_where_it_goes_by_steps(tmp_path):
    """24 steps, a validation after every fifth, epochs of six."""
    callback = made()
    logger = CSVLogger(tmp_path, name="")
    options = {"val_check_interval": 5, "check_val_every_n_epoch": None, "logger": logger}
    trainer(tmp_path, callback, **options).fit(Told(map(scores_of, range(4))))
    assert seen(callback) == [scores_of(number) for number in range(4)]
    assert callback.balancer.epoch == 5
    with (tmp_path / "version_0" / "metrics.csv").open() as file:
        logged = [row for row in csv.DictReader(file) if row["multiplier/audio"]]
    assert [(int(row["step"]), float(row["multiplier/audio"])) for row in logged] == [(4, 0.5), (9, 0.5), (14, 1.0), (19, 1.0)]


def test_one_of_several_loaders(tmp_path):
    class Two(Small):
        def val_dataloader(self):
            return [self._val, DataLoader(self._train.dataset, batch_size=16)]

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            inputs, targets = batch
            prediction = self(inputs)
            for head, logits in {"multimodal": prediction.multimodal, **prediction.unimodal}.items():
                right = (logits.argmax(dim=1) == targets).double().mean()
                self.log(f"val_{head}", right, batch_size=len(targets))
            if dataloader_idx == 1:
                self.counter.update(prediction, targets)

        def log_scores(self):
            if not self.trainer.sanity_checking:
                self.expected = self.counter.compute()
            self.counter.reset()

    callback, module = made(scores="val_{}/dataloader_idx_1"), Two()
    trainer(tmp_path, callback).fit(module)
    assert seen(callback)[-1] == pytest.approx(module.expected)
    assert len(history(callback)) == EPOCHS


def test_the_callback_counts_one_of_several_loaders(tmp_path):
    class Two(Small):
        def val_dataloader(self):
            return [DataLoader(self._train.dataset, batch_size=16), self._val]

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            if dataloader_idx == 1:
                super().validation_step(batch, batch_idx)

    one, two = made(), made()
    trainer(tmp_path).fit(Small(one))
    fit = trainer(tmp_path)
    fit.fit(Two(two))
    assert seen(two) == seen(one)
    assert float(fit.callback_metrics["val_audio"]) == seen(two)[-1]["audio"]


def test_names_by_head(tmp_path):
    class Named(Told):
        def log_scores(self):
            super().log_scores()
            self.log("accuracy", 0.95)

    callback = made(scores={"multimodal": "accuracy", "audio": "val_audio", "image": "val_image"})
    trainer(tmp_path, callback).fit(Named(map(scores_of, range(EPOCHS))))
    assert seen(callback)[0] == pytest.approx({**scores_of(0), "multimodal": 0.95})


def test_scores_of_training(tmp_path):
    class Training(Small):
        def training_step(self, batch, batch_idx):
            inputs, targets = batch
            prediction = self(inputs)
            self.counter.update(prediction, targets)
            for head, logits in {"multimodal": prediction.multimodal, **prediction.unimodal}.items():
                right = (logits.argmax(dim=1) == targets).double().mean()
                self.log(f"train_{head}", right, on_epoch=True, on_step=False, batch_size=len(targets))
            return plain_loss(prediction, targets)

        def on_train_epoch_end(self):
            self.expected = self.counter.compute()
            self.counter.reset()

    callback = BalanceCallback(MILESMethod(tau=0.3, split="train"), train_scores="train_{}")
    module = Training()
    trainer(tmp_path, callback, limit_val_batches=0).fit(module)
    assert len(history(callback)) == EPOCHS
    assert seen(callback)[-1] == pytest.approx(module.expected)


def test_validate_logs_scores_and_changes_nothing(tmp_path):
    callback = made()
    module = Small(callback)
    one = trainer(tmp_path, epochs=2)
    one.fit(module)
    before = callback.balancer.state_dict()
    (logged,) = one.validate(module, verbose=False)
    counter = HeadScores(MODALITIES)
    with torch.no_grad():
        for inputs, targets in module.val_dataloader():
            counter.update(module.eval()(inputs), targets)
    assert {head: logged[f"val_{head}"] for head in HEADS} == counter.compute()
    assert callback.balancer.state_dict() == before
    fresh = BalanceCallback()
    assert trainer(tmp_path).validate(Small(fresh), verbose=False)[0].keys() == {f"val_{head}" for head in HEADS}


def test_a_method_without_scores_needs_none(tmp_path):
    class Silent(Small):
        def validation_step(self, batch, batch_idx):
            self.balance.loss(self(batch[0]), batch[1])

    callback = BalanceCallback("ogm")
    trainer(tmp_path).fit(Silent(callback, optimizer=sgd))
    assert "utilization_gap" not in callback.balancer.logs()
    keep = BalanceCallback(MSLRKeep({"audio": 0.01, "image": 0.03}))
    trainer(tmp_path, keep, limit_val_batches=0).fit(Small(optimizer=adam))
    assert keep.balancer.logs()["learning_rate/audio"] == pytest.approx(0.01)


def test_one_batch_is_enough(tmp_path):
    callback = made()
    trainer(tmp_path, fast_dev_run=True).fit(Small(callback))
    assert len(history(callback)) == 1
