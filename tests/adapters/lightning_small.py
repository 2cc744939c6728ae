"""A small module for Lightning, and the same training written by hand."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from equimodal import Balancer, HeadScores, modality_groups
from equimodal.testing import tiny_problem

from .plain import Pairs, weights

EPOCHS = 4
MODALITIES = ("audio", "image")
HEADS = ("multimodal", *MODALITIES)

# What Lightning remarks on in trainings as small as these.
REMARKS = (
    "ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning",
    "ignore:.*does not have many workers:UserWarning",
    "ignore:.*callbacks used to create the checkpoint need to be provided:UserWarning",
    "ignore:.*smaller than the logging interval:UserWarning",
    "ignore:.*exists and is not empty:UserWarning",
    "ignore:.*Found .* module.* in eval mode:UserWarning",
)


def parts(fusion="concat"):
    """Return a model in double precision and its loaders, always in the same order; validation fills no batch evenly."""
    problem = tiny_problem(dtype=torch.float64, fusion=fusion)
    val = problem.val.subset(torch.arange(22))
    return problem.model, DataLoader(Pairs(problem.train), batch_size=8), DataLoader(Pairs(val), batch_size=8)


def assert_same(found, expected, tolerance=1e-12):
    """Check that two trainings had the same rates, multipliers and utilization after every epoch, and the same weights at the end."""
    assert len(found["logs"]) == len(expected["logs"])
    for one, other in zip(found["logs"], expected["logs"], strict=True):
        assert one == pytest.approx(other, rel=0, abs=tolerance)
    assert found["weights"].keys() == expected["weights"].keys()
    for name, value in expected["weights"].items():
        torch.testing.assert_close(found["weights"][name], value, rtol=0, atol=tolerance)


def adam(model):
    return torch.optim.Adam(modality_groups(model, lr=0.02))


def sgd(model):
    return torch.optim.SGD(modality_groups(model, lr=0.3), momentum=0.5)


def one_cycle(optimizer):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=6 * EPOCHS)


def plain_loss(prediction, targets):
    """Eq. 3, as people write it themselves."""
    return sum(cross_entropy(logits, targets) for logits in (prediction.multimodal, *prediction.unimodal.values()))


class Small(LightningModule):
    """Logs accuracies itself, or leaves scores and loss to a callback that it holds."""

    def __init__(self, balance=None, *, optimizer=adam, schedule=None, manual=False, fusion="concat", name="val_{}"):
        super().__init__()
        self.net, self._train, self._val = parts(fusion=fusion)
        self.balance, self.make_optimizer, self.make_schedule, self.name = balance, optimizer, schedule, name
        self.automatic_optimization = not manual
        self.counter = HeadScores(MODALITIES)

    def configure_callbacks(self):
        return [] if self.balance is None else [self.balance]

    def forward(self, inputs):
        return self.net(inputs)

    def configure_optimizers(self):
        optimizer = self.make_optimizer(self.net)
        if self.make_schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.make_schedule(optimizer), "interval": "step"}}

    def training_step(self, batch, _):
        inputs, targets = batch
        loss = plain_loss if self.balance is None else self.balance.loss
        loss = loss(self(inputs), targets)
        if not self.automatic_optimization:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            if self.make_schedule is not None:
                self.lr_schedulers().step()
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        inputs, targets = batch
        if self.balance is not None:
            self.balance.score(self(inputs), targets)
        else:
            self.counter.update(self(inputs), targets)

    def on_validation_epoch_end(self):
        if self.balance is None:
            self.log_scores()

    def log_scores(self):
        for head, score in self.counter.compute().items():
            self.log(self.name.format(head), torch.tensor(score, dtype=torch.float64))
        self.counter.reset()

    def train_dataloader(self):
        return self._train

    def val_dataloader(self):
        return self._val


def trainer(folder, *callbacks, epochs=EPOCHS, **options):
    """Return a quiet Trainer on the CPU."""
    options = {"logger": False, "enable_checkpointing": False, "num_sanity_val_steps": 1, **options}
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(default_root_dir=folder, max_epochs=epochs, callbacks=list(callbacks), **quiet, **options)


class Recorder(Callback):
    """Notes what a callback has to log when an epoch has ended."""

    def __init__(self, callback):
        self.callback, self.logs = callback, []

    def on_train_end(self, trainer, pl_module):
        self.logs.append(self.callback.balancer.logs())

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch:
            self.on_train_end(trainer, pl_module)


def fitted(module, callback, folder, *callbacks, ckpt_path=None, **options):
    """Train a module and return its outcome as :func:`by_hand` does."""
    recorder = Recorder(callback)
    torch.manual_seed(0)
    trainer(folder, *([] if module.balance is callback else [callback]), recorder, *callbacks, **options).fit(module, ckpt_path=ckpt_path)
    return {"logs": recorder.logs, "weights": weights(module.net)}


def by_hand(method, *, optimizer=adam, schedule=None, epochs=EPOCHS, fusion="concat", accumulate=1, clip=None):
    """Train in plain PyTorch."""
    model, train, val = parts(fusion=fusion)
    torch.manual_seed(0)
    balancer = Balancer(method)
    balancer.build(model)
    optimizer = optimizer(model)
    schedule = None if schedule is None else schedule(optimizer)
    balancer.attach(optimizer)
    logs = []
    for epoch in range(1, epochs + 1):
        model.train()
        balancer.epoch_start(epoch, epochs=epochs)
        for number, (inputs, targets) in enumerate(train, 1):
            (balancer.loss(model(inputs), targets) / accumulate).backward()
            if number % accumulate:
                continue
            balancer.before_step()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
            if schedule is not None:
                schedule.step()
        counter = HeadScores(MODALITIES)
        model.eval()
        with torch.no_grad():
            for inputs, targets in val:
                counter.update(model(inputs), targets)
        stop = balancer.epoch_end(counter.compute(), counter.losses())
        logs.append(balancer.logs())
        if stop:
            break
    return {"logs": logs, "weights": weights(model)}
