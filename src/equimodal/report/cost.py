"""What a training took: seconds and optimizer steps, per run and relative to a method of reference."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from equimodal.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Cost", "cost_of", "duration", "mean_cost", "multiple"]


@dataclass(frozen=True)
class Cost:
    """Time and optimizer steps; None where they are not known, which makes every sum that they are part of unknown as well.

    >>> Cost(30.0, 1500) + Cost(12.5, None)
    Cost(seconds=42.5, steps=None)

    :param seconds: wall-clock seconds, at least 0.
    :param steps: optimizer steps, at least 0; the mean over several runs need not be whole.
    :raises InputError: for a negative or infinite value, NaN, or what is no number.
    """

    seconds: float | None
    steps: float | None

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("steps", self.steps)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise InputError(f"a cost has {name} = {value!r}: give a number of at least 0, or None where it is not known")

    def __add__(self, other: Cost) -> Cost:
        return Cost(_both(self.seconds, other.seconds), _both(self.steps, other.steps))

    def relative_to(self, other: Cost) -> Cost:
        """Return the multiples of another cost; None where either is unknown, or the other one is zero.

        >>> Cost(30.0, 1500).relative_to(Cost(20.0, 1500))
        Cost(seconds=1.5, steps=1.0)
        """
        return Cost(_ratio(self.seconds, other.seconds), _ratio(self.steps, other.steps))


def cost_of(epochs: Sequence[Mapping[str, Any]]) -> Cost:
    """Return what the recorded epochs took together, the steps of trainings beside the run included.

    >>> cost_of([{"seconds": 1.5, "steps": 10, "side_steps": 20}, {"seconds": 0.5, "steps": 10}])
    Cost(seconds=2.0, steps=40)
    >>> cost_of([{"seconds": 1.5, "steps": 10}, {"seconds": 0.5}])
    Cost(seconds=2.0, steps=None)

    :param epochs: the records of ``metrics.jsonl``. Where one lacks its seconds or steps, as those of old runs do, the sum is None;
        without ``"side_steps"`` there were none.
    """
    seconds = [_known(record.get("seconds")) for record in epochs]
    steps = [_both(_known(record.get("steps")), _known(record.get("side_steps", 0))) for record in epochs]
    return Cost(_total(seconds, math.fsum), _total(steps, sum))


def mean_cost(costs: Iterable[Cost]) -> Cost:
    """Return the mean of some costs, each part over those that know it; None without any.

    >>> mean_cost([Cost(1.0, 10), Cost(2.0, None)])
    Cost(seconds=1.5, steps=10.0)
    """
    costs = list(costs)
    seconds = [cost.seconds for cost in costs if cost.seconds is not None]
    steps = [cost.steps for cost in costs if cost.steps is not None]
    return Cost(statistics.fmean(seconds) if seconds else None, statistics.fmean(steps) if steps else None)


def multiple(ratio: float | None) -> str:
    """Return a ratio with two decimals.

    >>> multiple(3.4166), multiple(0.0004), multiple(None)
    ('3.42', '<0.01', '–')
    """
    if ratio is None:
        return "–"
    return "<0.01" if 0.0 < ratio < 0.005 else f"{ratio:.2f}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it.

    >>> duration(7.26), duration(42.4), duration(600), duration(9000)
    ('7.3 s', '42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _known(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return value


def _both(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


def _total(values: Sequence[float | None], total: Callable[[list[float]], float]) -> float | None:
    known = [value for value in values if value is not None]
    return total(known) if known and len(known) == len(values) else None
