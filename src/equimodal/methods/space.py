"""Search spaces, declared beside the methods they belong to and the same for every data set."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Choice", "Distribution", "LogUniform", "Uniform"]


class Distribution:
    """One hyper-parameter's range."""

    def sample(self, generator: random.Random) -> Any:
        """Draw one value."""
        raise NotImplementedError

    def __contains__(self, value: object) -> bool:
        raise NotImplementedError


@dataclass(frozen=True)
class Uniform(Distribution):
    """A number drawn evenly from ``low`` to ``high``, both included in the range.

    >>> 0.2 in Uniform(0.0, 0.5)
    True
    """

    low: float
    high: float

    def sample(self, generator: random.Random) -> float:
        """Draw one value."""
        return generator.uniform(self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high


@dataclass(frozen=True)
class LogUniform(Uniform):
    """A positive number whose logarithm is drawn evenly from ``low`` to ``high``."""

    def sample(self, generator: random.Random) -> float:
        """Draw one value."""
        return math.exp(generator.uniform(math.log(self.low), math.log(self.high)))

    def __str__(self) -> str:
        return f"{super().__str__()}, evenly in its logarithm"


@dataclass(frozen=True)
class Choice(Distribution):
    """One of the listed values, each as likely."""

    values: Sequence[Any]

    def sample(self, generator: random.Random) -> Any:
        """Draw one value."""
        return generator.choice(self.values)

    def __str__(self) -> str:
        return ", ".join(map(repr, self.values))

    def __contains__(self, value: object) -> bool:
        return value in self.values
