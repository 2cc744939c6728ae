"""Data sets: one module each, found by name; preparation and downloads beside them.

>>> from equimodal.data import datasets
>>> datasets.names()
['avdigits', 'cremad', 'digits-av', 'fashion-image-text', 'luma', 'mmimdb', 'own', 'smnist', 'utd-mhad', 'wiki-image-text']
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
    from equimodal.data.hugging_face import from_hugging_face
    from equimodal.data.registry import datasets
    from equimodal.data.samples import Samples, as_samples, collate
    from equimodal.data.tensors import TensorSet

__all__ = ["Batch", "Dataset", "Samples", "Splits", "TensorSet", "as_samples", "collate", "datasets", "from_hugging_face"]

_MODULES = {
    "Batch": "batch",
    "Dataset": "base",
    "Samples": "samples",
    "Splits": "base",
    "TensorSet": "tensors",
    "as_samples": "samples",
    "collate": "samples",
    "datasets": "registry",
    "from_hugging_face": "hugging_face",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
