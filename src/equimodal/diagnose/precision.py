"""Mean average precision of all bootstrap draws at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equimodal.diagnose.form import Form

if TYPE_CHECKING:
    from equimodal.diagnose.intervals import Bootstrap

__all__ = ["Ranks", "average_precisions"]


class Ranks(Form):
    """The logits themselves: mean average precision."""

    def keep(self, logits: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002
        """Return ``[batch, outputs]``."""
        return logits.float()

    def columns(self, kept: Sequence[Tensor], targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        """Return the scores, one class after the other: each is sorted once for all draws."""
        return torch.stack([self._mean(own, targets, bootstrap) for own in kept], dim=1)

    @staticmethod
    def _mean(logits: Tensor, targets: Tensor, bootstrap: Bootstrap) -> Tensor:
        total = torch.zeros(1 + bootstrap.resamples, dtype=torch.float64)
        occurring = torch.zeros_like(total)
        for number in range(logits.shape[1]):
            positive = targets[:, number] > 0.5 if targets.dim() == 2 else targets == number
            if positive.any():
                precision = average_precisions(logits[:, number], positive, bootstrap)
                total += precision.nan_to_num(0.0)
                occurring += ~precision.isnan()
        return total / occurring


def average_precisions(logits: Tensor, positive: Tensor, bootstrap: Bootstrap) -> Tensor:
    r"""Return the average precision of one class for the samples as they are and every draw, ``[1 + resamples]``; NaN without a positive.

    .. math:: \sum_g \frac{h_g}{H} \, \frac{h_1 + \dots + h_g}{n_1 + \dots + n_g}

    with the thresholds *g* at which there are positives, falling: of :math:`n_g` samples between a threshold and the one before
    :math:`h_g` are positive, *H* in all. Samples with equal logits share a threshold. Draws change the counts alone, not the order.

    :param logits: ``[samples]``.
    :param positive: ``[samples]`` booleans.
    """
    ordered, order = logits.sort(descending=True)
    last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool)])
    tie = last.cumsum(0) - last.long()  # the number of each sample's logit among the different ones
    with_positives = torch.zeros(int(tie[-1]) + 1, dtype=torch.bool)
    with_positives[tie[positive[order]]] = True
    groups = int(with_positives.sum())
    # A sample counts from the next threshold on that has positives; those after the last one never do.
    group = torch.empty_like(order)
    group[order] = (with_positives.cumsum(0) - with_positives.long())[tie]
    hit = torch.where(positive, group + groups + 1, groups)
    group = torch.where(group < groups, group, groups)
    found = []
    for counts in bootstrap.tallies(lambda rows: [group[rows], hit[rows]], 2 * groups + 1):
        seen, hits = counts[:groups].cumsum(dim=0), counts[groups + 1 :]
        so_far = hits.cumsum(dim=0)
        found.append((hits * so_far / seen.clamp(min=1)).sum(dim=0) / so_far[-1])
    return torch.cat(found)
