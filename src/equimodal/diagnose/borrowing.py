"""Samples that lend their modalities to others: who lends to whom, and how sure a mean over such pairs is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["borrowed_means", "donors_of"]


def donors_of(samples: int, count: int, seed: int) -> Tensor:
    """Return for every sample the numbers of other samples, which lend it their modality.

    All samples stand in a circle in random order, and everyone borrows from the next ``count``: nobody borrows from itself, no two of a
    sample's lenders are the same, and everyone lends equally often.

    >>> donors_of(4, 3, seed=0).sort(dim=0).values.T.tolist()
    [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]

    :returns: ``[min(count, samples - 1), samples]``.
    """
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    place = order.argsort()
    shifts = torch.arange(1, min(count, samples - 1) + 1).unsqueeze(1)
    return order[(place + shifts) % samples]


def borrowed_means(right: Sequence[Tensor] | Tensor, lenders: Tensor) -> Tensor:
    r"""Return one number per sample, whose mean is that of all pairs and whose spread over samples says how sure it is.

    A pair of a borrower *i* and a lender *j* is right or not, :math:`h_{ij} = \theta + a_i + b_j + e_{ij}`. The mean over the drawn pairs
    depends on each sample twice (a U-statistic; Hoeffding 1948). The mean :math:`r_i` over a borrower's *R* lenders varies by
    :math:`\mathrm{var}\,a + (\mathrm{var}\,b + \mathrm{var}\,e) / R`, and the mean :math:`d_i` over a lender's borrowers likewise with
    *a* and *b* exchanged. Returned is

    .. math:: c_i = r_i + s \, (d_i - \hat\theta)

    with *s* such that lenders add the :math:`(1 - 1/R) \, \mathrm{var}\,b + 2 \, \mathrm{cov}(a, b)` that is missing, estimated by the
    method of moments.

    :param right: by permutation ``[samples]`` booleans, by borrower.
    :param lenders: ``[permutations, samples]``, from :func:`donors_of`.
    :returns: ``[samples]``.
    """
    count, samples = lenders.shape
    borrowed, by_lender = (torch.zeros(samples, dtype=torch.float64) for _ in range(2))
    for own, lender in zip(right, lenders, strict=True):
        flags = own.double()
        borrowed += flags
        by_lender[lender] += flags  # everyone lends once
    within, within_lender = _variance(borrowed, count), _variance(by_lender, count)
    borrowed /= count
    if count < 2 or samples < 3:
        return borrowed
    lent = by_lender / count - borrowed.mean()
    spread = float(lent.var())
    # What lenders differ by cannot exceed what one borrower sees of different ones: nothing, where the modality has no influence.
    own_part = min(max(spread - within_lender / count, 0.0), within) * (1 - 1 / count)
    together = float(((borrowed - borrowed.mean()) * lent).mean()) if within else 0.0
    wanted = own_part + 2 * together
    return borrowed + (math.sqrt(together**2 + spread * wanted) - together) / spread * lent if wanted > 0 and spread else borrowed


def _variance(hits: Tensor, count: int) -> float:
    """Return the mean over samples of the variance of zeros and ones, of which there are ``count`` with so many ones."""
    return float((hits * (count - hits)).mean()) / (count * (count - 1)) if count > 1 else 0.0
