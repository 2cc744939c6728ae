"""Preparation: from original files, once, to memory-mapped arrays beside a manifest.

A data set that extends :class:`PreparedDataset` says which originals it reads, how one sample of them becomes arrays, and which samples
make which split; the rest is done here: resuming after a kill, checksums, one process at a time, whole entries only.
"""

from __future__ import annotations

from equimodal.data.preparation.dataset import PreparedDataset
from equimodal.data.preparation.plan import Plan, Stored
from equimodal.data.preparation.prepared import Prepared

__all__ = ["Plan", "Prepared", "PreparedDataset", "Stored"]
