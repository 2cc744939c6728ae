"""How often intervals of a simulation hold the truth."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from equimodal.diagnose.quantities import Interval

__all__ = ["held"]


def held(truths: Mapping[Hashable, float], simulate: Callable[[int], Mapping[Hashable, Interval]], trials: int) -> dict[Hashable, float]:
    """Return by name the share of trials whose interval holds the truth.

    :param simulate: returns the intervals by name, of a trial's number.
    """
    found = dict.fromkeys(truths, 0)
    for trial in range(trials):
        for name, interval in simulate(trial).items():
            found[name] += interval.low <= truths[name] <= interval.high
    return {name: count / trials for name, count in found.items()}
