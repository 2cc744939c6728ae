"""Tasks: what targets look like, the loss of one sample, and the metrics that go with them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.errors import InputError, nearest
from equimodal.scoring.counts import (
    IGNORED,
    ClassCounts,
    Counts,
    LabelCounts,
    NumberCounts,
    OrdinalCounts,
    PositionCounts,
    check_positions,
)
from equimodal.scoring.metrics import Metric, as_metric

__all__ = [
    "IGNORED",
    "TASKS",
    "Task",
    "get_task",
    "multilabel_loss",
    "ordinal_loss",
    "positions_loss",
    "regression_loss",
    "single_label_loss",
]

Loss = Callable[[Tensor, Tensor], Tensor]
Check = Callable[[Tensor, int | None], str | None]


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


def ordinal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Return the binary cross-entropy of every sample, averaged over the thresholds between its ordered classes.

    Logit *k* asks whether the class is above *k* (Frank & Hall, ECML 2001); all are trained together, as Niu et al. (CVPR 2016) do, there
    with a sum in place of the mean:

    .. math::
        \ell = -\frac{1}{K - 1} \sum_{k=0}^{K-2} \bigl[ [y > k] \log \sigma(v_k) + [y \le k] \log \sigma(-v_k) \bigr], \qquad
        \hat y = \sum_{k=0}^{K-2} [v_k > 0]

    - *K* classes, numbered from 0; :math:`v_k` logits, *y* the true and :math:`\hat y` the predicted class, σ the logistic function.

    >>> ordinal_loss(torch.tensor([[9.0, 9.0, -9.0]]), torch.tensor([2])).item() < 0.001
    True

    A model whose logits share one weight vector and differ by their biases has logits that agree with one another (CORAL, Cao, Mirjalili
    & Raschka, 2020); the loss is the same up to that mean.

    :param logits: ``[batch, classes - 1]``.
    :param targets: ``[batch]`` class numbers from 0 to classes - 1.
    :returns: ``[batch]``.
    """
    above = targets.unsqueeze(1) > torch.arange(logits.shape[1], device=targets.device)
    return functional.binary_cross_entropy_with_logits(logits, above.to(logits.dtype), reduction="none").mean(dim=1)


