"""Evaluation: one forward pass gives the scores and losses of every head."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from equimodal.processes import all_sum, share_buffers
from equimodal.scores import MULTIMODAL
from equimodal.train.scoring import Scorer
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
    scorer = Scorer(task, heads, metrics, device)
    sums = torch.zeros(len(heads), 2, dtype=torch.float64, device=device)
    samples = torch.zeros((), dtype=torch.float64, device=device)
    for batch in source.ordered():
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            prediction = forward(model, batch)
        scorer.update(prediction, batch.targets, batch.present)
        samples += len(batch)
        available: dict[str, Tensor] = {MULTIMODAL: prediction.multimodal, **prediction.unimodal}
        for index, head in enumerate(heads):
            if head in available:
                logits = available[head]
                # Losses need 32 bits at least, also under autocast.
                loss = task.loss(logits.float() if logits.element_size() < 4 else logits, batch.targets)
                mask = batch.present.get(head)
                if mask is None:
                    mask = torch.ones_like(loss, dtype=torch.bool)
                sums[index] += torch.stack([loss.where(mask, 0).sum().double(), mask.sum().double()])
    model.train(training)
    metrics_by_head = scorer.compute()
    totals = all_sum(sums).cpu()
    losses = {head: float(totals[index, 0] / totals[index, 1]) for index, head in enumerate(heads)}
    return Evaluation(metrics_by_head, losses, int(all_sum(samples)))
