"""One prediction per sample from whatever the sample has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equimodal.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equimodal.nn.prediction import Prediction


def from_what_is_there(prediction: Prediction, modalities: Sequence[str]) -> Tensor:
    """Return the multimodal logits of the samples that have all modalities, of others the mean of the logits of what they have.

    :raises InputError: for a sample without any modality.
    """
    logits = prediction.multimodal
    if len(prediction.unimodal) == len(modalities) and not prediction.present:
        return logits
    everywhere = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    masks = torch.stack([prediction.present.get(modality, everywhere).to(logits.device) for modality in prediction.unimodal], dim=1)
    count = masks.sum(dim=1)
    if not count.all():
        raise InputError(f"sample {int((count == 0).nonzero()[0])} of the batch has no modality at all: leave it out")
    heads = torch.stack(list(prediction.unimodal.values()), dim=1)
    rest = (1,) * (logits.dim() - 1)
    mean = torch.where(masks.reshape(*masks.shape, *rest), heads, 0).sum(dim=1) / count.reshape(-1, *rest)
    return torch.where((count == len(modalities)).reshape(-1, *rest), logits, mean)
