"""The score of predictions, for the samples as they are and for every bootstrap draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.diagnose.answers import answers_of, predicted
from equimodal.errors import InputError, first_line
from equimodal.tasks import TASKS
from equimodal.train.absence_scores import make_scores

if TYPE_CHECKING:
    from equimodal.diagnose.intervals import Bootstrap
    from equimodal.tasks import Task

__all__ = ["Measure"]


class Measure:
    """A metric of a task, with a quick way to resample it where there is one.

    What is kept of a prediction is small where the metric allows it: for the accuracy whether each sample is right.

    :param task: the name of a task, or a task.
    :param metric: as for :meth:`equimodal.tasks.Task.scored_by`.
    :raises InputError: for an unknown task, or a metric that it does not have.
    """

    def __init__(self, task: str | Task, metric: Any = None) -> None:
        self.scores = make_scores(task, metric)
        self.task = self.scores.task
        self.metric = self.scores.metric
        ready = metric is None or isinstance(metric, str)
        self.classes = self.task is TASKS["single-label"]
        self.is_accuracy = self.scores.counts_hits
        self._answers = answers_of(self.task)
        self.one_class = self._answers in ("classes", "steps")
        self._macro = ready and self.classes and self.metric == "macro_f1"

    def kept(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return what the score needs of a batch of predictions: 1 or 0 per sample, the predicted class, or the logits.

        :param logits: ``[batch, outputs]``, or with positions.
        :returns: its first dimension the batch.
        """
        if self.is_accuracy:
            return (logits.argmax(dim=1) == targets).float()
        if self._macro:
            return logits.argmax(dim=1)
        return logits.float()

    def columns(self, kept: list[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        """Return the scores of several predictions of the same samples.

        :param kept: what :meth:`kept` returned of each; for the accuracy also means of several such.
        :param targets: ``[samples, ...]``.
        :returns: columns ``[1 + resamples, predictions]``, see :class:`equimodal.diagnose.intervals.Bootstrap`.
        """
        if self.is_accuracy:
            return bootstrap.columns(torch.stack([hits.double() for hits in kept]))
        if self._macro:
            return torch.stack([_macro_f1(predicted, targets, bootstrap) for predicted in kept], dim=1)
        logits = torch.stack(kept)
        return bootstrap.rescored(self._scorer(logits, targets))

    def _scorer(self, logits: Tensor, targets: Tensor) -> Callable[[Tensor], list[float]]:
        """Return what scores drawn samples: first all of them, where a metric that fails is refused; later it is NaN for such a draw."""
        whole = True

        def score(drawn: Tensor) -> list[float]:
            nonlocal whole
            first, whole = whole, False
            try:
                return self.scores.of(logits[:, drawn], targets[drawn])
            except InputError:
                raise
            except Exception as error:
                if first:
                    said = f"{type(error).__name__}: {first_line(error)}"
                    raise InputError(f"the metric {self.metric!r} cannot be computed: {said}") from error
                return [math.nan] * len(logits)

        return score

    def correct(self, logits: Tensor, targets: Tensor) -> Tensor | None:
        """Return which samples ``[samples]`` are predicted right, where a sample has one class, ordered or not."""
        return predicted(logits, self._answers) == targets if self._answers in ("classes", "steps") else None

    def chance(self, targets: Tensor) -> float | None:
        """Return the score of always predicting the commonest class, where the score is the accuracy."""
        return float(targets.bincount().max()) / len(targets) if self.is_accuracy and len(targets) else None


def _macro_f1(predicted: Tensor, targets: Tensor, bootstrap: Bootstrap) -> Tensor:
    """Return the F1 averaged over the classes that occur or are predicted, as :class:`equimodal.scoring.counts.ClassCounts` has it."""
    classes = int(torch.maximum(predicted.max(), targets.max())) + 1
    given, actual = (functional.one_hot(numbers, classes).double() for numbers in (predicted, targets))

    def score(counts: Tensor) -> Tensor:
        support = counts @ given + counts @ actual
        f1 = 2 * (counts @ (given * actual)) / support.clamp(min=1)
        return f1.sum(dim=1) / (support > 0).sum(dim=1)

    return bootstrap.resampled(score)
