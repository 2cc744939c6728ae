"""Percentile bootstrap intervals over samples, from one set of draws that all quantities share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equimodal.diagnose.draws import Draws
from equimodal.diagnose.quantities import Interval
from equimodal.errors import InputError
from equimodal.train.absence_scores import check_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equimodal.diagnose.cache import FeatureCache, Section

__all__ = ["Bootstrap", "Drawn"]

_AT_ONCE = 2**21
"""So many numbers are held as floats at a time."""
_TALLIED = 2**19
"""So many counts of cells are made at a time, which the processor's caches hold."""
_READ = 2**26
"""So many counts are read at a time, in the order in which a file has them."""


class Drawn(Interval):
    """An interval that remembers its column, so that two of the same draws can be subtracted, draw by draw.

    It is an :class:`Interval` in all else, and is stored as one.

    :ivar column: ``[1 + resamples]``, the value and every draw's.
    :ivar basic: whether its ends were mirrored, see :meth:`Bootstrap.interval`.
    """

    column: Tensor
    basic: bool

    @classmethod
    def from_column(cls, interval: Interval, column: Tensor, *, basic: bool = False) -> Drawn:
        """Return an interval with its column."""
        drawn = cls(*interval)
        drawn.column, drawn.basic = column, basic
        return drawn


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
    :param cache: where to keep the draws, a byte for each sample and draw; default in memory. Draws of more than 256 MiB there, or 4 GiB in
        a cache, are made anew whenever they are needed.
    :raises InputError: for a number that cannot be.
    """

    def __init__(
        self,
        samples: int,
        *,
        resamples: int = 1000,
        level: float = 0.95,
        seed: int = 0,
        cache: FeatureCache | Section | None = None,
    ) -> None:
        check_numbers(resamples, level)
        if samples < 1:
            raise InputError(f"samples = {samples}: there is nothing to draw from")
        self.samples = samples
        self.resamples = resamples
        self.level = level
        self.seed = seed
        self._draws = Draws(samples, resamples, seed, cache)

    def counts(self) -> Iterator[Tensor]:
        """Yield how often each sample is drawn, ``[draws, samples]`` in 64-bit floats, a part of the draws at a time."""
        for _, part in self._draws.parts(max(_AT_ONCE // self.samples, 1)):
            yield part.double()

    def columns(self, values: Tensor | Sequence[Tensor]) -> Tensor:
        """Return the means of per-sample values as columns.

        :param values: ``[quantities, samples]``, or a list of ``[samples]``; quickest of booleans.
        :returns: ``[1 + resamples, quantities]``.
        """
        if not len(values):
            return torch.zeros(1 + self.resamples, 0, dtype=torch.float64)
        if isinstance(values, Tensor):
            return self.sums(lambda rows: values[:, rows].T) / self.samples
        return self.sums(lambda rows: torch.stack([own[rows] for own in values], dim=1)) / self.samples

    def sums(self, values: Callable[[slice], Tensor]) -> Tensor:
        """Return per-sample values added up over samples, as columns.

        :param values: given which samples, returns ``[samples, quantities]``. It is asked for a part of the samples at a time, so that
            what it returns may be large. Booleans are added up in single precision, exactly, all else in double precision.
        :returns: ``[1 + resamples, quantities]``.
        """
        at_once = min(max(_READ // self.samples, 1), max(self.resamples, 1))
        step = max(_AT_ONCE // at_once, 256)
        parts = [slice(start, start + step) for start in range(0, self.samples, step)]
        rows = [torch.stack([values(part).sum(dim=0, dtype=torch.float64) for part in parts]).sum(dim=0, keepdim=True)]
        for _, counts in self._draws.parts(at_once):
            total = torch.zeros(len(counts), rows[0].shape[1], dtype=torch.float64)
            for part in parts:
                own = values(part)
                # Of booleans no sum exceeds that of the counts, which single precision holds as a whole number.
                kind = torch.float32 if own.dtype == torch.bool else torch.float64
                total += counts[:, part].to(kind) @ own.to(kind)
            rows.append(total)
        return torch.cat(rows)

    def tallies(self, cells: Callable[[slice], Sequence[Tensor]], size: int) -> Iterator[Tensor]:
        """Yield how many samples there are in every cell, for the samples as they are, then for a part of the draws at a time.

        :param cells: given which samples, returns numbers of cells ``[samples]`` each: every sample counts in one cell of each. It is asked
            for a part of the samples at a time.
        :param size: how many cells there are.
        :returns: ``[cells, 1]``, then ``[cells, draws]``.
        """
        yield self._tally(torch.ones(1, 1, dtype=torch.uint8).expand(1, self.samples), cells, size)
        for _, counts in self._draws.parts(max(min(_TALLIED // size, _READ // self.samples), 1)):
            yield self._tally(counts, cells, size)

    def _tally(self, counts: Tensor, cells: Callable[[slice], Sequence[Tensor]], size: int) -> Tensor:
        # Single precision holds whole numbers up to 2^24.
        total = torch.zeros(size, len(counts), dtype=torch.float32 if self.samples < 2**24 else torch.float64)
        step = min(max(_AT_ONCE // len(counts), 256), _AT_ONCE)
        for start in range(0, self.samples, step):
            part = slice(start, start + step)
            weights = counts[:, part].T.contiguous().to(total.dtype)
            for own in cells(part):
                total.index_add_(0, own, weights)
        return total.double()

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
        for _, counts in self._draws.parts():
            rows += [list(function(everything.repeat_interleave(count.long()))) for count in counts]
        return torch.tensor(rows, dtype=torch.float64)

    def interval(self, column: Tensor, *, basic: bool = False, least: float = -math.inf) -> Interval:
        """Return the value and the interval of a column; ends are None where fewer than half of the draws define them.

        They are also None with fewer draws than the level asks for: 40 for 95 %, so that one lies beyond each end.

        :param column: ``[1 + resamples]``.
        :param basic: mirror the quantiles at the value (the basic or reverse percentile interval) instead of taking them as they are: for
            quantities that few samples make too large or too small, whose draws, with fewer different samples still, are so twice over.
        :param least: the smallest number that the quantity can be; ends below are set to it.
        :returns: it remembers the column, see :class:`Drawn`.
        """
        value, drawn = float(column[0]), column[1:]
        defined = drawn[drawn.isfinite()].double()
        tail = (1 - self.level) / 2
        # With less than one draw beyond each end, the ends would be those of the draws, however many there are.
        few = not len(drawn) or len(drawn) * tail < 1 - 1e-9
        if few or 2 * len(defined) < len(drawn) or not math.isfinite(value):
            return Drawn.from_column(Interval.of(value), column, basic=basic)
        low, high = torch.quantile(defined, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
        if basic:
            low, high = 2 * value - high, 2 * value - low
        return Drawn.from_column(Interval.of(value, max(low, least), max(high, least)), column, basic=basic)

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

        :returns: it remembers the signed column, or its negative where the value is negative.
        """
        value, low, high = self.interval(column)
        toward = -column if value is not None and value < 0 else column  # in differences, too, draws are not folded one by one
        if value is None or low is None or high is None:
            return Drawn.from_column(Interval.of(None if value is None else abs(value)), toward)
        ends = sorted((abs(low), abs(high)))
        return Drawn.from_column(Interval.of(abs(value), 0.0 if low <= 0.0 <= high else ends[0], ends[1]), toward)

    def mean(self, values: Tensor) -> Interval:
        """Return the mean of per-sample values ``[samples]``."""
        return self.interval(self.columns(values[None])[:, 0])

    def means(self, values: Tensor) -> list[Interval]:
        """Return the means of per-sample values ``[quantities, samples]``."""
        return self.intervals(self.columns(values))

    def share(self, flags: Tensor) -> Interval:
        """Return the share of samples that are true in ``[samples]``."""
        return self.mean(flags)

    def statistic(self, function: Callable[[Tensor], Tensor], *, basic: bool = False, least: float = -math.inf) -> Interval:
        """Return any statistic of weighted samples; see :meth:`resampled`, with ``[draws]`` returned, and :meth:`interval`."""
        return self.interval(self.resampled(function), basic=basic, least=least)