def positions_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of every sample, averaged over its positions that count; 0 where none does.

    Every sample weighs the same, however many positions it has. Torch's mean over a whole batch weighs every position the same instead.

    >>> logits = torch.zeros(2, 4, 3)  # two samples, four classes, three positions
    >>> positions_loss(logits, torch.tensor([[0, 3, IGNORED], [IGNORED, IGNORED, IGNORED]])).tolist() == [torch.tensor(4.0).log().item(), 0]
    True

    :param logits: ``[batch, classes, *positions]``, as torch's cross-entropy has them.
    :param targets: ``[batch, *positions]`` class numbers; -100 for positions that do not count.
    :returns: ``[batch]``.
    :raises InputError: for shapes that do not fit.
    """
    check_positions(logits, targets)
    losses = functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none").flatten(1)
    return losses.sum(dim=1) / (targets != IGNORED).flatten(1).sum(dim=1).clamp(min=1)


class Task:
    """A kind of target, with its loss and its metrics. The ready ones are in :data:`TASKS`; make others like this.

    A ready task with another loss:

    >>> def smoothed(logits, targets):
    ...     return functional.cross_entropy(logits, targets, reduction="none", label_smoothing=0.1)
    >>> task = Task("smoothed", smoothed, like="single-label")
    >>> task.metrics
    ('accuracy', 'macro_f1', 'micro_f1', 'mean_average_precision')

    Targets of another kind, with metrics of one's own (directions as angles):

    >>> def one_minus_cosine(logits, targets):
    ...     return 1 - (logits[:, 0] - targets).cos()
    >>> def mean_cosine(logits, targets):
    ...     return (logits[:, 0] - targets).cos().mean()
    >>> def no_angles(targets, outputs):
    ...     return None if targets.is_floating_point() else f"targets of type {targets.dtype}: directions needs angles"
    >>> Task("directions", one_minus_cosine, [mean_cosine], check=no_angles).check(torch.tensor([3]), "the train split")
    Traceback (most recent call last):
    ...
    equimodal.errors.InputError: the train split has targets of type torch.int64: directions needs angles

    :param name: its name in records and configurations.
    :param loss: logits and targets in, the loss of every sample ``[batch]`` out. One loss for all heads.
    :param metrics: the default one first, all larger when better: names of ready metrics, functions of ``(logits, targets)``,
        ``torchmetrics.Metric`` objects, or pairs of a name and one of these; default those of ``like``.
    :param like: a ready task, or its name, whose targets these are: it lends its metrics and its check.
    :param check: a function ``(targets, outputs)`` that says in words what is wrong with targets, or returns None; ``outputs`` is how many
        the model has, or None where that is not known. Default that of ``like``.
    :param counts: how ready metrics are counted, a subclass of :class:`equimodal.scoring.counts.Counts`; default that of ``like``.
    :raises InputError: for an unknown name, no metric at all, or something that is no metric.
    """

    def __init__(
        self,
        name: str,
        loss: Loss,
        metrics: Sequence[Any] | None = None,
        *,
        like: str | Task | None = None,
        check: Check | None = None,
        counts: type[Counts] | None = None,
    ) -> None:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"the name of a task is {name!r}: a text is needed")
        if not callable(loss):
            raise InputError(f"loss = {loss!r} of the task {name!r}: a function of (logits, targets) is needed")
        model = None if like is None else get_task(like)
        self.name = name
        self.loss = _per_sample(loss, name)
        self.counts: type[Counts] | None = counts if counts is not None or model is None else model.counts
        self.own: Mapping[str, Metric] = {} if model is None else dict(model.own)
        self._check: Check | None = check if check is not None or model is None else model._check
        ready = () if self.counts is None else self.counts.names
        known = tuple(dict.fromkeys([*(model.metrics if model is not None else ()), *ready]))
        if isinstance(metrics, str) or not isinstance(metrics, Sequence | None):
            raise InputError(f"metrics = {metrics!r} of the task {name!r}: a list is needed, the default metric first")
        chosen = [self._read(metric, known) for metric in (known if metrics is None else metrics)]
        if not chosen:
            raise InputError(f"the task {name!r} has no metric: give metrics=[...], or like='single-label' or another ready task")
        self.metrics: tuple[str, ...] = tuple(dict.fromkeys(chosen))

    def _read(self, given: Any, known: Sequence[str]) -> str:
        """Return a metric's name, and remember it where it is not a ready one."""
        if isinstance(given, str):
            if given not in known:
                raise InputError(f"unknown metric {given!r} for {self.name} targets: {nearest(given, known)}")
            return given
        metric = as_metric(given)
        self.own = {**self.own, metric.name: metric}
        return metric.name

    def metric(self, name: str | None = None) -> str:
        """Return the metric of that name, or the default one for None.

        :raises InputError: for a metric that these targets do not have, with the nearest one.
        """
        if name is not None and name not in self.metrics:
            raise InputError(f"unknown metric {name!r} for {self.name} targets: {nearest(str(name), self.metrics)}")
        return name or self.metrics[0]

    def scored_by(self, metric: Any = None) -> tuple[Task, str]:
        """Return the task that has this metric, and the metric's name.

        A metric of one's own takes the place of a ready one of the same name; the task itself stays as it is.

        >>> TASKS["single-label"].scored_by("macro_f1")[1], TASKS["single-label"].scored_by()[1]
        ('macro_f1', 'accuracy')

        :param metric: a name, a function of ``(logits, targets)``, a ``torchmetrics.Metric``, a pair of a name and one of these, or None
            for the task's first.
        :raises InputError: for an unknown name or something that is no metric.
        """
        if metric is None or isinstance(metric, str):
            return self, self.metric(metric)
        task = copy.copy(self)
        name = task._read(metric, self.metrics)
        task.metrics = tuple(dict.fromkeys([*self.metrics, name]))
        return task, name

    def check(self, targets: Tensor, where: str, outputs: int | None = None) -> None:
        """Check the targets' shape, type and range.

        :param where: what holds them, for messages.
        :param outputs: how many outputs the model has, where that is known.
        :raises InputError: naming what was found and what is needed.
        """
        wrong = None if self._check is None else self._check(targets, outputs)
        if wrong is not None:
            raise InputError(f"{where} has {wrong}")

    def __repr__(self) -> str:
        return f"Task({self.name!r}, metrics={list(self.metrics)})"


