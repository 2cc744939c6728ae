"""Scores of all bootstrap draws at once, from counts of weighted samples: the ready metrics, as :mod:`equimodal.scoring` has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equimodal.diagnose.form import Form
from equimodal.diagnose.precision import Ranks
from equimodal.scoring.counts import IGNORED, ClassCounts, LabelCounts, NumberCounts, OrdinalCounts, PositionCounts, check_positions

if TYPE_CHECKING:
    from equimodal.diagnose.intervals import Bootstrap
    from equimodal.train.absence_scores import Scores

__all__ = ["Classes", "Hits", "Labels", "Numbers", "Positions", "Steps", "form_of"]

_CELLS = 2**12
"""Predictions are scored together as long as they have so many cells."""


class Hits(Form):
    """Which samples are right: the accuracy.

    :param answer: returns the answers ``[batch]`` of logits.
    """

    is_mean = True

    def __init__(self, metric: str, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__(metric)
        self.answer = answer

    def keep(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return ``[batch]`` booleans."""
        return self.answer(logits) == targets

    def columns(self, kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:  # noqa: ARG002
        """Return the shares of hits."""
        # Means over permutations are no booleans, and would make the others slow.
        kinds = [[number for number, own in enumerate(kept) if (own.dtype == torch.bool) == flags] for flags in (True, False)]
        parts = [bootstrap.columns([kept[number] for number in numbers]) for numbers in kinds if numbers]
        order = torch.tensor([number for numbers in kinds for number in numbers])
        return torch.cat(parts, dim=1)[:, order.argsort()]


class Classes(Form):
    """The predicted class of each sample: macro-F1.

    :param answer: returns the answers ``[batch]`` of logits.
    """

    def __init__(self, metric: str, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__(metric)
        self.answer = answer

    def keep(self, logits: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002
        """Return ``[batch]`` whole numbers of few bytes."""
        return small(self.answer(logits), logits.shape[1] + 1)

    def columns(self, kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        """Return the scores, from how often each class is given, is there, and both."""
        classes = 1 + max(int(targets.max()), *(int(own.max()) for own in kept))
        return _in_groups(kept, 2 * classes, lambda some: self._f1(some, targets, classes, bootstrap))

    @staticmethod
    def _f1(kept: Sequence[Tensor], targets: Tensor, classes: int, bootstrap: Bootstrap) -> Tensor:
        def cells(rows: slice) -> Iterator[Tensor]:
            actual = targets[rows]
            yield actual
            for place, own in enumerate(kept):
                given = own[rows].long()
                yield given + classes * (1 + 2 * place)
                # Wrong answers count in a cell that is not looked at.
                yield torch.where(given == actual, given + classes * (2 + 2 * place), classes * (1 + 2 * len(kept)))

        found = []
        for counts in bootstrap.tallies(lambda rows: list(cells(rows)), classes * (1 + 2 * len(kept)) + 1):
            of_class = counts[:-1].view(1 + 2 * len(kept), classes, -1)
            found.append(_macro(of_class[2::2], of_class[:1] + of_class[1::2]))
        return torch.cat(found)


class Steps(Form):
    """The predicted class of each sample of an ordinal task: the weighted agreements."""

    outputs = 1

    def keep(self, logits: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002
        """Return ``[batch]`` whole numbers of few bytes."""
        self.outputs = logits.shape[1]  # one less than there are classes, of which not all need occur
        return small(_positive(logits), logits.shape[1] + 1)

    def columns(self, kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        """Return the scores, from confusion matrices."""
        return _in_groups(kept, (1 + self.outputs) ** 2, lambda some: self._agreement(some, targets, bootstrap))

    def _agreement(self, kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        classes = 1 + self.outputs

        def cells(rows: slice) -> list[Tensor]:
            return [(place * classes + targets[rows]) * classes + own[rows].long() for place, own in enumerate(kept)]

        numbers = torch.arange(classes, dtype=torch.float64)
        distance = (numbers[:, None] - numbers).abs()[..., None]
        found = []
        for counts in bootstrap.tallies(cells, len(kept) * classes**2):
            matrix = counts.view(len(kept), classes, classes, -1)
            if self.metric == "linear_weighted_agreement":
                found.append((1 - (matrix * distance).sum(dim=(1, 2)) / len(targets) / self.outputs).T)
                continue
            chance = matrix.sum(dim=2, keepdim=True) * matrix.sum(dim=1, keepdim=True) / len(targets)
            error, by_chance = ((own * distance.square()).sum(dim=(1, 2)) for own in (matrix, chance))
            found.append((1 - error / by_chance).T)
        return torch.cat(found)


class Labels(Form):
    """Which labels each sample is given."""

    def keep(self, logits: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002
        """Return ``[batch, labels]`` booleans."""
        return logits > 0

    def columns(self, kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        """Return the scores, from how often each label is given, is there, and both."""
        if self.metric == "accuracy":
            return bootstrap.sums(lambda rows: _beside((own[rows] == (targets[rows] > 0.5)).all(dim=1) for own in kept)) / len(targets)
        if self.metric == "samples_f1":
            return bootstrap.sums(lambda rows: _beside(_f1_of_rows(own[rows], targets[rows] > 0.5) for own in kept)) / len(targets)
        return _in_groups(kept, 2 * targets.shape[1], lambda some: self._f1(some, targets, bootstrap))

    def _f1(self, kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        def counted(rows: slice) -> Tensor:
            actual = targets[rows] > 0.5
            return torch.cat([actual, *(part for own in kept for part in (own[rows], own[rows] & actual))], dim=1)

        counts = bootstrap.sums(counted).view(1 + bootstrap.resamples, 1 + 2 * len(kept), targets.shape[1])
        actual, given, hits = counts[:, :1], counts[:, 1::2], counts[:, 2::2]
        if self.metric == "micro_f1":
            return 2 * hits.sum(dim=2) / (given.sum(dim=2) + actual.sum(dim=2)).clamp(min=1)
        f1 = 2 * hits / (given + actual).clamp(min=1)
        return f1.mean(dim=2) if self.metric == "macro_f1" else (f1 * actual).sum(dim=2) / actual.sum(dim=2).clamp(min=1)


class Numbers(Form):
    """The numbers themselves: R²."""

    def keep(self, logits: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002
        """Return ``[batch, outputs]``."""
        return logits.float()

    def columns(self, kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        """Return the scores, from sums of squares."""
        return _in_groups(kept, kept[0].shape[1], lambda some: self._r2(some, targets, bootstrap))

    @staticmethod
    def _r2(kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        outputs = kept[0].shape[1]

        def summed(rows: slice) -> Tensor:
            actual = targets[rows].double().reshape(-1, outputs)
            return torch.cat([actual, actual.square(), *((own[rows].double() - actual).square() for own in kept)], dim=1)

        sums = bootstrap.sums(summed).view(1 + bootstrap.resamples, 2 + len(kept), outputs)
        total, squares, errors = sums[:, :1], sums[:, 1:2], sums[:, 2:]
        variation = squares - total.square() / len(targets)
        constant = torch.where(errors > 0, 0.0, 1.0).double()
        return torch.where(variation > 1e-12 * squares, 1.0 - errors / variation, constant).mean(dim=2)


class Positions(Form):
    """The predicted class of every position."""

    def keep(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return ``[batch, *positions]`` whole numbers of few bytes."""
        check_positions(logits, targets)
        return small(logits.argmax(dim=1), logits.shape[1])

    def columns(self, kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        """Return the scores, from how many positions of each sample are of each class, given it, and both."""
        classes = 1 + max(int(targets.max()), *(int(own.max()) for own in kept))
        return _in_groups(kept, 2 * classes, lambda some: self._scored(some, targets, classes, bootstrap))

    def _scored(self, kept: Sequence[Tensor], targets: Tensor, classes: int, bootstrap: Bootstrap) -> Tensor:
        def counted(rows: slice) -> Tensor:
            actual = targets[rows].flatten(1)
            there = actual != IGNORED
            parts = [_by_class(actual, there, classes)]
            for own in kept:
                given = own[rows].flatten(1).long()
                parts += [_by_class(given, there, classes), _by_class(given, there & (given == actual), classes)]
            return torch.cat(parts, dim=1)

        counts = bootstrap.sums(counted).view(1 + bootstrap.resamples, 1 + 2 * len(kept), classes).permute(1, 2, 0)
        actual, given, hits = counts[:1], counts[1::2], counts[2::2]
        if self.metric == "accuracy":
            return (hits.sum(dim=1) / actual.sum(dim=1)).T
        if self.metric == "macro_f1":
            return _macro(hits, given + actual)
        union = given + actual - hits
        return ((hits / union.clamp(min=1)).sum(dim=1) / (union > 0).sum(dim=1)).T


def form_of(scores: Scores) -> Form | None:
    """Return how a ready metric is scored from counts; None for one of the caller's own."""
    metric, counts = scores.metric, scores.task.counts
    if counts is None or metric not in counts.names or metric in scores.task.own:
        return None
    if metric == "mean_average_precision" and counts in (ClassCounts, LabelCounts):
        return Ranks(metric)
    if counts is ClassCounts:
        return Classes(metric, _largest) if metric == "macro_f1" else Hits(metric, _largest)
    if counts is OrdinalCounts:
        quick = {"accuracy": Hits, "macro_f1": Classes}
        return quick[metric](metric, _positive) if metric in quick else Steps(metric)
    ready: dict[type, type[Form]] = {LabelCounts: Labels, NumberCounts: Numbers, PositionCounts: Positions}
    return ready[counts](metric) if counts in ready else None


def small(numbers: Tensor, count: int) -> Tensor:
    """Return whole numbers from 0 to ``count - 1`` in as few bytes as hold them."""
    return numbers.to(torch.uint8 if count <= 2**8 else torch.int16 if count <= 2**15 else torch.int32)


def _largest(logits: Tensor) -> Tensor:
    return logits.argmax(dim=1)


def _positive(logits: Tensor) -> Tensor:
    return (logits > 0).sum(dim=1)


def _in_groups(kept: Sequence[Tensor], cells: int, score: Callable[[Sequence[Tensor]], Tensor]) -> Tensor:
    step = max(_CELLS // cells, 1)
    return torch.cat([score(kept[start : start + step]) for start in range(0, len(kept), step)], dim=1)


def _beside(columns: Iterator[Tensor]) -> Tensor:
    return torch.stack(list(columns), dim=1)


def _f1_of_rows(given: Tensor, actual: Tensor) -> Tensor:
    return 2.0 * (given & actual).sum(dim=1).double() / (given.sum(dim=1) + actual.sum(dim=1)).clamp(min=1)


def _by_class(numbers: Tensor, counted: Tensor, classes: int) -> Tensor:
    """Return how many of each sample's numbers are of each class ``[samples, classes]``."""
    found = torch.zeros(len(numbers), classes, dtype=torch.float64)
    return found.scatter_add_(1, numbers.clamp(min=0), counted.double())


def _macro(hits: Tensor, support: Tensor) -> Tensor:
    """Return ``[draws, predictions]``, the F1 averaged over classes that occur or are given, from ``[predictions, classes, draws]``."""
    f1 = 2 * hits / support.clamp(min=1)
    return (f1.sum(dim=1) / (support > 0).sum(dim=1)).T
