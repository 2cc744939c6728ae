"""Scores of every head, counted on the device and read once an epoch.

Counts are sums, so that they add up over batches and over processes before any rule sees a score.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equimodal.errors import InputError
from equimodal.processes import all_sum, all_sum_counts, gather
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from equimodal.nn.prediction import Prediction
    from equimodal.tasks import Task

__all__ = ["Scorer", "average_precision"]

_UNIT = 2**40
"""What an F1 of 1 counts for one sample: fine enough for twelve digits, and for eight million samples in 64 bits."""


class Scorer:
    """Counts the predictions of all heads and computes their metrics.

    - ``accuracy``: share of samples predicted right; multilabel: with every label right.
    - ``macro_f1``: F1 = 2 tp / (2 tp + fp + fn) averaged over classes, as scikit-learn: classes that neither occur nor are predicted
      are left out (single-label) or count as 0 (multilabel).
    - ``micro_f1``: F1 of the counts summed over classes; equals accuracy for single-label targets.
    - ``weighted_f1`` (multilabel): F1 averaged over labels, each weighted with the number of samples that have it.
    - ``samples_f1`` (multilabel): F1 of each sample's labels, averaged over samples; 0 for one that has none and is given none.
    - ``mean_average_precision``: average precision of each class against the rest, over the classes that occur.
    - ``r2``: 1 − residual / total sum of squares, averaged over outputs; an output whose targets are all equal counts as 0, or 1 where it
      is predicted without error, as in scikit-learn.

    Multilabel predictions are those with a logit above 0 (a probability above 0.5).

    :param task: the kind of targets.
    :param heads: ``"multimodal"`` and the modalities.
    :param metrics: which metrics to compute; only mean average precision needs to keep the logits.
    :param device: where to count.
    :raises InputError: for a metric that the task does not have.
    """

    def __init__(self, task: Task, heads: Sequence[str], metrics: Sequence[str], device: torch.device) -> None:
        self.task = task
        self.heads = tuple(heads)
        self._known = set(heads)
        self.metrics = tuple(task.metric(metric) for metric in metrics)
        self.device = device
        self._counts: Tensor | None = None  # [heads, ...], see the _count methods
        self._samples = torch.zeros(len(self.heads), dtype=torch.float64, device=device)
        self._first_cells: Tensor | None = None
        self._kept: dict[str, list[tuple[Tensor, Tensor]]] = {head: [] for head in self.heads}

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
        if self.task.name == "single-label":
            self._count_classes(logits, targets, weights)
        else:
            counts = (self._count_labels if self.task.name == "multilabel" else self._count_errors)(logits, targets, weights)
            self._counts = counts if self._counts is None else self._counts + counts
        if "mean_average_precision" in self.metrics:
            for index, head in enumerate(self.heads):
                rows_kept = slice(None) if weights is None else weights[index]
                self._kept[head].append((logits[index][rows_kept].float(), targets[rows_kept]))

    def _count_classes(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> None:
        """Count into confusion matrices ``[heads, true class, predicted class]``, in place: this runs at every step."""
        heads, _, classes = logits.shape
        if self._counts is None or self._first_cells is None:
            self._counts = torch.zeros(heads, classes, classes, dtype=torch.int64, device=logits.device)
            self._first_cells = torch.arange(heads, device=logits.device).unsqueeze(1) * classes**2
        cells = logits.argmax(dim=2).add_(targets, alpha=classes).add_(self._first_cells)
        ones = torch.ones_like(cells) if weights is None else weights.to(cells.dtype)
        self._counts.view(-1).index_add_(0, cells.view(-1), ones.view(-1))

    def _count_labels(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Count by label: ``[heads, 5, labels]``.

        True positives, false positives, false negatives; and, equal for all labels, samples with every label right and their summed F1.
        """
        predicted, actual = logits > 0, (targets > 0.5).expand_as(logits)
        right = (predicted == actual).all(dim=2, keepdim=True).expand_as(logits)
        cells = torch.stack([predicted & actual, predicted & ~actual, ~predicted & actual, right], dim=1)
        f1 = 2.0 * cells[:, 0].sum(dim=2).double() / (predicted.sum(dim=2) + actual.sum(dim=2)).clamp(min=1)
        if weights is not None:
            cells, f1 = cells & weights[:, None, :, None], f1 * weights
        # Added up in whole numbers, so that the sum does not depend on how the samples were divided.
        shares = (f1 * _UNIT).round().long().sum(dim=1)[:, None, None].expand(-1, 1, cells.shape[3])
        return torch.cat([cells.sum(dim=2), shares], dim=1)

    def _count_errors(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Return ``[heads, 4, outputs]``: samples, sum and sum of squares of the targets, and of squared errors."""
        predicted = logits.double()
        actual = targets.double().reshape(predicted.shape[1:]).expand_as(predicted)
        cells = torch.stack([torch.ones_like(actual), actual, actual.square(), (predicted - actual).square()], dim=1)
        if weights is not None:
            cells = torch.where(weights[:, None, :, None], cells, 0.0)
        return cells.sum(dim=2)

    def compute(self) -> dict[str, dict[str, float]]:
        """Add up over all processes and return each metric by head; NaN for a head that scored no sample."""
        total = all_sum_counts(self._counts)
        if total is None:
            raise InputError("no sample was scored: the split is empty")
        counts = total.cpu().double()
        samples = all_sum(self._samples.clone()).tolist()
        scores: dict[str, dict[str, float]] = {}
        for index, head in enumerate(self.heads):
            values = self._metrics_of(counts[index], samples[index])
            if "mean_average_precision" in self.metrics:
                logits, targets = zip(*self._kept[head], strict=True) if self._kept[head] else ((), ())
                values["mean_average_precision"] = average_precision(gather(logits), gather(targets))
            scores[head] = {metric: values[metric] if samples[index] else math.nan for metric in self.metrics}
        return scores

    def _metrics_of(self, counts: Tensor, samples: float) -> dict[str, float]:
        if self.task.name == "regression":
            number, total, squares, errors = counts
            variation = squares - total.square() / number
            # What rounding leaves of a constant output's variation is no yardstick.
            constant = torch.where(errors > 0, 0.0, 1.0).to(errors.dtype)
            return {"r2": float(torch.where(variation > 1e-12 * squares, 1.0 - errors / variation, constant).mean())}
        if self.task.name == "multilabel":
            hits, extra, missed, right, shares = counts
            support = hits + missed
            f1 = 2 * hits / (hits + extra + support).clamp(min=1)
            return {
                **_f1(hits, extra, missed, every_class=True),
                "weighted_f1": float((f1 * support).sum() / support.sum().clamp(min=1)),
                "samples_f1": float(shares[0]) / _UNIT / samples if samples else math.nan,
                "accuracy": float(right[0]) / samples if samples else math.nan,
            }
        hits = counts.diagonal()
        f1 = _f1(hits, counts.sum(dim=0) - hits, counts.sum(dim=1) - hits, every_class=False)
        return {**f1, "accuracy": float(hits.sum()) / samples if samples else math.nan}


def _f1(hits: Tensor, extra: Tensor, missed: Tensor, *, every_class: bool) -> dict[str, float]:
    denominator = 2 * hits + extra + missed
    f1 = 2 * hits / denominator.clamp(min=1)
    chosen = f1 if every_class else f1[denominator > 0]
    return {"macro_f1": float(chosen.mean()), "micro_f1": float(2 * hits.sum() / denominator.sum().clamp(min=1))}


def average_precision(logits: Tensor, targets: Tensor) -> float:
    """Return the mean over classes of the average precision, the sum of precision × increase of recall over falling thresholds.

    Samples with equal logits share one threshold. Classes without a positive sample are left out.

    >>> average_precision(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))
    1.0

    :param logits: ``[samples, classes]``.
    :param targets: ``[samples]`` class numbers, or ``[samples, classes]`` zeros and ones.
    """
    positives = targets > 0.5 if targets.dim() == 2 else torch.nn.functional.one_hot(targets, logits.shape[1]).bool()
    precisions = []
    for column in range(logits.shape[1]):
        total = int(positives[:, column].sum())
        if total:
            ordered, order = logits[:, column].sort(descending=True)
            hits = positives[:, column][order].cumsum(0).double()
            last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool, device=ordered.device)])
            hits, places = hits[last], torch.arange(1, len(ordered) + 1, device=ordered.device)[last]
            gained = torch.diff(hits, prepend=torch.zeros(1, dtype=hits.dtype, device=hits.device))
            precisions.append(float((gained * hits / places).sum() / total))
    return sum(precisions) / len(precisions) if precisions else math.nan