class _PerSample:
    """A loss of one's own that is held to its word, one number per sample: masks and means rely on it."""

    def __init__(self, loss: Loss, name: str) -> None:
        self.loss = loss
        self.name = name

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        losses = self.loss(logits, targets)
        if not isinstance(losses, Tensor) or losses.shape != targets.shape[:1]:
            found = f"shape {list(losses.shape)}" if isinstance(losses, Tensor) else f"type {type(losses).__name__}"
            raise InputError(
                f"the loss of the task {self.name!r} is of {found} for {len(targets)} samples: return one number per sample, as with"
                " reduction='none' and a mean over all other dimensions"
            )
        return losses


def _per_sample(loss: Loss, name: str) -> Loss:
    ready = (single_label_loss, multilabel_loss, regression_loss, ordinal_loss, positions_loss)
    return loss if loss in ready or isinstance(loss, _PerSample) else _PerSample(loss, name)


def _classes(targets: Tensor, outputs: int | None) -> str | None:
    return _class_numbers(targets, outputs, "single-label")


def _ordered_classes(targets: Tensor, outputs: int | None) -> str | None:
    return _class_numbers(targets, None if outputs is None else outputs + 1, "ordinal", " with a logit for each step between two")


def _class_numbers(targets: Tensor, classes: int | None, task: str, more: str = "") -> str | None:
    if targets.dim() != 1 or targets.dtype != torch.int64:
        return f"targets of shape {list(targets.shape)}, {targets.dtype}: {task} needs class numbers [samples], int64"
    return _out_of_range(targets, classes, more)


def _out_of_range(targets: Tensor, classes: int | None, more: str = "") -> str | None:
    low, high = (int(bound) for bound in targets.aminmax()) if targets.numel() else (0, 0)
    if low < 0 or (classes is not None and high >= classes):
        needed = "at least 0" if classes is None else f"from 0 to {classes - 1}"
        return f"the class number {low if low < 0 else high}: numbers {needed} are needed{more}"
    return None


def _labels(targets: Tensor, outputs: int | None) -> str | None:
    if targets.dim() != 2 or targets.shape[1] != (outputs or targets.shape[1]):
        labels = "labels" if outputs is None else outputs
        return f"targets of shape {list(targets.shape)}: multilabel needs [samples, {labels}] with zeros and ones"
    if not bool(((targets == 0) | (targets == 1)).all()):
        return "targets other than 0 and 1: multilabel needs zeros and ones"
    return None


def _numbers(targets: Tensor, outputs: int | None) -> str | None:
    if not targets.is_floating_point():
        return f"targets of type {targets.dtype}: regression needs floating-point numbers"
    wanted: list[list[int]] = [[], [1]] if outputs == 1 else [[outputs or 1]]
    if outputs is not None and list(targets.shape[1:]) not in wanted:
        return f"targets of shape {list(targets.shape)}: regression needs [samples, {outputs}]"
    if not bool(targets.isfinite().all()):
        return "targets that are NaN or infinite: regression needs finite numbers"
    return None


def _positions(targets: Tensor, outputs: int | None) -> str | None:
    if targets.dim() < 2 or targets.dtype != torch.int64:
        return f"targets of shape {list(targets.shape)}, {targets.dtype}: positions needs class numbers [samples, *positions], int64"
    return _out_of_range(targets.where(targets != IGNORED, 0), outputs, f", or {IGNORED} for positions that do not count")


TASKS: Mapping[str, Task] = {
    "single-label": Task("single-label", single_label_loss, check=_classes, counts=ClassCounts),
    "multilabel": Task("multilabel", multilabel_loss, check=_labels, counts=LabelCounts),
    "regression": Task("regression", regression_loss, check=_numbers, counts=NumberCounts),
    "ordinal": Task("ordinal", ordinal_loss, check=_ordered_classes, counts=OrdinalCounts),
    "positions": Task("positions", positions_loss, check=_positions, counts=PositionCounts),
}
"""The ready tasks by name. ``"ordinal"``: ordered classes, one logit per step between two; ``"positions"``: a class per token or pixel."""


def get_task(task: str | Task) -> Task:
    """Return the task of that name; a task is returned as it is.

    :raises InputError: for an unknown name, with the nearest one, or something that is neither.
    """
    if isinstance(task, Task):
        return task
    if not isinstance(task, str):
        raise InputError(f"task = {task!r}: a name, or an equimodal.tasks.Task, is needed")
    if task not in TASKS:
        raise InputError(f"unknown task {task!r}: {nearest(task, TASKS)}")
    return TASKS[task]
