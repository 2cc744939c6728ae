"""Tasks: what targets look like and the loss of one sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.errors import InputError, nearest

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

    def metric(self, name: str | None = None) -> str:
        """Return the metric of that name, or the default one for None.

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
        if self.name in _CHECKS:
            _CHECKS[self.name](targets, where, outputs)


def _check_classes(targets: Tensor, where: str, outputs: int | None) -> None:
    if targets.dim() != 1 or targets.dtype != torch.int64:
        raise InputError(
            f"{where} has targets of shape {list(targets.shape)}, {targets.dtype}: single-label needs class numbers [samples], int64"
        )
    low, high = (int(bound) for bound in targets.aminmax()) if len(targets) else (0, 0)
    if low < 0 or (outputs is not None and high >= outputs):
        needed = "at least 0" if outputs is None else f"from 0 to {outputs - 1}"
        raise InputError(f"{where} has the class number {low if low < 0 else high}: numbers {needed} are needed")


def _check_labels(targets: Tensor, where: str, outputs: int | None) -> None:
    if targets.dim() != 2 or targets.shape[1] != (outputs or targets.shape[1]):
        labels = "labels" if outputs is None else outputs
        raise InputError(f"{where} has targets of shape {list(targets.shape)}: multilabel needs [samples, {labels}] with zeros and ones")
    if not bool(((targets == 0) | (targets == 1)).all()):
        raise InputError(f"{where} has targets other than 0 and 1: multilabel needs zeros and ones")


def _check_numbers(targets: Tensor, where: str, outputs: int | None) -> None:
    if not targets.is_floating_point():
        raise InputError(f"{where} has targets of type {targets.dtype}: regression needs floating-point numbers")
    wanted: list[list[int]] = [[], [1]] if outputs == 1 else [[outputs or 1]]
    if outputs is not None and list(targets.shape[1:]) not in wanted:
        raise InputError(f"{where} has targets of shape {list(targets.shape)}: regression needs [samples, {outputs}]")
    if not bool(targets.isfinite().all()):
        raise InputError(f"{where} has targets that are NaN or infinite: regression needs finite numbers")


_CHECKS: dict[str, Callable[[Tensor, str, int | None], None]] = {
    "single-label": _check_classes,
    "multilabel": _check_labels,
    "regression": _check_numbers,
}

TASKS = {
    "single-label": Task("single-label", single_label_loss, ("accuracy", "macro_f1", "micro_f1", "mean_average_precision")),
    "multilabel": Task(
        "multilabel", multilabel_loss, ("micro_f1", "macro_f1", "weighted_f1", "samples_f1", "mean_average_precision", "accuracy")
    ),
    "regression": Task("regression", regression_loss, ("r2",)),
}


def get_task(name: str) -> Task:
    """Return the task of that name.

    :raises InputError: for an unknown name, with the nearest one.
    """
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}: {nearest(name, TASKS)}")
    return TASKS[name]
