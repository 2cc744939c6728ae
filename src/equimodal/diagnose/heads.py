"""Scores of the heads, and what they say of how a model uses its modalities."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.intervals import Bootstrap
    from equimodal.diagnose.measure import Measure
    from equimodal.diagnose.quantities import Interval

__all__ = ["gap", "head_columns", "utilization"]


def head_columns(logits: Mapping[str, Tensor], targets: Tensor, measure: Measure, bootstrap: Bootstrap) -> dict[str, Tensor]:
    """Return the score of every head as a column.

    :param logits: by head ``[samples, outputs]``.
    :param targets: ``[samples, ...]``.
    """
    columns = measure.columns([measure.kept(own, targets) for own in logits.values()], targets, bootstrap)
    return dict(zip(logits, columns.T, strict=True))


def utilization(heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the conditional utilization rates (Eq. 4) as columns, as :func:`equimodal.conditional_utilization` has them.

    :param heads: by head the column of its score, ``"multimodal"`` and two modalities or more.
    :returns: by modality; NaN where the joint score is not positive.
    """
    joint = heads[MULTIMODAL]
    names = [name for name in heads if name != MULTIMODAL]
    rates = {}
    for name in names:
        rest = torch.stack([heads[other] for other in names if other != name]).max(dim=0).values
        rates[name] = torch.where(joint > 0, (joint - rest) / joint, math.nan)
    return rates


def gap(heads: Mapping[str, Tensor], bootstrap: Bootstrap) -> Interval:
    """Return the utilization gap δ (Eq. 5), of the two modalities that lie furthest apart, as :func:`equimodal.utilization_gap` has it.

    :param heads: as for :func:`utilization`.
    """
    joint = heads[MULTIMODAL]
    names = [name for name in heads if name != MULTIMODAL]
    signed = {
        (one, other): torch.where(joint > 0, (joint - heads[other]) / joint - (joint - heads[one]) / joint, math.nan)
        for one, other in itertools.combinations(names, 2)
    }
    widest = max(signed.values(), key=lambda column: abs(float(column[0])))
    return bootstrap.size(widest)
