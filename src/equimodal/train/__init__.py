"""Training: the loop, evaluation, checkpoints, run records."""

from __future__ import annotations

from equimodal.train.branches import Branches
from equimodal.train.loop import Run, fit

__all__ = ["Branches", "Run", "fit"]
