"""Draws of samples with replacement, kept small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equimodal.errors import CannotWrite

if TYPE_CHECKING:
    from equimodal.diagnose.cache import FeatureCache, Section

__all__ = ["Draws"]

_KEPT = 2**28
"""Draws of up to so many bytes are kept in memory, where there is no cache for them."""
_FILED = 2**32
"""Draws of up to so many bytes are kept in a cache; more are drawn again whenever they are needed."""
_AT_ONCE = 2**21
"""So many numbers are worked on at a time: 16 MiB of 64-bit ones."""


class Draws:
    """How often every sample is in every draw, one byte each.

    :param samples: how many there are; each draw has as many.
    :param resamples: how many draws.
    :param seed: of the draws, which depend on nothing else.
    :param cache: where to keep them.
    """

    def __init__(self, samples: int, resamples: int, seed: int, cache: FeatureCache | Section | None = None) -> None:
        self.samples = samples
        self.resamples = resamples
        self.seed = seed
        self._cache = cache
        self._kept: Tensor | None = None
        self._keeps = resamples * samples <= (_KEPT if cache is None else _FILED)

    def parts(self, at_once: int | None = None) -> Iterator[tuple[slice, Tensor]]:
        """Yield which draws, and how often each sample is in them ``[draws, samples]`` in bytes.

        :param at_once: so many draws at most; default as many as there are, or as fit into memory where they are drawn anew.
        """
        if self._keeps and self._kept is None and self.resamples:
            self._keep()
        if self._kept is None:
            yield from self._drawn(at_once)
            return
        step = self.resamples if at_once is None else at_once
        for start in range(0, self.resamples, step):
            yield slice(start, min(start + step, self.resamples)), self._kept[start : start + step]

    def _drawn(self, at_once: int | None) -> Iterator[tuple[slice, Tensor]]:
        step = max(_AT_ONCE // self.samples, 1)
        step = step if at_once is None else min(step, at_once)
        generator = torch.Generator().manual_seed(self.seed)
        for start in range(0, self.resamples, step):
            draws = min(step, self.resamples - start)
            drawn = torch.randint(self.samples, (draws, self.samples), generator=generator)
            drawn += torch.arange(draws).unsqueeze(1) * self.samples
            counts = drawn.flatten().bincount(minlength=draws * self.samples).view(draws, self.samples)
            # A sample is drawn once on average: more than 255 times never happens, with less than one chance in 10^500.
            yield slice(start, start + draws), counts.to(torch.uint8)

    def _keep(self) -> None:
        if self._cache is None:
            kept = torch.empty(self.resamples, self.samples, dtype=torch.uint8)
            for draws, counts in self._drawn(None):
                kept[draws] = counts
            self._kept = kept
            return
        name = f"draws {self.samples} {self.resamples} {self.seed}"
        try:
            if name not in self._cache:
                for _, counts in self._drawn(None):
                    self._cache.append(name, counts, expected=self.resamples)
            self._kept = self._cache[name]
        except CannotWrite:  # a full disk costs time alone
            self._cache.drop(name)
            self._keeps = False
