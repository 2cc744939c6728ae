"""Scores of several predictions of the same samples, and intervals of their differences by the paired bootstrap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.errors import InputError
from equimodal.nn.prediction import Prediction
from equimodal.scores import MULTIMODAL
from equimodal.scoring import Scorer
from equimodal.tasks import TASKS, get_task

if TYPE_CHECKING:
    from equimodal.tasks import Task

__all__ = ["Scores", "check_numbers", "intervals", "make_scores"]


@dataclass(frozen=True)
class Scores:
    """A metric of predictions ``[predictions, samples, outputs]`` of the same targets.

    :param task: what the targets are.
    :param metric: the metric's name among those of the task.
    :param counts_hits: whether the score is the share of samples whose largest logit is that of their class.
    """

    task: Task
    metric: str
    counts_hits: bool = False

    def of(self, logits: Tensor, targets: Tensor) -> list[float]:
        """Return the score of every prediction."""
        heads = [MULTIMODAL, *map(str, range(1, len(logits)))]
        scorer = Scorer(self.task, heads, (self.metric,), logits.device)
        scorer.update(Prediction(logits[0], dict(zip(heads[1:], logits[1:], strict=True))), targets, {})
        return [scores[self.metric] for scores in scorer.compute().values()]

    def hits(self, logits: Tensor, targets: Tensor) -> Tensor | None:
        """Return ``[predictions, samples]`` whose mean over samples is the score, where the metric counts hits: a quick way to resample."""
        return (logits.argmax(dim=2) == targets).double() if self.counts_hits else None


def make_scores(task: str | Task, metric: Any) -> Scores:
    """Return how predictions are scored.

    :param task: a task or its name.
    :param metric: see :meth:`equimodal.tasks.Task.scored_by`.
    :raises InputError: for an unknown task, and a metric that it does not have.
    """
    kind, name = get_task(task).scored_by(metric)
    ready = metric is None or isinstance(metric, str)
    return Scores(kind, name, ready and kind is TASKS["single-label"] and name in ("accuracy", "micro_f1"))


def check_numbers(resamples: object, level: object) -> None:
    """Refuse numbers of draws and levels that cannot be.

    :raises InputError: naming the value.
    """
    if not isinstance(resamples, int) or isinstance(resamples, bool) or resamples < 0:
        raise InputError(f"resamples = {resamples!r}: a whole number of at least 0 is needed")
    if not isinstance(level, float) or not 0 < level < 1:
        raise InputError(f"level = {level!r}: a number between 0 and 1 is needed, such as 0.95")


def intervals(
    scores: Scores, logits: Tensor, targets: Tensor, *, resamples: int, level: float, seed: int
) -> list[tuple[float | None, float | None]]:
    """Return for every prediction the interval of its score minus that of the first one.

    Every resample draws samples with replacement, the same for all predictions.

    :param resamples: how many; none gives no intervals.
    :returns: lower and upper end from the quantiles of the differences; None where they are undefined.
    """
    if not resamples:
        return [(None, None)] * len(logits)
    generator = torch.Generator().manual_seed(seed)
    single = scores.hits(logits, targets)
    differences = torch.empty(resamples, len(logits), dtype=torch.float64)
    for number in range(resamples):
        drawn = torch.randint(len(targets), (len(targets),), generator=generator)
        if single is not None:
            values = single[:, drawn].mean(dim=1)
        else:
            values = torch.tensor(scores.of(logits[:, drawn], targets[drawn]), dtype=torch.float64)
        differences[number] = values - values[0]
    tail = (1 - level) / 2
    ends = differences.nanquantile(torch.tensor([tail, 1 - tail], dtype=torch.float64), dim=0)
    return [(_defined(low), _defined(high)) for low, high in ends.T.tolist()]


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None
