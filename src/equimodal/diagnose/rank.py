"""In how many directions features spread: their effective rank, and how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from equimodal.train.seeds import derived_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from equimodal.diagnose.intervals import Bootstrap
    from equimodal.diagnose.quantities import Interval

__all__ = ["effective_rank", "rank_interval"]

_AT_ONCE = 4096
_LARGEST = 4096
"""Eigenvalues are found of matrices up to this size: with more samples and larger features, so many samples are used."""
_FEWEST = 8
_LEVERAGE = 0.75
_NOTHING = 1e-7
"""Singular values below so much of the largest are rounding."""


def effective_rank(feature: Tensor) -> float | None:
    r"""Return the effective rank of the centred features (Roy & Vetterli, EUSIPCO 2007).

    .. math:: \exp \Bigl( -\sum_k p_k \log p_k \Bigr), \qquad p_k = \frac{\sigma_k}{\sum_j \sigma_j}

    with the singular values :math:`\sigma_k` of the features minus their mean. It lies between 1, all features on a line, and the smaller
    of size and samples − 1, spread evenly in all directions. Features that are the same for every sample (a collapsed encoder) give 0.

    The singular values are the roots of the eigenvalues of the smaller of the two Gram matrices, in double precision. Those below 1e-7 of
    the largest are rounding and count as none. All samples count, unless they and the size are both above 4096: then evenly spaced 4096.

    >>> round(effective_rank(torch.eye(5)), 6), effective_rank(torch.ones(8, 3))
    (4.0, 0.0)

    :param feature: ``[samples, size]``.
    :returns: None for features that are NaN or infinite, or of fewer than two samples.
    """
    seen = _spread(_thinned(feature)[0])
    return None if seen is None else seen.rank()


def rank_interval(feature: Tensor, bootstrap: Bootstrap) -> Interval:
    r"""Return the effective rank with the interval of what many more samples would show.

    With *H* the entropy, the exponent of :func:`effective_rank`, and :math:`z_{ki}` sample *k*'s centred feature along the eigenvector of
    the covariance's eigenvalue :math:`\lambda_i = \sigma_i^2`, sample *k* moves

    .. math::
        \lambda_i \text{ by } z_{ki}^2 - \lambda_i, \qquad
        H \text{ by } h_k = -\sum_i \frac{z_{ki}^2 - \lambda_i}{2 \sigma_i \sum_j \sigma_j} \, (\log p_i + H)

    to first order. The draws are of the means of these numbers, so that no draw needs eigenvalues of its own. Each is divided by
    :math:`\sqrt{1 - l_k}` with the leverage :math:`l_k = (1 + \sum_i z_{ki}^2 / \lambda_i) / n`, as a sample has pulled the directions
    towards itself along which it is seen.

    Few samples make the rank too small, as they let singular values seem more different than they are, by far more than draws differ: with
    64 values per feature and 500 samples by 2 %, where intervals reach 1 % to either side. The draws are moved by an estimate of that.
    To second order in the differences between covariance and truth it is

    .. math::
        a = H_S \, b(\sigma) + H_T \, b(\sigma \log \sigma) + \tfrac12 H_{SS} \operatorname{var} S + H_{ST} \operatorname{cov}(S, T),
        \qquad b(f) = \frac{1}{2n} \sum_{ij} f'[\lambda_i, \lambda_j] \, v_{ij} - \frac1n \sum_i f'(\lambda_i) \lambda_i

    where :math:`S = \sum_i \sigma_i`, :math:`T = \sum_i \sigma_i \log \sigma_i`, :math:`H = \log S - T/S` and its derivatives bear indices,
    :math:`v_{ij}` is the variance of :math:`z_{ki} z_{kj}` over samples, and :math:`f'[x, y] = (f'(x) - f'(y)) / (x - y)` with *f* as a
    function of λ. The entropy of half of the samples is that of all plus a *c* which is *a* again, and three times the next order. Hence
    :math:`a + (c - a) / 3`, with *c* from a random split. What orders beyond that leave out is of the size
    :math:`((c - a) / 3)^2 / \lvert a \rvert`, and half of the draws are moved up by it and half down.

    In simulations of three kinds of features (a spectrum that falls, clusters, networks with rectified units) with 500 or 1000 samples and
    eight samples per value or more, intervals of 95 % hold the true rank in 92 to 98 %. Where there are fewer they are as wide as what is
    not known, and hold it more often. Not moved, they would hold it in a third of the simulations with 64 values and 2000 samples, and
    never with 500. The interval may lie above the value: what is between them is what few samples hide. Of features spread evenly in all
    directions it is close to the size and narrow, as to first order they cannot differ.

    >>> from equimodal.diagnose.intervals import Bootstrap
    >>> draws = torch.Generator().manual_seed(0)
    >>> feature = torch.randn(500, 32, generator=draws) * torch.logspace(0, -1, 32)  # the true rank is 26.04
    >>> found = rank_interval(feature, Bootstrap(500, resamples=200))
    >>> found.value < 26.04, found.low < 26.04 < found.high
    (True, True)

    :param feature: ``[samples, size]``.
    :param bootstrap: the draws, which need to be of as many samples.
    :returns: without ends for fewer than eight samples, and where the rank is zero or undefined.
    """
    used, rows = _thinned(feature)
    seen = _spread(used)
    value = float("nan") if seen is None else seen.rank()
    column = torch.full((1 + bootstrap.resamples,), float("nan"), dtype=torch.float64)
    column[0] = value
    if seen is not None and len(seen.roots) and len(used) >= _FEWEST and bootstrap.resamples:
        influence, bias, rest = _expansion(seen, derived_seed(bootstrap.seed, "effective rank"))
        each = torch.zeros(len(feature), dtype=torch.float64)
        # Samples that are not used say nothing, and those that are, the more.
        each[rows] = influence * (len(feature) / len(used))
        moved = bootstrap.columns(each[None])[1:, 0] - bias
        # The halves are of these features alone: with the same ones, what is not known of two encoders would cancel in a difference.
        halves = torch.Generator().manual_seed(derived_seed(bootstrap.seed, "effective rank", value.hex()))
        moved += rest * (2 * (torch.randperm(len(moved), generator=halves) % 2) - 1)
        column[1:] = (value * moved.exp()).clamp(1.0, float(feature.shape[1]))
    return bootstrap.interval(column)


class _Spread(NamedTuple):
    """Features as what they are along the directions they spread in.

    :param feature: ``[samples, size]``; where there are fewer samples than values, in coordinates of the space that they span.
    :param mean: ``[size]``.
    :param gram: ``[size, size]`` of the centred features.
    :param roots: ``[directions]`` singular values over the root of the number of samples.
    :param axes: ``[size, directions]``.
    """

    feature: Tensor
    mean: Tensor
    gram: Tensor
    roots: Tensor
    axes: Tensor

    def centred(self) -> Iterator[Tensor]:
        """Yield the samples minus their mean, a part at a time."""
        for part in self.feature.split(_AT_ONCE):  # type: ignore[no-untyped-call]
            yield part.double() - self.mean

    def rank(self) -> float:
        """Return the effective rank."""
        return float(_entropy(self.roots).exp()) if len(self.roots) else 0.0


def _thinned(feature: Tensor) -> tuple[Tensor, Tensor]:
    """Return the samples that are used, and their numbers."""
    if min(feature.shape) <= _LARGEST:
        return feature, torch.arange(len(feature))
    rows = torch.linspace(0, len(feature) - 1, _LARGEST, dtype=torch.float64).round().long()
    return feature[rows], rows


@torch.no_grad()
def _spread(feature: Tensor) -> _Spread | None:
    samples, size = feature.shape
    parts = feature.split(_AT_ONCE)  # type: ignore[no-untyped-call]
    mean = torch.stack([part.double().sum(dim=0) for part in parts]).sum(dim=0) / samples
    if samples < 2 or not bool(mean.isfinite().all()):
        return None
    # Against the size of the features themselves: what rounding leaves of a constant is no direction.
    least = 1e-6 * float(mean.norm())
    if samples <= size:
        products = torch.zeros(samples, samples, dtype=torch.float64)
        for rows, own in zip(feature.split(_AT_ONCE, dim=1), mean.split(_AT_ONCE), strict=True):  # type: ignore[no-untyped-call]
            rows = rows.double() - own
            products.addmm_(rows, rows.T)
        values, vectors = torch.linalg.eigh(products)
        feature, mean = vectors * values.clamp(min=0).sqrt(), torch.zeros(samples, dtype=torch.float64)
        parts = (feature,)
    gram = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for part in parts:
        centred = part.double() - mean
        gram.addmm_(centred.T, centred)
    values, axes = torch.linalg.eigh(gram / samples)
    roots = values.clamp(min=0).sqrt()
    kept = roots > _NOTHING * max(float(roots.max()), least) if float(roots.max()) >= least else torch.zeros_like(roots, dtype=torch.bool)
    return _Spread(feature, mean, gram, roots[kept], axes[:, kept])


def _entropy(roots: Tensor) -> Tensor:
    shares = roots / roots.sum()
    return -(shares * shares.log()).sum()


def _expansion(seen: _Spread, seed: int) -> tuple[Tensor, float, float]:
    """Return by how much each sample moves the entropy ``[samples]``, how much too small it is, and what is not known of that."""
    roots, samples = seen.roots, len(seen.feature)
    squares = roots.square()
    total, weighted = roots.sum(), (roots * roots.log()).sum()
    by_total, by_weighted = 1 / total + weighted / total**2, -1 / total
    slopes = torch.stack([1 / (2 * roots), (roots.log() + 1) / (2 * roots)], dim=1)
    moves, leverages, products = [], [], torch.zeros(len(roots), len(roots), dtype=torch.float64)
    for centred in seen.centred():
        along = (centred @ seen.axes).square()
        moves.append((along - squares) @ slopes)
        leverages.append((along @ squares.reciprocal() + 1) / samples)
        products.addmm_(along.T, along)
    move = torch.cat(moves)
    variances = products / samples - torch.diag(squares.square())
    bias = torch.stack([(0.5 * (_curvature(roots, number) * variances).sum() - slopes[:, number] @ squares) for number in (0, 1)]) / samples
    spread = move.T @ move / samples**2
    curved = 0.5 * (-1 / total**2 - 2 * weighted / total**3) * spread[0, 0] + spread[0, 1] / total**2
    expected = float(by_total * bias[0] + by_weighted * bias[1] + curved)
    further = (_of_halves(seen, seed) - expected) / 3
    rest = min(further**2 / abs(expected), abs(further)) if expected else 0.0
    influence = (by_total * move[:, 0] + by_weighted * move[:, 1]) / (1 - torch.cat(leverages).clamp(max=_LEVERAGE)).sqrt()
    return influence - influence.mean(), expected + further, rest


def _curvature(roots: Tensor, which: int) -> Tensor:
    """Return the divided differences of the slopes of σ (0) and σ log σ (1) as functions of λ, for every two eigenvalues."""
    one, other = roots[:, None], roots[None, :]
    of_root = -1 / (2 * one * other * (one + other))
    if which == 0:
        return of_root
    # Of (log σ + 1) / 2σ: that of 1 / 2σ times log σ + 1, plus that of log σ over 2σ.
    ratio = (other - one) / one
    logs = torch.where(ratio.abs() < 1e-5, (1 - ratio / 2) / one, torch.log1p(ratio) / torch.where(ratio == 0, 1.0, other - one))
    return of_root * (one.log() + 1) + logs / (2 * other * (one + other))


def _of_halves(seen: _Spread, seed: int) -> float:
    """Return by how much the entropy of half of the samples is smaller than that of all, the mean of two random halves."""
    samples, start = len(seen.feature), 0
    chosen = torch.zeros(samples, dtype=torch.bool)
    chosen[torch.randperm(samples, generator=torch.Generator().manual_seed(seed))[: samples // 2]] = True
    gram, total = torch.zeros_like(seen.gram), torch.zeros_like(seen.mean)
    for centred in seen.centred():
        own = centred[chosen[start : start + len(centred)]]
        gram.addmm_(own.T, own)
        total += own.sum(dim=0)
        start += len(centred)
    found = []
    for half, sign, count in ((gram, 1, samples // 2), (seen.gram - gram, -1, samples - samples // 2)):
        mean = sign * total / count
        roots = torch.linalg.eigvalsh(half / count - torch.outer(mean, mean)).clamp(min=0).sqrt()
        found.append(_entropy(roots[roots > _NOTHING * roots.max()]))
    return float(torch.stack(found).mean() - _entropy(seen.roots))
