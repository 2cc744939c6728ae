"""The Trainer on the problem of the plain loop, and what it left behind."""

import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import TrainerCallback

from equimodal.adapters.transformers import BalanceCallback, TrainerModel, head_metrics

from .plain import EPOCHS, MODALITIES, adam, parts, schedule_of, weights


class Columns(Dataset):
    """Samples as mappings, with an entry per modality and the label."""

    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        inputs, label = self.pairs[index]
        return {**inputs, "labels": label}


def arguments(folder, **options):
    """Return training arguments that write little and shuffle nothing."""
    given = {
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "seed": 0,
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": 8,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "logging_strategy": "epoch",
        "max_grad_norm": 0.0,
        "train_sampling_strategy": "sequential",
        **options,
    }
    return TrainingArguments(str(folder), **given)


def trainer_for(folder, callback, *, compute_loss=False, dtype=torch.float64, callbacks=(), options=None, **trainer_options):
    """Return a Trainer with the optimizer and the schedule of the plain loop."""
    problem, train, val = parts(dtype=dtype)
    model = Dictionary(problem) if compute_loss else TrainerModel(problem)
    optimizer = adam(problem)
    given = {
        "train_dataset": Columns(train.dataset),
        "eval_dataset": Columns(val.dataset),
        "compute_metrics": head_metrics(MODALITIES),
        "optimizers": (optimizer, schedule_of(optimizer)),
        "callbacks": [*callbacks, callback],
        "compute_loss_func": callback.loss if compute_loss else None,
        **trainer_options,
    }
    return Trainer(model, arguments(folder, **(options or {})), **given)


class Dictionary(torch.nn.Module):
    """A model of the user's: its own keywords, logits by head, no loss."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, audio, image, labels=None):
        prediction = self.model({"audio": audio, "image": image})
        return {"logits": {"multimodal": prediction.multimodal, **prediction.unimodal}}

    def modality_modules(self):
        return self.model.modality_modules()


class Rates(TrainerCallback):
    """Notes the learning rates of all groups as schedules see them, after every step."""

    def __init__(self):
        self.seen = []

    def on_step_end(self, args, state, control, optimizer=None, **kwargs):
        self.seen.append([group["lr"] for group in optimizer.param_groups])


class Killed(Exception):
    """The process is gone."""


class KillAt(TrainerCallback):
    """Ends a training without a farewell when a step begins."""

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed


def logged(trainer):
    """Return what the callback logged, evaluation by evaluation."""
    found = [entry for entry in trainer.state.log_history if "learning_rate/multimodal" in entry]
    return [{name: value for name, value in entry.items() if name not in ("epoch", "step")} for entry in found]


def outcome(trainer):
    """Return logs and weights as :func:`plain` does."""
    return {"logs": logged(trainer), "weights": weights(trainer.model.model)}


__all__ = ["BalanceCallback", "Columns", "Dictionary", "KillAt", "Killed", "Rates", "arguments", "logged", "outcome", "trainer_for"]
