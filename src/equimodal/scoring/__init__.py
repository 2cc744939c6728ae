"""Scores and losses of every head: counted on the device, added up over processes, read once an epoch."""

from __future__ import annotations

from equimodal.scoring.counts import IGNORED
from equimodal.scoring.metrics import average_precision
from equimodal.scoring.scorer import MeanLosses, Scorer

__all__ = ["IGNORED", "MeanLosses", "Scorer", "average_precision"]
