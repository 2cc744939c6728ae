"""Percentile bootstrap intervals over samples, from one set of draws that all quantities share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equimodal.diagnose.record import Interval
from equimodal.errors import InputError
from equimodal.train.absence_scores import check_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Bootstrap"]

_KEPT = 2**28
"""Draws of up to so many bytes are kept; more are drawn again whenever they are needed."""
_AT_ONCE = 2**21
"""So many numbers are held as floats at a time."""


class Bootstrap:
    """Draws of samples with replacement, the same for every quantity, so that differences are of the same samples.

    A *column* is a tensor ``[1 + resamples]``: a quantity of the samples as they are, then of every draw. Columns are computed with like
    any tensors, and :meth:`interval` reads the result.

    >>> bootstrap = Bootstrap(400, resamples=200)
    >>> right = torch.arange(400) % 4 != 0
    >>> bootstrap.share(right).value
    0.75
    >>> first, second = bootstrap.columns(torch.stack([right, torch.arange(400) % 2 == 0]).double()).T
    >>> difference = bootstrap.interval(first - second)
    >>> difference.value, difference.low < 0.25 < difference.high
    (0.25, True)

    :param samples: how many there are.
    :param resamples: how many draws; 1000 is customary for 95 %. 0 for none: intervals then have no ends.
    :param level: of the intervals, from the quantiles of the draws (the percentile method).
    :param seed: of the draws.
    :raises InputError: for a number that cannot be.
    """

    def __init__(self, samples: int, *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> None:
        check_numbers(resamples, level)
        if samples < 1:
            raise InputError(f"samples = {samples}: there is nothing to draw from")
        self.samples = samples
        self.resamples = resamples
        self.level = level
        self.seed = seed
        self._counts: list[Tensor] = []

    def counts(self) -> Iterator[Tensor]:
        """Yield how often each sample is drawn, ``[draws, samples]`` in 64-bit floats, a part of the draws at a time."""
        at_once = max(_AT_ONCE // self.samples, 1)
        if self._counts:
            for part in self._counts:
                yield part.double()
            return
        kept: list[Tensor] = []
        generator = torch.Generator().manual_seed(self.seed)
        for start in range(0, self.resamples, at_once):
            draws = min(at_once, self.resamples - start)
            drawn = torch.randint(self.samples, (draws, self.samples), generator=generator)
            drawn += torch.arange(draws).unsqueeze(1) * self.samples
            counts = drawn.flatten().bincount(minlength=draws * self.samples).view(draws, self.samples)
            if 2 * self.resamples * self.samples <= _KEPT:
                kept.append(counts.to(torch.int16))
            yield counts.double()
        self._counts = kept

    def columns(self, values: Tensor) -> Tensor:
        """Return the means of per-sample values as columns.

        :param values: ``[quantities, samples]``.
        :returns: ``[1 + resamples, quantities]``.
        """
        values = values.double()
        return self.resampled(lambda counts: counts @ values.T / self.samples)

    def resampled(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return any statistic of weighted samples as columns.

        :param function: given weights ``[draws, samples]``, whole numbers in 64-bit floats that add up to the number of samples, returns
            ``[draws, quantities]``, or ``[draws]`` for one quantity.
        :returns: ``[1 + resamples, quantities]``, or ``[1 + resamples]``.
        """
        rows = [function(torch.ones(1, self.samples, dtype=torch.float64))]
        rows += [function(counts) for counts in self.counts()]
        return torch.cat(rows)

    def rescored(self, function: Callable[[Tensor], Sequence[float]]) -> Tensor:
        """Return scores that have to be computed anew from the samples of every draw as columns; slow.

        :param function: given sample numbers ``[samples]``, returns one number per quantity.
        :returns: ``[1 + resamples, quantities]``.
        """
        everything = torch.arange(self.samples)
        rows = [list(function(everything))]
        for counts in self.counts():
            rows += [list(function(everything.repeat_interleave(count.long()))) for count in counts]
        return torch.tensor(rows, dtype=torch.float64)

    def interval(self, column: Tensor) -> Interval:
        """Return the value and the interval of a column; ends are None where fewer than half of the draws define them.

        They are also None with fewer draws than the level asks for: 40 for 95 %, so that one lies beyond each end.

        :param column: ``[1 + resamples]``.
        """
        value, drawn = float(column[0]), column[1:]
        defined = drawn[drawn.isfinite()].double()
        tail = (1 - self.level) / 2
        # With less than one draw beyond each end, the ends would be those of the draws, however many there are.
        few = not len(drawn) or len(drawn) * tail < 1 - 1e-9
        if few or 2 * len(defined) < len(drawn) or not math.isfinite(value):
            return Interval.of(value)
        low, high = torch.quantile(defined, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
        return Interval.of(value, low, high)

    def intervals(self, columns: Tensor) -> list[Interval]:
        """Return the interval of every column ``[1 + resamples, quantities]``."""
        return [self.interval(column) for column in columns.T]

    def size(self, column: Tensor) -> Interval:
        """Return the interval of a column's absolute value.

        The signed interval is folded at zero: draws of an absolute value are never below zero, so that their own quantiles would miss a
        true zero every time.

        >>> bootstrap = Bootstrap(400, resamples=200)
        >>> bootstrap.size(bootstrap.columns(torch.arange(-199.5, 200.5)[None])[:, 0]).low
        0.0
        """
        value, low, high = self.interval(column)
        if value is None or low is None or high is None:
            return Interval.of(None if value is None else abs(value))
        ends = sorted((abs(low), abs(high)))
        return Interval.of(abs(value), 0.0 if low <= 0.0 <= high else ends[0], ends[1])

    def mean(self, values: Tensor) -> Interval:
        """Return the mean of per-sample values ``[samples]``."""
        return self.interval(self.columns(values[None])[:, 0])

    def means(self, values: Tensor) -> list[Interval]:
        """Return the means of per-sample values ``[quantities, samples]``."""
        return self.intervals(self.columns(values))

    def share(self, flags: Tensor) -> Interval:
        """Return the share of samples that are true in ``[samples]``."""
        return self.mean(flags)

    def statistic(self, function: Callable[[Tensor], Tensor]) -> Interval:
        """Return any statistic of weighted samples; see :meth:`resampled`, with ``[draws]`` returned."""
        return self.interval(self.resampled(function))
