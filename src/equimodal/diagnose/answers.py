"""What the outputs of a task mean: which answer a row of logits gives, and how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from equimodal.scoring.counts import ClassCounts, LabelCounts, NumberCounts, OrdinalCounts, PositionCounts
from equimodal.tasks import get_task

if TYPE_CHECKING:
    from torch import Tensor

    from equimodal.tasks import Task

__all__ = ["AT_ONCE", "Answers", "answers_of", "confidences", "predicted"]

AT_ONCE = 2**21
"""So many logits are worked on at a time."""

Answers = Literal["classes", "labels", "numbers", "steps", "unknown"]
"""One of several classes, several labels, numbers, ordered classes (a logit per step between two), or something else."""


def answers_of(task: str | Task) -> Answers:
    """Return what the outputs of a task are, from the way its ready metrics are counted.

    >>> answers_of("multilabel"), answers_of("positions")
    ('labels', 'unknown')
    """
    counts = get_task(task).counts
    kinds: tuple[tuple[type, Answers], ...] = (
        (PositionCounts, "unknown"),
        (OrdinalCounts, "steps"),
        (ClassCounts, "classes"),
        (LabelCounts, "labels"),
        (NumberCounts, "numbers"),
    )
    return next((name for kind, name in kinds if counts is not None and issubclass(counts, kind)), "unknown")


def predicted(logits: Tensor, answers: Answers) -> Tensor:
    """Return what a row of logits answers: the class ``[samples]`` of the largest logit (ordered classes: how many logits are positive),
    or ``[samples, labels]``, which labels have a positive logit.

    :param logits: ``[samples, outputs]``.
    """
    if answers == "labels":
        return logits > 0
    return (logits > 0).sum(dim=1) if answers == "steps" else logits.argmax(dim=1)


def confidences(logits: Tensor, answers: Answers) -> Tensor:
    """Return the probability that logits give to their own answer, in double precision.

    :param logits: ``[samples, outputs]``.
    :returns: ``[samples]`` for classes (softmax), ``[samples, labels]`` for labels (the larger of σ and 1 − σ).
    """
    # A part at a time: in double precision all of them may be more than memory holds.
    parts = logits.split(max(AT_ONCE // max(logits.shape[1], 1), 1))  # type: ignore[no-untyped-call]
    if answers == "labels":
        return torch.cat([part.double().abs().sigmoid() for part in parts])
    return torch.cat([part.double().softmax(dim=1).amax(dim=1) for part in parts])
