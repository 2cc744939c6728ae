"""Evaluation: one forward pass gives the scores and losses of every head."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from equimodal.processes import all_sum, share_buffers
from equimodal.scoring import MeanLosses, Scorer
from equimodal.train.step import forward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equimodal.tasks import Task
    from equimodal.train.batches import Source

__all__ = ["Evaluation", "evaluate"]


class Evaluation(NamedTuple):
    """The scores of one split.

    :param metrics: by head and metric.
    :param losses: mean loss by head, over the samples in which its modality is present.
    :param samples: how many samples were scored.
    """

    metrics: dict[str, dict[str, float]]
    losses: dict[str, float]
    samples: int


@torch.no_grad()
def evaluate(
    model: nn.Module,
    source: Source,
    task: Task,
    heads: Sequence[str],
    metrics: Sequence[str],
    device: torch.device,
    autocast: torch.dtype | None = None,
) -> Evaluation:
    """Score every head of a model on one split.

    :param model: returns a :class:`equimodal.nn.Prediction`; put into evaluation mode, and back after.
    :param heads: ``"multimodal"`` and the modalities.
    """
    training = model.training
    model.eval()
    share_buffers(model)
    scorer, losses = Scorer(task, heads, metrics, device), MeanLosses(task, heads, device)
    samples = torch.zeros((), dtype=torch.float64, device=device)
    for batch in source.ordered():
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            prediction = forward(model, batch)
        source.saw(prediction)
        scorer.update(prediction, batch.targets, batch.present)
        losses.update(prediction, batch.targets, batch.present)
        samples += len(batch)
    model.train(training)
    metrics_by_head = scorer.compute()
    return Evaluation(metrics_by_head, losses.compute(), int(all_sum(samples)))
