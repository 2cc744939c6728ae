"""Linear models on standardised features by L-BFGS: many folds at once, a part of the samples at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Design", "Kind", "Problem", "solve"]

Kind = Literal["classes", "labels", "numbers"]

_AT_ONCE = 2**23
"""So many numbers are worked on at a time: 32 MiB."""
_COPIED = 2**26
"""Standardised features of up to so many numbers (256 MiB) are kept; more are made again whenever they are needed."""
_PRECONDITIONED = 2048
"""Up to so many features the curvature is known well enough to solve with it."""


class Design:
    """Features of one or several modalities side by side, standardised: mean 0 and standard deviation 1 in the samples they are fitted on.

    A feature that does not vary there becomes 0.

    :param blocks: each ``[samples, size]``.
    :param like: another design whose means and deviations to use.
    """

    def __init__(self, blocks: Sequence[Tensor], like: Design | None = None) -> None:
        self.blocks = tuple(blocks)
        self.samples = len(self.blocks[0])
        self.size = sum(block.shape[1] for block in self.blocks)
        self.moments: list[tuple[Tensor, Tensor]] = [_moments(block) for block in self.blocks] if like is None else like.moments
        self._kept: list[Tensor] | None = [] if self.samples * self.size <= _COPIED else None
        self._gram: Tensor | None = None

    def parts(self, columns: int = 1) -> Iterator[tuple[slice, Tensor]]:
        """Yield the rows of a part of the samples, and their features ``[rows, size]`` in single precision.

        :param columns: how many numbers per sample are made of them.
        """
        if self._kept is not None and not self._kept:
            self._kept = [self._standardised(rows) for rows in self._slices(self.size)]
        if self._kept is not None:
            yield from zip(self._slices(self.size), self._kept, strict=True)
        else:
            for rows in self._slices(max(self.size, columns)):
                yield rows, self._standardised(rows)

    def gram(self) -> Tensor:
        """Return the mean of the outer products of the features, ``[size, size]`` in double precision."""
        if self._gram is None:
            total = torch.zeros(self.size, self.size, dtype=torch.float64)
            for _, part in self.parts():
                total += part.T @ part
            self._gram = total / self.samples
        return self._gram

    def _slices(self, columns: int) -> list[slice]:
        step = max(1, min(4096, _AT_ONCE // columns))
        return [slice(start, start + step) for start in range(0, self.samples, step)]

    def _standardised(self, rows: slice) -> Tensor:
        pairs = zip(self.blocks, self.moments, strict=True)
        return torch.cat([((block[rows].double() - mean) * scale).float() for block, (mean, scale) in pairs], dim=1)


def _moments(block: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of every feature, and what to multiply it with for a standard deviation of 1."""
    step = max(1, _AT_ONCE // max(block.shape[1], 1))
    total, squares = torch.zeros(2, block.shape[1], dtype=torch.float64)
    for part in block.split(step):  # type: ignore[no-untyped-call]
        total += part.double().sum(dim=0)
    mean = total / len(block)
    for part in block.split(step):  # type: ignore[no-untyped-call]
        squares += (part.double() - mean).square().sum(dim=0)
    deviation = (squares / len(block)).sqrt()
    varies = deviation > 1e-6 * mean.abs()
    return mean, torch.where(varies, 1 / deviation.where(varies, 1.0), 0.0)


class Problem:
    """Linear models of the same samples, one for each set of weights of the samples.

    :param design: the features.
    :param targets: class numbers ``[samples]``, or ``[samples, outputs]`` zeros and ones or numbers.
    :param weights: ``[samples, models]``; the columns add up to 1.
    :param kind: classes (cross-entropy of the softmax), labels (binary cross-entropies, added up) or numbers (half the squared error).
    :param outputs: how many.
    """

    def __init__(self, design: Design, targets: Tensor, weights: Tensor, kind: Kind, outputs: int) -> None:
        self.design, self.targets, self.weights, self.kind, self.outputs = design, targets, weights.float(), kind, outputs
        self.models = weights.shape[1]

    def logits(self, slope: Tensor, offset: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield of every part the rows, the features, and the outputs ``[rows, models, outputs]``.

        :param slope: ``[size, models · outputs]``.
        :param offset: ``[models · outputs]``.
        """
        for rows, part in self.design.parts(self.models * self.outputs):
            yield rows, part, torch.addmm(offset, part, slope).view(len(part), self.models, self.outputs)

    def losses(self, logits: Tensor, rows: slice) -> Tensor:
        """Return the loss of every sample and model ``[rows, models]``."""
        targets = self.targets[rows]
        if self.kind == "classes":
            chosen = logits.gather(2, targets.view(-1, 1, 1).expand(-1, self.models, 1)).squeeze(2)
            return logits.logsumexp(dim=2) - chosen
        wanted = targets.unsqueeze(1).to(logits.dtype).expand_as(logits)
        if self.kind == "labels":
            return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(dim=2)
        return (logits - wanted).square().sum(dim=2) / 2

    def objective(self, slope: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weighted losses added up over samples and models, and the gradients of slope and offset."""
        total, by_slope, by_offset = torch.zeros((), dtype=torch.float64), torch.zeros_like(slope), torch.zeros_like(offset)
        for rows, part, logits in self.logits(slope, offset):
            weights = self.weights[rows]
            total += (self.losses(logits, rows) * weights).sum(dtype=torch.float64)
            error = self._errors(logits, rows).mul_(weights.unsqueeze(2)).view(len(part), -1)
            by_slope.addmm_(part.T, error)
            by_offset += error.sum(dim=0)
        return total, by_slope, by_offset

    def _errors(self, logits: Tensor, rows: slice) -> Tensor:
        targets = self.targets[rows]
        if self.kind == "classes":
            index = targets.view(-1, 1, 1).expand(-1, self.models, 1)
            error = logits.softmax(dim=2)
            return error.scatter_add_(2, index, error.new_full((1, 1, 1), -1.0).expand_as(index))
        return (logits.sigmoid() if self.kind == "labels" else logits) - targets.unsqueeze(1).to(logits.dtype)

    @property
    def curvature(self) -> float:
        """The second derivative of the loss by a logit, where nothing is known yet."""
        if self.kind == "classes":
            return (self.outputs - 1) / self.outputs**2 if self.outputs > 1 else 1.0
        return 0.25 if self.kind == "labels" else 1.0


@torch.no_grad()
def solve(
    problem: Problem, penalty: float, start: tuple[Tensor, Tensor] | None = None, *, steps: int = 100, tolerance: float = 1e-6
) -> tuple[Tensor, Tensor]:
    r"""Return slope ``[size, models · outputs]`` and offset ``[models · outputs]`` of the smallest penalised loss.

    .. math:: \min_{W, b} \; \sum_i w_i \, \ell(W^\top x_i + b, y_i) + \frac{\lambda}{2} \|W\|^2

    of every model, all in one run of L-BFGS with a line search that meets the strong Wolfe conditions. The coordinates are those in which
    the curvature at :math:`W = 0`, :math:`c \, \overline{x x^\top} + \lambda`, is the identity, so that few steps lead far (one, but for
    the folds' differences, for a squared error). Beyond 2048 features they are those of the features.

    :param penalty: λ.
    :param start: where to begin; zeros by default.
    :param steps: at most so many.
    :param tolerance: the loss changes by less in the last step.
    """
    design, columns = problem.design, problem.models * problem.outputs
    slope, offset = start or (torch.zeros(design.size, columns), torch.zeros(columns))
    factor: Tensor | None = None
    if design.size <= _PRECONDITIONED:
        gram = problem.curvature * design.gram()
        ridge = penalty + 1e-7 * float(gram.diagonal().max())
        factor = torch.linalg.cholesky(gram.diagonal_scatter(gram.diagonal() + ridge))
    scale = (problem.curvature + penalty) ** -0.5 if factor is None else 1.0
    stretch = problem.curvature**-0.5

    def outward(inner: Tensor) -> Tensor:
        if factor is None:
            return inner * scale
        found: Tensor = torch.linalg.solve_triangular(factor.T, inner.double(), upper=True)
        return found.float()

    def inward(gradient: Tensor) -> Tensor:
        if factor is None:
            return gradient * scale
        found: Tensor = torch.linalg.solve_triangular(factor, gradient.double(), upper=False)
        return found.float().contiguous()

    inner = nn.Parameter(slope / scale if factor is None else (factor.T @ slope.double()).float().contiguous())
    shift = nn.Parameter(offset / stretch)
    search = torch.optim.LBFGS(
        [inner, shift], max_iter=steps, history_size=10, tolerance_grad=1e-5, tolerance_change=tolerance, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        with torch.no_grad():
            now = outward(inner)
            total, by_slope, by_offset = problem.objective(now, shift * stretch)
            inner.grad = inward(by_slope.add_(now, alpha=penalty))
            shift.grad = by_offset * stretch
            return float(total + penalty / 2 * now.double().square().sum())

    search.step(closure)  # type: ignore[no-untyped-call]
    return outward(inner.detach()), (shift * stretch).detach()
