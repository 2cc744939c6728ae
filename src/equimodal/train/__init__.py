"""Training: the loop, evaluation, checkpoints, run records."""

from __future__ import annotations

from equimodal.train.loop import Run, fit

__all__ = ["Run", "fit"]
