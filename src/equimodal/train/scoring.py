"""Scores of every head, as the loop counts them; they live in :mod:`equimodal.scoring`."""

from __future__ import annotations

from equimodal.scoring import Scorer, average_precision

__all__ = ["Scorer", "average_precision"]
