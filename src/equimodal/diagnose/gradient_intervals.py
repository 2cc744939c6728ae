"""How sure the gradient norms of the encoders are: what each sample adds to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from equimodal.diagnose.gradients import mean_gradients, sample_losses, undisturbed
from equimodal.diagnose.updates import norm_of
from equimodal.errors import InputError
from equimodal.tasks import get_task
from equimodal.train.step import forward

if TYPE_CHECKING:
    from equimodal.data.batch import Batch
    from equimodal.diagnose.intervals import Bootstrap
    from equimodal.diagnose.quantities import Interval
    from equimodal.tasks import Task

__all__ = ["GradientIntervals", "Pulls", "along_differences", "along_gradients", "gradient_intervals", "sums_of_squares"]

Batches = Callable[[], Iterable["Batch"]]
"""Yields the batches of the data anew with every call; in whatever order."""
Directions = Mapping[str, Mapping[nn.Parameter, Tensor]]
"""By modality the direction of its encoder's gradient, of length 1."""

_AT_ONCE = 64
_TOGETHER = 16
"""So many samples get signs together; as many rows of signs, which are orthogonal, make the sum of their squared norms exact."""
_SUMS = 1024
"""Sums with signs are made of so many groups at least, unless every group has all its rows."""
_STEP = 1e-3
"""Differences are taken between weights that lie so much of their norm to either side."""
_AGREE = 0.01
"""Exact derivatives are taken where they add up to the gradient within so much of it."""
_FAR = 0.05
"""No interval is made of derivatives that do not add up to the gradient within so much of it."""


class GradientIntervals(NamedTuple):
    """The norm of an encoder's gradient, and that relative to the norm of its parameters."""

    norm: Interval
    relative: Interval


class Pulls(NamedTuple):
    """What single samples say of one encoder's gradient.

    :param norm: of the gradient of the mean loss.
    :param along: ``[samples]``, each sample's gradient along the direction of that.
    :param noise: the trace of the covariance of the samples' gradients.
    """

    norm: float
    along: Tensor
    noise: float

    def column(self, bootstrap: Bootstrap) -> Tensor:
        """Return the norm, and draws of what it would be with many more samples; see :func:`gradient_intervals`."""
        along = self.along.double() - self.along.double().mean()
        moved = bootstrap.columns(along[None])[1:, 0]
        squares = self.norm**2 + 2 * self.norm * moved - self.noise / len(along)
        return torch.cat([torch.tensor([self.norm], dtype=torch.float64), squares.clamp(min=0).sqrt()])


