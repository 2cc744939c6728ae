"""Learning curves and generalisation gaps from the records of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.diagnose.quantities import Epoch
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.report.records import RunRecord

__all__ = ["curves", "generalisation"]


def curves(run: RunRecord) -> tuple[Epoch, ...]:
    """Return what a run recorded of every epoch; None where it recorded nothing.

    >>> from equimodal.report import RunRecord
    >>> scores = {"train": {"multimodal": 0.9, "audio": 0.7}, "val": {"multimodal": 0.8, "audio": None}}
    >>> curves(RunRecord("MILES", "miles", {}, [{"epoch": 1, "scores": scores, "gap": 0.2, "multipliers": {"audio": 0.5}}]))[0].val
    {'multimodal': 0.8, 'audio': None}

    :param run: see :func:`equimodal.report.read_run`.
    """
    heads = (MULTIMODAL, *run.modalities)
    splits = {split: {head: run.series("scores", split, head) for head in heads} for split in ("train", "val")}
    gaps = run.series("gap")
    multipliers = {name: run.series("multipliers", name) for name in run.names("multipliers")}
    return tuple(
        Epoch(
            number,
            {head: values[row] for head, values in splits["train"].items()},
            {head: values[row] for head, values in splits["val"].items()},
            gaps[row],
            {name: values[row] for name, values in multipliers.items()},
        )
        for row, number in enumerate(run.epoch_numbers)
    )


def generalisation(run: RunRecord) -> dict[str, float | None]:
    """Return by head its score of the train split minus that of the validation split, at the run's best epoch.

    The best epoch is the one whose weights the run keeps. Train scores are those that the epoch's own training passes gave: with the
    weights as they changed, dropout and augmentation on. That makes the gap smaller than that of two evaluations, more so in early epochs.

    :param run: see :func:`equimodal.report.read_run`.
    :returns: None for a head without one of the two scores; empty for a run without epochs.
    """
    epochs = {epoch.epoch: epoch for epoch in curves(run)}
    best = epochs.get(run.best_epoch or 0) or (epochs[max(epochs)] if epochs else None)
    if best is None:
        return {}
    return {head: _difference(best.train[head], best.val[head]) for head in best.train}


def _difference(train: float | None, val: float | None) -> float | None:
    return None if train is None or val is None else train - val
