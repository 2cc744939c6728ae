"""Tasks: what targets look like and the loss of one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TASKS", "Task", "get_task", "multilabel_loss", "regression_loss", "single_label_loss"]


def single_label_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of every sample.

    :param logits: ``[batch, classes]``.
    :param targets: ``[batch]`` class numbers.
    :returns: ``[batch]``.
    """
    return functional.cross_entropy(logits, targets, reduction="none")


def multilabel_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of every sample, averaged over its labels.

    :param logits: ``[batch, labels]``.
    :param targets: ``[batch, labels]`` zeros and ones.
    :returns: ``[batch]``.
    """
    return functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none").mean(dim=1)


def regression_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error of every sample, averaged over its outputs.

    :param logits: ``[batch, outputs]`` predictions.
    :param targets: ``[batch, outputs]``, or ``[batch]`` for one output.
    :returns: ``[batch]``.
    """
    return (logits - targets.to(logits.dtype).reshape(logits.shape)).square().mean(dim=1)


@dataclass(frozen=True)
class Task:
    """A kind of target.

    :param name: its name in configurations.
    :param loss: the loss per sample.
    :param metrics: the names of its metrics, the default one first; all are larger when better.
    """

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: tuple[str, ...]

    def metric(self, name: str | None) -> str:
        """Return a metric's name, or that of the default metric for None.

        :raises InputError: for a metric that these targets do not have, with the nearest one.
        """
        if name is not None and name not in self.metrics:
            raise InputError(f"unknown metric {name!r} for {self.name} targets: {nearest(str(name), self.metrics)}")
        return name or self.metrics[0]

    def check(self, targets: Tensor, where: str, outputs: int | None = None) -> None:
        """Check the targets' shape, type and range.

        :param where: what holds them, for messages.
        :param outputs: how many outputs the model has, where that is known.
        :raises InputError: naming what was found and what is needed.
        """
        shape = list(targets.shape)
        if self.name == "single-label":
            if targets.dim() != 1 or targets.dtype != torch.int64:
                raise InputError(
                    f"{where} has targets of shape {shape} and type {targets.dtype}: single-label needs class numbers [samples], int64"
                )
            low, high = (int(bound) for bound in targets.aminmax()) if len(targets) else (0, 0)
            if low < 0 or (outputs is not None and high >= outputs):
                upper = "at least 0" if outputs is None else f"from 0 to {outputs - 1}"
                raise InputError(f"{where} has the class number {low if low < 0 else high}: numbers {upper} are needed")
        elif self.name == "multilabel":
            if targets.dim() != 2 or shape[1] != (outputs or shape[1]):
                labels = "labels" if outputs is None else outputs
                raise InputError(f"{where} has targets of shape {shape}: multilabel needs [samples, {labels}] with zeros and ones")
            if not bool(((targets == 0) | (targets == 1)).all()):
                raise InputError(f"{where} has targets other than 0 and 1: multilabel needs zeros and ones")
        elif self.name == "regression":
            if not targets.is_floating_point():
                raise InputError(f"{where} has targets of type {targets.dtype}: regression needs floating-point numbers")
            if outputs is not None and shape[1:] != [outputs] and not (outputs == 1 and len(shape) == 1):
                raise InputError(f"{where} has targets of shape {shape}: regression needs [samples, {outputs}]")
            if not bool(targets.isfinite().all()):
                raise InputError(f"{where} has targets that are NaN or infinite: regression needs finite numbers")


TASKS = {
    "single-label": Task("single-label", single_label_loss, ("accuracy", "macro_f1", "micro_f1", "mean_average_precision")),
    "multilabel": Task("multilabel", multilabel_loss, ("micro_f1", "macro_f1", "mean_average_precision", "accuracy")),
    "regression": Task("regression", regression_loss, ("r2",)),
}


def get_task(name: str) -> Task:
    """Return the task of that name.

    :raises InputError: for an unknown name, with the nearest one.
    """
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}: {nearest(name, TASKS)}")
    return TASKS[name]
