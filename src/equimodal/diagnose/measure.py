"""The score of predictions, for the samples as they are and for every bootstrap draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.diagnose.answers import answers_of, predicted
from equimodal.diagnose.weighted import Classes, Hits, Steps, form_of
from equimodal.errors import InputError, first_line
from equimodal.tasks import TASKS
from equimodal.train.absence_scores import make_scores

if TYPE_CHECKING:
    from equimodal.diagnose.intervals import Bootstrap
    from equimodal.tasks import Task

__all__ = ["Measure"]


_TOGETHER = 2**23
"""Predictions are scored anew together as long as they have so many logits."""


class Measure:
    """A metric of a task, with a quick way to resample it where there is one: of all ready metrics.

    What is kept of a prediction is small where the metric allows it: for the accuracy whether each sample is right.

    :param task: the name of a task, or a task.
    :param metric: as for :meth:`equimodal.tasks.Task.scored_by`.
    :raises InputError: for an unknown task, or a metric that it does not have.
    """

    def __init__(self, task: str | Task, metric: Any = None) -> None:
        self.scores = make_scores(task, metric)
        self.task = self.scores.task
        self.metric = self.scores.metric
        self.classes = self.task is TASKS["single-label"]
        self.is_accuracy = self.scores.counts_hits
        self._answers = answers_of(self.task)
        self.one_class = self._answers in ("classes", "steps")
        self._form = form_of(self.scores)

    @property
    def is_mean(self) -> bool:
        """Whether the score is the mean over samples of what is kept."""
        return self._form is not None and self._form.is_mean

    def kept(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return what the score needs of a batch of predictions: whether each is right, the answers in few bytes, or the logits.

        :param logits: ``[batch, outputs]``, or with positions.
        :returns: its first dimension the batch.
        """
        return logits.float() if self._form is None else self._form.keep(logits, targets)

    def columns(self, kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        """Return the scores of several predictions of the same samples.

        :param kept: what :meth:`kept` returned of each; where :attr:`is_mean` also means of several such.
        :param targets: ``[samples, ...]``.
        :returns: columns ``[1 + resamples, predictions]``, see :class:`equimodal.diagnose.intervals.Bootstrap`.
        """
        if self._form is not None:
            return self._form.columns(kept, targets, bootstrap)
        step = max(_TOGETHER // max(kept[0].numel(), 1), 1)
        groups = [kept[start : start + step] for start in range(0, len(kept), step)]
        return torch.cat([bootstrap.rescored(self._scorer(group, targets)) for group in groups], dim=1)

    def _scorer(self, kept: Sequence[Tensor], targets: Tensor) -> Callable[[Tensor], list[float]]:
        """Return what scores drawn samples: first all of them, where a metric that fails is refused; later it is NaN for such a draw."""
        whole = True

        def score(drawn: Tensor) -> list[float]:
            nonlocal whole
            first, whole = whole, False
            try:
                return self.scores.of(torch.stack([own[drawn] for own in kept]), targets[drawn])
            except InputError:
                raise
            except Exception as error:
                if first:
                    said = f"{type(error).__name__}: {first_line(error)}"
                    raise InputError(f"the metric {self.metric!r} cannot be computed: {said}") from error
                return [math.nan] * len(kept)

        return score

    def right(self, kept: Tensor, targets: Tensor) -> Tensor | None:
        """Return which samples ``[samples]`` are predicted right, where a sample has one class, ordered or not.

        :param kept: what :meth:`kept` returned.
        """
        if not self.one_class:
            return None
        if isinstance(self._form, Hits):
            return kept
        if isinstance(self._form, (Classes, Steps)):
            return kept == targets
        return predicted(kept, self._answers) == targets

    def correct(self, logits: Tensor, targets: Tensor) -> Tensor | None:
        """Return the same of logits."""
        return self.right(self.kept(logits, targets), targets)

    def chance(self, targets: Tensor) -> float | None:
        """Return the score of always predicting the commonest class, where the score is the accuracy."""
        return float(targets.bincount().max()) / len(targets) if self.is_accuracy and len(targets) else None
