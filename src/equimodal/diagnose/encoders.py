"""What an encoder is made of, and what its features look like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from equimodal.diagnose.quantities import Encoder
from equimodal.diagnose.rank import effective_rank, rank_interval

if TYPE_CHECKING:
    from equimodal.diagnose.intervals import Bootstrap

__all__ = ["effective_rank", "encoder_facts", "parameter_counts"]

_AT_ONCE = 4096

Part = nn.Module | nn.Parameter


def encoder_facts(module: Part | Iterable[Part] | None, feature: Tensor | None, bootstrap: Bootstrap) -> Encoder:
    """Return the size of an encoder and of its features.

    The norm is Euclidean, of the feature as the fusion sees it, averaged over samples. Norms of two encoders compare only where the fusion
    weighs them alike, as ``"sum"`` does; they then say which modality is heard louder. What the rank and its interval are:
    :func:`equimodal.diagnose.rank.rank_interval`.

    :param module: the encoder, its parts, or None where it is not known: it then counts as without parameters.
    :param feature: ``[samples, size]``; None where the model does not show it.
    :param bootstrap: the draws behind the intervals.
    """
    parameters, trainable = parameter_counts(module)
    if feature is None:
        return Encoder(parameters, trainable, None)
    feature = feature.flatten(1)
    norms = torch.cat([part.double().norm(dim=1) for part in feature.split(_AT_ONCE)])  # type: ignore[no-untyped-call]
    return Encoder(parameters, trainable, feature.shape[1], bootstrap.mean(norms), rank_interval(feature, bootstrap))


def parameter_counts(module: Part | Iterable[Part] | None) -> tuple[int, int]:
    """Return how many parameters there are, and how many of them ask for a gradient; a shared one counts once.

    >>> model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 1))
    >>> model[0].requires_grad_(False)
    Linear(in_features=4, out_features=2, bias=True)
    >>> parameter_counts(model)
    (13, 3)
    """
    parts: list[Part] = [] if module is None else [module] if isinstance(module, (nn.Module, nn.Parameter)) else list(module)
    every = dict.fromkeys(parameter for part in parts for parameter in (part.parameters() if isinstance(part, nn.Module) else (part,)))
    return sum(one.numel() for one in every), sum(one.numel() for one in every if one.requires_grad)
