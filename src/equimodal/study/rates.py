"""What a search for learning rates tried, and what it chose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from equimodal.report.cost import Cost

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Candidate", "UnimodalRates"]


@dataclass(frozen=True)
class Candidate:
    """One learning rate that was tried, and what came of it.

    :param rate: the learning rate.
    :param score: the best validation score; None where it is undefined, or the training diverged.
    :param loss: the mean validation loss of the epoch with that score.
    :param epoch: that epoch.
    :param cost: what the training took.
    :param diverged: why it ended early, where its loss became NaN or infinite.
    """

    rate: float
    score: float | None
    loss: float | None
    epoch: int | None
    cost: Cost
    diverged: str | None = None


@dataclass(frozen=True)
class UnimodalRates:
    """What a search for unimodal learning rates found.

    :param metric: the metric of the scores.
    :param candidates: by modality, every learning rate that was tried, the smallest first.
    :param found: the modalities that were known from earlier searches, so that nothing was trained for them.
    """

    metric: str
    candidates: Mapping[str, tuple[Candidate, ...]]
    found: frozenset[str] = frozenset()

    @cached_property
    def best(self) -> dict[str, Candidate]:
        """The chosen candidate of every modality: best validation score, then smaller validation loss, then smaller rate."""
        return {modality: min(tried, key=_order) for modality, tried in self.candidates.items()}

    @property
    def rates(self) -> dict[str, float]:
        """The chosen learning rate of every modality."""
        return {modality: candidate.rate for modality, candidate in self.best.items()}

    @property
    def cost(self) -> Cost:
        """What training all candidates of all modalities took, whether now or earlier."""
        total = Cost(0.0, 0)
        for tried in self.candidates.values():
            for candidate in tried:
                total = total + candidate.cost
        return total

    @property
    def seconds(self) -> float | None:
        """The seconds of :attr:`cost`."""
        return self.cost.seconds

    @property
    def steps(self) -> float | None:
        """The optimizer steps of :attr:`cost`."""
        return self.cost.steps

    @property
    def edges(self) -> dict[str, Literal["smallest", "largest"]]:
        """The modalities whose choice is the smallest or the largest of several candidates, so that a better one may lie beyond it."""
        found: dict[str, Literal["smallest", "largest"]] = {}
        for modality, tried in self.candidates.items():
            if len(tried) > 1 and self.rates[modality] in (tried[0].rate, tried[-1].rate):
                found[modality] = "smallest" if self.rates[modality] == tried[0].rate else "largest"
        return found

    @property
    def warnings(self) -> list[str]:
        """What to know before the rates are used, one line each."""
        lines = []
        for modality, tried in self.candidates.items():
            if len(tried) > 1 and len({(candidate.score, candidate.loss) for candidate in tried}) == 1:
                lines.append(f"{modality}: all candidates learned the same, so this search says nothing; does the scheduler set the rate?")
            elif (edge := self.edges.get(modality)) is not None:
                further = "smaller" if edge == "smallest" else "larger"
                lines.append(f"{modality}: {self.rates[modality]:g} is the {edge} candidate: widen the grid with {further} ones")
        return lines


def _order(candidate: Candidate) -> tuple[float, float, float]:
    score = -math.inf if candidate.score is None else candidate.score
    loss = math.inf if candidate.loss is None else candidate.loss
    return -score, loss, candidate.rate