def gradient_intervals(
    model: nn.Module,
    batches: Batches,
    task: str | Task,
    modalities: Mapping[str, Sequence[nn.Parameter]],
    bootstrap: Callable[[int], Bootstrap],
    *,
    loss: Literal["multimodal", "sum"] = "multimodal",
) -> dict[str, GradientIntervals]:
    r"""Return by modality the norm of the gradient as :func:`equimodal.diagnose.gradients.gradient_norms` has it, with intervals.

    The value is :math:`\|g\|` with :math:`g = \frac 1 n \sum_i g_i`, of the samples as they are. The interval is of the gradient that many
    more samples would have, which is shorter: independent noise adds to every component, so that

    .. math:: \operatorname E \|g\|^2 = \|\operatorname E g\|^2 + \frac 1 n \operatorname{tr} \Sigma,
        \qquad \Sigma = \operatorname{cov} g_i

    To first order sample *i* moves :math:`\|g\|^2` by :math:`2 \|g\| (d_i - \|g\|) / n` with its gradient along that of all,
    :math:`d_i = g_i^\top g / \|g\|`. Draws are hence of

    .. math:: \Bigl\| \hat g \Bigr\|^{*2} = \|g\|^2 + 2 \|g\| \, (\bar d^* - \|g\|) - \frac 1 n \operatorname{tr} \Sigma

    with :math:`\bar d^*` the mean of a draw, and zero where that is negative. Where the interval ends below the value, as at the end of a
    training, the value is mostly the noise of few samples; where it begins at zero, the samples do not tell that there is any gradient.

    In simulations with linear models, from 500 samples on, intervals of 95 % hold a gradient above its noise in 92 to 96 %, one that is
    zero or near in 93 to 100 %. Without the correction they would hold the former in 77 to 94 % and the latter in 11 to 60 %.

    How it is found: a first pass over the data for *g*, and a second one for what samples add. :math:`d_i` are exact derivatives (the
    vector-Jacobian product is linear in what it is given, and its own derivative is the product with *g*: two backward passes). Models
    that cannot be differentiated twice, such as compiled ones, take differences of losses instead, with the weights moved along *g* and
    back by a thousandth of their norm; where these do not add up to the norm within a twentieth, as with weights of 16 bits, the interval
    has no ends. :math:`\sum_i \|g_i\|^2` adds up the mean of :math:`\| \sum_i \pm g_i \|^2` over rows of signs from
    groups of 16 samples. All 16 orthogonal rows, as for up to 1024 samples, make it exact, in as many backward passes. Of more samples
    each group has fewer rows with random signs, at least 1024 over all groups: an estimate without bias, within 1 to 4 %.

    >>> from equimodal.data.batch import Batch
    >>> from equimodal.diagnose.intervals import Bootstrap
    >>> from equimodal.nn import MLP, JointFusion
    >>> model = JointFusion({"audio": MLP(3), "image": MLP(5)}, num_outputs=2)
    >>> batch = Batch({"audio": torch.randn(100, 3), "image": torch.zeros(100, 5)}, torch.arange(100) % 2)
    >>> encoder = list(model.encoders["audio"].parameters())
    >>> found = gradient_intervals(model, lambda: [batch], "single-label", {"audio": encoder}, lambda n: Bootstrap(n, resamples=50))
    >>> found["audio"].norm.low <= found["audio"].norm.high
    True

    :param model: see :func:`equimodal.diagnose.gradients.gradient_norms`; it is left as it was.
    :param batches: yields the batches anew with every call.
    :param task: whose loss.
    :param modalities: the parameters of each encoder.
    :param bootstrap: returns the draws of so many samples.
    :param loss: of the joint logits, or of all heads.
    :returns: zeros for an encoder that is frozen, has no parameters, or to which nothing is fed back.
    :raises InputError: for no sample, a loss that is NaN or infinite, and batches that have other samples the second time.
    """
    trainable = {name: list(dict.fromkeys(one for one in own if one.requires_grad)) for name, own in modalities.items()}
    gradients, sizes = mean_gradients(model, batches(), task, [one for own in trainable.values() for one in own], loss=loss)
    norms = {name: norm_of(gradients[one] for one in own) for name, own in trainable.items()}
    draws = bootstrap(sum(sizes))
    directions = {name: {one: gradients[one] / norms[name] for one in own} for name, own in trainable.items() if norms[name]}
    pulls = {name: Pulls(norm, torch.zeros(sum(sizes)), 0.0) for name, norm in norms.items()}
    if draws.resamples and directions:
        along = _along(model, batches, get_task(task), directions, norms, loss)
        if any(len(own) != sum(sizes) for own in along.values()):
            raise InputError("the data have other samples when they are read again: give the same")
        squares = sums_of_squares(model, batches, get_task(task), directions, sizes, loss)
        pulls |= {name: _pulls(norms[name], along[name], squares[name]) for name in directions}
    found = {}
    for name, own in trainable.items():
        column, size = pulls[name].column(draws), norm_of(own)
        relative = column / size if size else torch.zeros_like(column)
        found[name] = GradientIntervals(draws.interval(column), draws.interval(relative))
    return found


def _pulls(norm: float, along: Tensor, squares: float) -> Pulls:
    count = len(along)
    trace = max(squares / count - norm**2, 0.0) * count / max(count - 1, 1)
    # What lies along one direction is part of the whole, which is an estimate.
    return Pulls(norm, along, max(trace, float(along.double().var()) if count > 1 else 0.0))


def _along(
    model: nn.Module, batches: Batches, task: Task, directions: Directions, norms: Mapping[str, float], loss: str
) -> dict[str, Tensor]:
    try:
        found = along_gradients(model, batches, task, directions, loss)
    except (RuntimeError, NotImplementedError):  # something in the model has no second derivative
        found = {}
    # A backward pass of someone's own may be cut off from what it was given, which says nothing.
    if not found or any(_off(own, norms[name]) > _AGREE for name, own in found.items()):
        found = along_differences(model, batches, task, directions, loss)
    # Weights of few digits may not move by so little as differences are taken over: then there is no interval.
    return {name: own if _off(own, norms[name]) <= _FAR else own * math.nan for name, own in found.items()}


def _off(along: Tensor, norm: float) -> float:
    """Return how far the mean of the samples' gradients along that of all is from its norm, relative to that."""
    return abs(float(along.double().mean()) - norm) / norm


