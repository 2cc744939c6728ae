"""Every data set by name."""

from __future__ import annotations

from equimodal._configurable import Registry
from equimodal.data.base import Dataset

__all__ = ["datasets"]

datasets: Registry[Dataset] = Registry("equimodal.data", Dataset, "data set")
