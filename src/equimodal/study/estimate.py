"""How long a study will take: every row trained for a few steps, and what these took carried over to whole runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from equimodal.data.base import Splits
from equimodal.study.series import Series, corners, stand_in
from equimodal.train.config import train

if TYPE_CHECKING:
    from equimodal.study.jobs import Data

__all__ = ["measure"]

BATCHES = (3, 6)
"""So many batches are trained, for two epochs each; what the difference takes is the training, the rest goes with the validation."""

_VALIDATED = 4


def measure(series: Sequence[Series], data: Data, on_row: Callable[[int, int], None] | None = None) -> dict[str, float]:
    """Train each row for a few steps and return the seconds that a run of it will take here, by the name of its search.

    A row is measured with the first fusion alone; with others it takes about as long.

    :param series: the series of one data set; those that are no search are passed over.
    :param data: the data set with its splits; of the test split nothing is read.
    :param on_row: told how many rows are measured, of how many.
    """
    searches = [one for one in series if one.kind == "search"]
    rows = len({one.row for one in searches})
    known: dict[str, float] = {}
    for one in searches:
        if one.row not in known:
            known[one.row] = _seconds(one, data)
            if on_row is not None:
                on_row(len(known), rows)
    return {one.name: known[one.row] for one in searches}


def _seconds(series: Series, data: Data) -> float:
    """Return the seconds of a run."""
    config = series.config(corners(series)[0], stand_in(series))
    size, (_, splits) = config["batch_size"], data
    validated = min(len(splits.val), _VALIDATED * size)
    few, more = (_timed(config, data, number * size, validated) for number in BATCHES)
    per_batch = max(more - few, 0.0) / (BATCHES[1] - BATCHES[0])
    rest = max(few - per_batch * BATCHES[0], 0.0) * len(splits.val) / validated
    epoch: float = per_batch * math.ceil(len(splits.train) / size) + rest
    return epoch * float(config["epochs"])


def _timed(config: Mapping[str, Any], data: Data, trained: int, validated: int) -> float:
    """Return the mean seconds of an epoch of so many samples; trainings beside the run are in it."""
    dataset, splits = data
    small = Splits(
        splits.train.subset(torch.arange(trained) % len(splits.train)),
        splits.val.subset(torch.arange(validated)),
        splits.test.subset(torch.arange(0)),
        digest=splits.digest,
    )
    run = train({**config, "epochs": 2, "stop": None}, data=(dataset, small), test=False)
    return math.fsum(float(record["seconds"]) for record in run.history) / len(run.history)