def along_gradients(model: nn.Module, batches: Batches, task: Task, directions: Directions, loss: str) -> dict[str, Tensor]:
    """Return by modality each sample's gradient along its direction ``[samples]``, exactly.

    :raises RuntimeError: for a model that cannot be differentiated twice.
    """
    every = list(dict.fromkeys(one for own in directions.values() for one in own))
    found: dict[str, list[Tensor]] = {name: [] for name in directions}
    with undisturbed(model), torch.inference_mode(mode=False), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        for batch in _small(batches(), _AT_ONCE):
            losses = sample_losses(forward(model, batch), batch, task, loss)
            weights = torch.ones_like(losses, requires_grad=True)
            pulled = torch.autograd.grad(losses, every, weights, create_graph=True, allow_unused=True)
            of = {one: gradient for one, gradient in zip(every, pulled, strict=True) if gradient is not None}
            for name, direction in directions.items():
                products = [(of[one] * part.to(of[one].dtype)).sum() for one, part in direction.items() if one in of]
                total = torch.stack(products).sum() if products else losses.sum() * 0
                own = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True)[0] if total.requires_grad else None
                found[name].append(torch.zeros(len(batch)) if own is None else own.detach().float().cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}


@torch.no_grad()
def along_differences(model: nn.Module, batches: Batches, task: Task, directions: Directions, loss: str) -> dict[str, Tensor]:
    """Return the same from central differences of the samples' losses; the weights are put back bit by bit."""
    found = {}
    for name, direction in directions.items():
        step = _STEP * (norm_of(direction) or 1.0)
        kept = {one: one.detach().clone() for one in direction}
        sides = []
        try:
            with undisturbed(model):
                for sign in (1, -1):
                    for one, part in direction.items():
                        one.copy_(kept[one] + (sign * step * part).to(one.dtype))
                    losses = [sample_losses(forward(model, batch), batch, task, loss).double().cpu() for batch in batches() if len(batch)]
                    sides.append(torch.cat(losses))
        finally:
            for one, before in kept.items():
                one.copy_(before)
        if len(sides[0]) != len(sides[1]):
            raise InputError("the data have other samples when they are read again: give the same")
        found[name] = (sides[0] - sides[1]) / (2 * step)
    return found


def sums_of_squares(
    model: nn.Module, batches: Batches, task: Task, directions: Directions, sizes: Sequence[int], loss: str
) -> dict[str, float]:
    """Return by modality the sum of the squared norms of all samples' gradients: exact for few samples, else an estimate without bias."""
    every = list(dict.fromkeys(one for own in directions.values() for one in own))
    rounds = min(math.ceil(_SUMS / max(sum(-(-size // _TOGETHER) for size in sizes), 1)), _TOGETHER)
    found = dict.fromkeys(directions, 0.0)
    generator = torch.Generator().manual_seed(0)
    rows = _orthogonal_signs()
    with undisturbed(model), torch.inference_mode(mode=False), torch.enable_grad():
        for batch in _small(batches(), _TOGETHER):
            losses = sample_losses(forward(model, batch), batch, task, loss)
            if not losses.requires_grad:
                continue
            chosen = rows[torch.randperm(_TOGETHER, generator=generator)[:rounds], : len(batch)]
            chosen = chosen * (2 * torch.randint(2, (len(batch),), generator=generator) - 1)
            for number, signs in enumerate(chosen.to(losses.device, losses.dtype)):
                pulled = torch.autograd.grad(losses, every, signs, retain_graph=number < rounds - 1, allow_unused=True)
                of = {one: gradient for one, gradient in zip(every, pulled, strict=True) if gradient is not None}
                for name, direction in directions.items():
                    found[name] += norm_of(of[one] for one in direction if one in of) ** 2 / rounds
    return found


def _orthogonal_signs() -> Tensor:
    """Return rows of signs whose columns are orthogonal (Sylvester's construction)."""
    rows = torch.ones(1, 1)
    while len(rows) < _TOGETHER:
        rows = torch.cat([torch.cat([rows, rows], dim=1), torch.cat([rows, -rows], dim=1)])
    return rows


def _small(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Yield the batches in small ones, as second derivatives take memory and signs are of small groups."""
    for batch in batches:
        parts = torch.arange(len(batch), device=batch.targets.device).split(size) if len(batch) else ()  # type: ignore[no-untyped-call]
        yield from [batch] if len(parts) == 1 else map(batch.select, parts)
