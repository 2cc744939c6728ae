"""Scores and mean losses of every head."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.errors import InputError
from equimodal.processes import all_sum, all_sum_counts, gather
from equimodal.scores import MULTIMODAL
from equimodal.scoring.metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from equimodal.nn.prediction import Prediction
    from equimodal.tasks import Task

__all__ = ["MeanLosses", "Scorer"]


class Scorer:
    """Counts the predictions of all heads and computes their metrics.

    What each ready metric is: :mod:`equimodal.scoring.counts`. Counts stay on the device and are read once; only mean average precision
    and functions need the logits themselves, which are then kept.

    :param task: the kind of targets.
    :param heads: ``"multimodal"`` and the modalities.
    :param metrics: the names of the metrics to compute, of those that the task has.
    :param device: where to count.
    :raises InputError: for a metric that the task does not have.
    """

    def __init__(self, task: Task, heads: Sequence[str], metrics: Sequence[str], device: torch.device) -> None:
        self.task = task
        self.heads = tuple(heads)
        self._known = set(heads)
        self.metrics = tuple(task.metric(metric) for metric in metrics)
        self.device = device
        self._samples = torch.zeros(len(self.heads), dtype=torch.float64, device=device)
        counts = task.counts
        ready = () if counts is None else tuple(name for name in self.metrics if name in counts.names and name not in task.own)
        self._counts = counts() if counts is not None and any(name not in counts.kept for name in ready) else None
        kept = {name: Metric(name, counts.kept[name]) for name in ready if counts is not None and name in counts.kept}
        own = {name: task.own[name] for name in self.metrics if name in task.own}
        self._functions = kept | {name: metric for name, metric in own.items() if metric.function is not None}
        self._kept: dict[str, list[tuple[Tensor, Tensor]]] = {head: [] for head in self.heads}
        self._modules: dict[str, tuple[Metric, dict[str, Any]]] = {
            name: (metric, {head: metric.clone(device) for head in self.heads}) for name, metric in own.items() if metric.function is None
        }

    @torch.no_grad()
    def update(self, prediction: Prediction, targets: Tensor, present: Mapping[str, Tensor]) -> None:
        """Count one batch; a head counts only the samples in which its modality is present."""
        available = {MULTIMODAL: prediction.multimodal, **prediction.unimodal}
        if len(self.heads) > 1 and not available.keys() <= self._known:
            strangers = ", ".join(sorted(available.keys() - self._known))
            raise InputError(f"the model returned unimodal predictions of {strangers}: its modalities are {', '.join(self.heads[1:])}")
        logits = torch.stack([available.get(head, prediction.multimodal) for head in self.heads]).detach()
        weights: Tensor | None = None
        if present or any(head not in available for head in self.heads):
            every, none = torch.ones_like(targets.reshape(len(targets), -1)[:, 0], dtype=torch.bool), torch.zeros(1, dtype=torch.bool)
            rows = [present.get(head, every) if head in available else none.to(every.device).expand_as(every) for head in self.heads]
            weights = torch.stack(rows)
        self._samples += len(targets) if weights is None else weights.sum(dim=1)
        if self._counts is not None:
            self._counts.add(logits, targets, weights)
        if self._functions or self._modules:
            self._keep(logits, targets, weights)

    def _keep(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> None:
        for index, head in enumerate(self.heads):
            rows = slice(None) if weights is None else weights[index]
            own, actual = logits[index][rows], targets[rows]
            own = own.float() if own.element_size() < 4 else own
            if self._functions:
                self._kept[head].append((own, actual))
            if self._modules and len(own):
                seen = actual if self.task.counts is None else self.task.counts.seen(own, actual)
                for metric, modules in self._modules.values():
                    metric.update(modules[head], own, seen)

    def compute(self) -> dict[str, dict[str, float]]:
        """Add up over all processes and return each metric by head; NaN for a head that scored no sample."""
        total = None if self._counts is None else all_sum_counts(self._counts.total)
        samples = self.samples()
        if not any(samples):
            raise InputError("no sample was scored: the split is empty")
        counts = None if total is None else total.cpu().double()
        scores: dict[str, dict[str, float]] = {}
        for index, head in enumerate(self.heads):
            if not samples[index]:
                scores[head] = dict.fromkeys(self.metrics, math.nan)
                continue
            values = {} if self._counts is None or counts is None else self._counts.metrics(counts[index], samples[index])
            values |= self._values_of(head)
            scores[head] = {metric: values[metric] for metric in self.metrics}
        return scores

    def samples(self) -> list[float]:
        """Return how many samples each head has scored, over all processes, in the order of the heads."""
        found: list[float] = all_sum(self._samples.clone()).tolist()
        return found

    def _values_of(self, head: str) -> dict[str, float]:
        """Return the metrics of one head that are not counted."""
        values = {}
        if self._functions:
            logits, targets = zip(*self._kept[head], strict=True) if self._kept[head] else ((), ())
            shapes = sorted({tuple(part.shape[1:]) for part in targets})
            if len(shapes) > 1:
                raise InputError(
                    f"targets per sample have shape {list(shapes[0])} in one batch and {list(shapes[-1])} in another, and the metric"
                    f" {next(iter(self._functions))!r} sees all at once: pad them alike, or take a ready metric"
                )
            # On the same device in every process, also where one had none, so that all compute the same number.
            every, actual = gather(logits).to(self.device), gather(targets).to(self.device)
            for name, metric in self._functions.items():
                assert metric.function is not None
                seen = actual if name not in self.task.own or self.task.counts is None else self.task.counts.seen(every, actual)
                values[name] = metric.number(metric.function(every, seen))
        for name, (metric, modules) in self._modules.items():
            values[name] = metric.computed(modules[head])
        return values


class MeanLosses:
    """Adds up the losses of every head, each over the samples in which its modality is present.

    :param task: whose loss.
    :param heads: ``"multimodal"`` and the modalities.
    :param device: where to add up.
    """

    def __init__(self, task: Task, heads: Sequence[str], device: torch.device) -> None:
        self.task = task
        self.heads = tuple(heads)
        self._sums = torch.zeros(len(self.heads), 2, dtype=torch.float64, device=device)

    @torch.no_grad()
    def update(self, prediction: Prediction, targets: Tensor, present: Mapping[str, Tensor]) -> None:
        """Add one batch."""
        available = {MULTIMODAL: prediction.multimodal, **prediction.unimodal}
        for index, head in enumerate(self.heads):
            if head in available:
                logits = available[head]
                # Losses need 32 bits at least, also under autocast.
                loss = self.task.loss(logits.float() if logits.element_size() < 4 else logits, targets)
                mask = present.get(head)
                if mask is None:
                    mask = torch.ones_like(loss, dtype=torch.bool)
                self._sums[index] += torch.stack([loss.where(mask, 0).sum().double(), mask.sum().double()])

    def compute(self) -> dict[str, float]:
        """Return the mean loss by head over all processes; NaN for a head without a sample."""
        totals = all_sum(self._sums.clone()).cpu()
        return {head: float(totals[index, 0] / totals[index, 1]) for index, head in enumerate(self.heads)}
