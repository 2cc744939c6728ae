"""What an encoder is made of, and what its features look like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from equimodal.diagnose.record import Encoder

if TYPE_CHECKING:
    from equimodal.diagnose.intervals import Bootstrap

__all__ = ["effective_rank", "encoder_facts", "parameter_counts"]

_AT_ONCE = 4096
_SAMPLES = 20_000
"""The rank is computed from at most so many samples."""

Part = nn.Module | nn.Parameter


def encoder_facts(module: Part | Iterable[Part] | None, feature: Tensor | None, bootstrap: Bootstrap) -> Encoder:
    """Return the size of an encoder and of its features.

    The norm is Euclidean, of the feature as the fusion sees it, averaged over samples. Norms of two encoders compare only where the fusion
    weighs them alike, as ``"sum"`` does; they then say which modality is heard louder. What the rank is: :func:`effective_rank`.

    :param module: the encoder, its parts, or None where it is not known: it then counts as without parameters.
    :param feature: ``[samples, size]``; None where the model does not show it.
    :param bootstrap: the draws behind the interval of the norm.
    """
    parameters, trainable = parameter_counts(module)
    if feature is None:
        return Encoder(parameters, trainable, None)
    feature = feature.flatten(1)
    norms = torch.cat([part.double().norm(dim=1) for part in feature.split(_AT_ONCE)])  # type: ignore[no-untyped-call]
    return Encoder(parameters, trainable, feature.shape[1], bootstrap.mean(norms), effective_rank(feature))


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


@torch.no_grad()
def effective_rank(feature: Tensor) -> float | None:
    r"""Return the effective rank of the centred features (Roy & Vetterli, EUSIPCO 2007).

    .. math:: \exp \Bigl( -\sum_k p_k \log p_k \Bigr), \qquad p_k = \frac{\sigma_k}{\sum_j \sigma_j}

    with the singular values :math:`\sigma_k` of the features minus their mean. It lies between 1, all features on a line, and the smaller
    of size and samples − 1, spread evenly in all directions. Features that are the same for every sample (a collapsed encoder) give 0.

    The singular values are the roots of the eigenvalues of the smaller of the two Gram matrices, in double precision: of ``[size, size]``
    at most. Those below 1e-7 of the largest are rounding and count as none. Of more than 20,000 samples evenly spaced ones are used.

    >>> round(effective_rank(torch.eye(5)), 6), effective_rank(torch.ones(8, 3))
    (4.0, 0.0)

    :param feature: ``[samples, size]``.
    :returns: None for features that are NaN or infinite, or of fewer than two samples.
    """
    if len(feature) > _SAMPLES:
        feature = feature[torch.linspace(0, len(feature) - 1, _SAMPLES, dtype=torch.float64).round().long()]
    samples, size = feature.shape
    parts = feature.split(_AT_ONCE)  # type: ignore[no-untyped-call]
    mean = torch.stack([part.double().sum(dim=0) for part in parts]).sum(dim=0) / samples
    if samples < 2 or not bool(mean.isfinite().all()):
        return None
    if samples <= size:
        centred = feature.double() - mean
        gram = centred @ centred.T
    else:
        gram = torch.zeros(size, size, dtype=torch.float64)
        for part in parts:
            centred = part.double() - mean
            gram.addmm_(centred.T, centred)
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    # Against the size of the features themselves: what rounding leaves of a constant is no direction.
    scale = max(float(values.max()), 1e-6 * float(mean.norm()) * samples**0.5)
    values = values[values > 1e-7 * scale] if float(values.max()) >= scale else values[:0]
    if not len(values):
        return 0.0
    shares = values / values.sum()
    return float((-shares * shares.log()).sum().exp())
