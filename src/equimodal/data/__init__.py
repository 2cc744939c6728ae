"""Data sets: one module each, found by name; preparation and downloads beside them.

>>> from equimodal.data import datasets
>>> datasets.names()
['avdigits', 'digits-av']
>>> splits = datasets.get("digits-av")().load()
>>> len(splits.train), len(splits.val), len(splits.test)
(1100, 300, 397)

The names below are imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equimodal.data.base import Dataset, Splits
    from equimodal.data.batch import Batch
    from equimodal.data.registry import datasets
    from equimodal.data.tensors import TensorSet

__all__ = ["Batch", "Dataset", "Splits", "TensorSet", "datasets"]

_MODULES = {"Batch": "batch", "Dataset": "base", "Splits": "base", "TensorSet": "tensors", "datasets": "registry"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
