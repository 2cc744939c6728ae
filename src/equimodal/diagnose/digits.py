"""How many digits behind the point scores need that are no shares: losses of thousands need none, those of thousandths many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from equimodal.diagnose.record import Diagnosis

__all__ = ["digits_of"]

_MOST = 9


def digits_of(*diagnoses: Diagnosis) -> int:
    """Return the digits behind the point that the scores ask for, the same for all numbers of a text: three about one, fewer above.

    >>> from equimodal.diagnose.quantities import Interval
    >>> from equimodal.diagnose.record import Diagnosis
    >>> def scored(value):
    ...     heads = {"multimodal": Interval(value)}
    ...     return Diagnosis("a model", ("a", "b"), "regression", "r2", "val", 9, 0, 0.95, 0, 0, heads=heads)
    >>> digits_of(scored(0.78)), digits_of(scored(-1234.5)), digits_of(scored(0.00042)), digits_of(scored(None))
    (3, 0, 6, 3)
    """
    scores = [score.value for one in diagnoses for found in (one.heads, one.probes) for score in found.values()]
    largest = max((abs(score) for score in scores if score is not None and math.isfinite(score)), default=0.0)
    power = 0 if largest == 0 else math.floor(math.log10(largest))
    return max(3 - power, 0) if power >= 0 else min(max(2 - power, 3), _MOST)
