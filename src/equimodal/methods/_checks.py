"""What constructors ask of their numbers."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from equimodal.errors import InputError

__all__ = ["FEWEST_SAMPLES", "is_number", "is_whole", "need"]

FEWEST_SAMPLES = 10
"""The smallest split whose mean loss is taken for more than noise."""


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is a finite number; truth values are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a value is a whole number; truth values are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def need(valid: bool, name: str, value: Any, wanted: str) -> None:
    """Refuse a value.

    :raises InputError: naming it and what is wanted.
    """
    if not valid:
        raise InputError(f"{name} = {value!r}: {wanted} is needed")
