"""What is counted for the ready metrics: sums, so that they add up over batches and processes before anything is divided."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from equimodal.errors import InputError
from equimodal.scoring.metrics import average_precision

__all__ = ["IGNORED", "ClassCounts", "Counts", "LabelCounts", "NumberCounts", "OrdinalCounts", "PositionCounts", "check_positions"]

IGNORED = -100
"""The class number of positions that do not count, as ``ignore_index`` of torch's cross-entropy has it."""

_UNIT = 2**40
"""What an F1 of 1 counts for one sample: fine enough for twelve digits, and for eight million samples in 64 bits."""


class Counts:
    """Counts the predictions of all heads; ``total`` is ``[heads, ...]``, None before the first batch."""

    names: ClassVar[tuple[str, ...]]
    """The metrics that the counts give, the default one first."""
    kept: ClassVar[Mapping[str, Callable[[Tensor, Tensor], float]]] = {}
    """The metrics that need all logits and targets instead."""
    total: Tensor | None = None

    def add(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> None:
        """Count one batch.

        :param logits: ``[heads, batch, ...]``.
        :param weights: boolean ``[heads, batch]``, which samples a head counts; None for all.
        """
        raise NotImplementedError

    @staticmethod
    def metrics(counts: Tensor, samples: float) -> dict[str, float]:
        """Return the metrics of one head.

        :param counts: one head's part of the total, 64 bits, on the CPU.
        :param samples: how many samples it is of.
        """
        raise NotImplementedError

    @staticmethod
    def seen(logits: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG004
        """Return the targets as a metric of one's own is given them."""
        return targets


class ClassCounts(Counts):
    """Confusion matrices ``[heads, true class, predicted class]``, counted in place: this runs at every step.

    - ``accuracy``: share of samples predicted right.
    - ``macro_f1``: F1 = 2 tp / (2 tp + fp + fn) averaged over classes; those that neither occur nor are predicted are left out.
    - ``micro_f1``: F1 of the counts summed over classes, equal to the accuracy.
    - ``mean_average_precision``: average precision of each class against the rest, over the classes that occur.
    """

    names: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "micro_f1", "mean_average_precision")
    kept: ClassVar = {"mean_average_precision": average_precision}
    _first_cells: Tensor | None = None

    def add(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> None:
        """Count one batch."""
        self._add(logits.argmax(dim=2), targets, weights, logits.shape[2])

    def _add(self, predicted: Tensor, targets: Tensor, weights: Tensor | None, classes: int) -> None:
        """Count predicted classes ``[heads, ...]``, which are changed."""
        if self.total is None or self._first_cells is None:
            heads, device = len(predicted), predicted.device
            self.total = torch.zeros(heads, classes, classes, dtype=torch.int64, device=device)
            self._first_cells = torch.arange(heads, device=device).view(-1, *[1] * (predicted.dim() - 1)) * classes**2
        cells = predicted.add_(targets, alpha=classes).add_(self._first_cells)
        ones = torch.ones_like(cells) if weights is None else weights.to(cells.dtype)
        self.total.view(-1).index_add_(0, cells.view(-1), ones.reshape(-1))

    @staticmethod
    def metrics(counts: Tensor, samples: float) -> dict[str, float]:
        """Return the metrics of one head."""
        hits = counts.diagonal()
        f1 = _f1(hits, counts.sum(dim=0) - hits, counts.sum(dim=1) - hits, every_class=False)
        return {**f1, "accuracy": float(hits.sum()) / samples if samples else math.nan}


class OrdinalCounts(ClassCounts):
    r"""Confusion matrices :math:`n_{ij}` of *n* samples of *K* ordered classes; predicted is the number of positive logits.

    - ``accuracy``: share of samples predicted right.
    - ``linear_weighted_agreement``: :math:`1 - \mathrm{MAE} / (K - 1)` with the mean absolute error
      :math:`\mathrm{MAE} = \frac 1 n \sum_{ij} n_{ij} |i - j|` in classes: the observed agreement of a linearly weighted kappa.
    - ``quadratic_weighted_kappa``: :math:`1 - \sum_{ij} n_{ij} (i - j)^2 \big/ \sum_{ij} \frac{n_{i\cdot} n_{\cdot j}}{n} (i - j)^2`
      (Cohen 1968); 0 is chance. NaN where all samples have one class and all are predicted as it, as in scikit-learn.
    - ``macro_f1``: as for single labels.
    """

    names = ("accuracy", "linear_weighted_agreement", "quadratic_weighted_kappa", "macro_f1")
    kept: ClassVar = {}

    def add(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> None:
        """Count one batch."""
        self._add((logits > 0).sum(dim=2), targets, weights, logits.shape[2] + 1)

    @staticmethod
    def metrics(counts: Tensor, samples: float) -> dict[str, float]:
        """Return the metrics of one head."""
        found = ClassCounts.metrics(counts, samples)
        classes = torch.arange(len(counts), dtype=counts.dtype)
        distances = (classes[:, None] - classes).abs()
        number = counts.sum()
        error = float((counts * distances).sum() / number)
        chance = torch.outer(counts.sum(dim=1), counts.sum(dim=0)) / number
        kappa = 1 - float((counts * distances.square()).sum() / (chance * distances.square()).sum())
        return {
            "accuracy": found["accuracy"],
            "linear_weighted_agreement": 1 - error / (len(counts) - 1),
            "quadratic_weighted_kappa": kappa,
            "macro_f1": found["macro_f1"],
        }


class PositionCounts(ClassCounts):
    """Confusion matrices over all positions that count: tokens, pixels, frames.

    - ``accuracy``: share of positions predicted right.
    - ``macro_f1``: as for single labels, over positions.
    - ``mean_intersection_over_union``: tp / (tp + fp + fn) averaged over the classes that occur or are predicted.
    """

    names = ("accuracy", "macro_f1", "mean_intersection_over_union")
    kept: ClassVar = {}

    def add(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> None:
        """Count one batch."""
        check_positions(logits[0], targets)
        counted = (targets != IGNORED).expand(len(logits), *targets.shape)
        if weights is not None:
            counted = counted & weights.view(*weights.shape, *[1] * (targets.dim() - 1))
        self._add(logits.argmax(dim=2), targets.clamp(min=0), counted, logits.shape[2])

    @staticmethod
    def metrics(counts: Tensor, samples: float) -> dict[str, float]:  # noqa: ARG004
        """Return the metrics of one head; NaN where it has no position that counts."""
        found = ClassCounts.metrics(counts, float(counts.sum()))
        hits = counts.diagonal()
        union = counts.sum(dim=0) + counts.sum(dim=1) - hits
        shares = (hits / union)[union > 0]
        return {**{name: found[name] for name in ("accuracy", "macro_f1")}, "mean_intersection_over_union": float(shares.mean())}


def check_positions(logits: Tensor, targets: Tensor) -> None:
    """Refuse logits that do not fit class numbers by position.

    :param logits: ``[batch, classes, *positions]``.
    :param targets: ``[batch, *positions]``.
    :raises InputError: naming both shapes.
    """
    if logits.dim() != targets.dim() + 1 or logits.shape[2:] != targets.shape[1:] or len(logits) != len(targets):
        last = logits.dim() == targets.dim() + 1 and logits.shape[:-1] == targets.shape
        hint = "move the classes to the second place, as logits.movedim(-1, 1) does" if last else "one row of logits per position is needed"
        raise InputError(
            f"logits of shape {list(logits.shape)} do not fit targets of shape {list(targets.shape)}: positions needs"
            f" [batch, classes, *positions] and [batch, *positions]; {hint}"
        )


class LabelCounts(Counts):
    """Counts by label: ``[heads, 5, labels]``; predicted are the labels with a logit above 0, a probability above 0.5.

    True positives, false positives, false negatives; and, equal for all labels, samples with every label right and their summed F1.

    - ``micro_f1``: F1 of the counts summed over labels.
    - ``macro_f1``: F1 averaged over labels, as scikit-learn: one that neither occurs nor is predicted counts as 0.
    - ``weighted_f1``: F1 averaged over labels, each weighted with the number of samples that have it.
    - ``samples_f1``: F1 of each sample's labels, averaged over samples; 0 for one that has none and is given none.
    - ``mean_average_precision``: average precision of each label, over the labels that occur.
    - ``accuracy``: share of samples with every label right.
    """

    names = ("micro_f1", "macro_f1", "weighted_f1", "samples_f1", "mean_average_precision", "accuracy")
    kept: ClassVar = {"mean_average_precision": average_precision}

    def add(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> None:
        """Count one batch."""
        predicted, actual = logits > 0, (targets > 0.5).expand_as(logits)
        right = (predicted == actual).all(dim=2, keepdim=True).expand_as(logits)
        cells = torch.stack([predicted & actual, predicted & ~actual, ~predicted & actual, right], dim=1)
        f1 = 2.0 * cells[:, 0].sum(dim=2).double() / (predicted.sum(dim=2) + actual.sum(dim=2)).clamp(min=1)
        if weights is not None:
            cells, f1 = cells & weights[:, None, :, None], f1 * weights
        # Added up in whole numbers, so that the sum does not depend on how the samples were divided.
        shares = (f1 * _UNIT).round().long().sum(dim=1)[:, None, None].expand(-1, 1, cells.shape[3])
        counts = torch.cat([cells.sum(dim=2), shares], dim=1)
        self.total = counts if self.total is None else self.total + counts

    @staticmethod
    def metrics(counts: Tensor, samples: float) -> dict[str, float]:
        """Return the metrics of one head."""
        hits, extra, missed, right, shares = counts
        support = hits + missed
        f1 = 2 * hits / (hits + extra + support).clamp(min=1)
        return {
            **_f1(hits, extra, missed, every_class=True),
            "weighted_f1": float((f1 * support).sum() / support.sum().clamp(min=1)),
            "samples_f1": float(shares[0]) / _UNIT / samples if samples else math.nan,
            "accuracy": float(right[0]) / samples if samples else math.nan,
        }

    @staticmethod
    def seen(logits: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG004
        """Return the labels as whole numbers, as torchmetrics asks for them."""
        return targets.long()


class NumberCounts(Counts):
    """``[heads, 4, outputs]``: samples, sum and sum of squares of the targets, and of squared errors.

    - ``r2``: 1 − residual / total sum of squares, averaged over outputs; an output whose targets are all equal counts as 0, or 1 where it
      is predicted without error, as in scikit-learn. Targets that vary by less than a millionth of their size count as equal: centre them.
    """

    names = ("r2",)

    def add(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> None:
        """Count one batch."""
        predicted = logits.double()
        actual = targets.double().reshape(predicted.shape[1:]).expand_as(predicted)
        cells = torch.stack([torch.ones_like(actual), actual, actual.square(), (predicted - actual).square()], dim=1)
        if weights is not None:
            cells = torch.where(weights[:, None, :, None], cells, 0.0)
        counts = cells.sum(dim=2)
        self.total = counts if self.total is None else self.total + counts

    @staticmethod
    def metrics(counts: Tensor, samples: float) -> dict[str, float]:  # noqa: ARG004
        """Return the metrics of one head."""
        number, total, squares, errors = counts
        variation = squares - total.square() / number
        # What rounding leaves of a constant output's variation is no yardstick.
        constant = torch.where(errors > 0, 0.0, 1.0).to(errors.dtype)
        return {"r2": float(torch.where(variation > 1e-12 * squares, 1.0 - errors / variation, constant).mean())}

    @staticmethod
    def seen(logits: Tensor, targets: Tensor) -> Tensor:
        """Return the targets in the shape of the predictions, as a difference needs them."""
        return targets.reshape(logits.shape)


def _f1(hits: Tensor, extra: Tensor, missed: Tensor, *, every_class: bool) -> dict[str, float]:
    denominator = 2 * hits + extra + missed
    f1 = 2 * hits / denominator.clamp(min=1)
    chosen = f1 if every_class else f1[denominator > 0]
    return {"macro_f1": float(chosen.mean()), "micro_f1": float(2 * hits.sum() / denominator.sum().clamp(min=1))}
