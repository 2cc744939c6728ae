"""Scores of every head in a loop that is not ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from equimodal import processes
from equimodal.errors import InputError, nearest
from equimodal.nn.prediction import Prediction
from equimodal.scores import MULTIMODAL
from equimodal.scoring import MeanLosses, Scorer
from equimodal.scoring.counts import PositionCounts
from equimodal.tasks import Task, get_task

__all__ = ["HeadScores"]


class HeadScores:
    """Counts the predictions of the joint model and of every modality's head, for any loop that learns from their scores.

    Make one before an epoch's validation, or :meth:`reset` it; ``update`` it with every batch and ``compute`` at the end. Counts add up
    over all processes of ``torch.distributed``, so that all of them see the same scores.

    >>> import torch
    >>> counter = HeadScores(("audio", "image"))
    >>> targets = torch.tensor([0, 1, 1, 0])
    >>> right, wrong = torch.nn.functional.one_hot(targets).float(), torch.nn.functional.one_hot(1 - targets).float()
    >>> counter.update({"multimodal": right, "audio": torch.cat([right[:3], wrong[3:]]), "image": wrong}, targets)
    >>> counter.compute(), counter.counts()
    ({'multimodal': 1.0, 'audio': 0.75, 'image': 0.0}, {'multimodal': 4, 'audio': 4, 'image': 4})

    A function, or a metric of torchmetrics, in place of a ready metric:

    >>> def top_two(logits, targets):
    ...     return (logits.topk(2).indices == targets[:, None]).any(dim=1).float().mean()
    >>> counter = HeadScores(("audio", "image"), metric=top_two)
    >>> counter.update(dict.fromkeys(("multimodal", "audio", "image"), wrong), targets)
    >>> counter.compute()["audio"]
    1.0

    Ready metrics are counted on the device of the logits and read by ``compute`` alone; a function needs all logits and targets, which are
    kept until then and gathered over all processes. The order of the samples is then that of the processes: a function must not depend
    on it. Each head has a metric of torchmetrics of its own, which adds up over processes by itself; it must see logits as they are.

    :param modalities: their names, in the order of the scores.
    :param task: what targets look like: ``"single-label"`` (default), ``"multilabel"``, ``"regression"``, ``"ordinal"``,
        ``"positions"``, or an :class:`equimodal.tasks.Task`.
    :param metric: the name of one of the task's metrics (default its first), a function of ``(logits, targets)``, a
        ``torchmetrics.Metric``, or a pair of a name and one of these; larger is better.
    :raises InputError: for modalities without a name, an unknown task or metric, and a metric of torchmetrics that is smaller when better.
    """

    def __init__(self, modalities: Sequence[str], task: str | Task = "single-label", metric: Any = None) -> None:
        names = (modalities,) if isinstance(modalities, str) else tuple(modalities)
        if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names) or MULTIMODAL in names:
            raise InputError(f"modalities = {modalities!r}: give the different names of the modalities, without {MULTIMODAL!r}")
        self.heads = (MULTIMODAL, *names)
        self.task, self.metric = get_task(task).scored_by(metric)
        self._flat = self.task.counts is not None and not issubclass(self.task.counts, PositionCounts)
        self.reset()

    def reset(self) -> None:
        """Forget everything, before another epoch."""
        self._scorer: Scorer | None = None
        self._losses: MeanLosses | None = None
        self._outputs = 0

    def update(self, prediction: Prediction | Mapping[str, Tensor], targets: Tensor, present: Mapping[str, Tensor] | None = None) -> None:
        """Count one batch.

        Targets on an accelerator are checked in the first batch alone, because looking at them costs a synchronisation.

        :param prediction: a :class:`equimodal.nn.Prediction`, or logits under ``"multimodal"`` and under the name of each modality; a
            modality that the whole batch lacks has no entry.
        :param targets: as the task has them; moved to the device of the logits.
        :param present: for modalities that some samples lack, a boolean mask ``[batch]``; default that of the prediction.
        :raises InputError: for a missing multimodal prediction, an unknown modality, logits or masks of the wrong shape, and targets that
            do not suit the task.
        """
        given, present = self._read(prediction, present)
        logits = given.multimodal
        if not isinstance(targets, Tensor):
            raise InputError(f"targets are of type {type(targets).__name__}: give a tensor")
        if targets.device.type == "cpu" or self._scorer is None:
            self.task.check(targets, "a batch", logits.shape[1])
        if not len(targets):
            return
        self._outputs = self._outputs or logits.shape[1]
        if logits.shape[1] != self._outputs:
            raise InputError(f"this batch has {logits.shape[1]} outputs and those before had {self._outputs}: call reset() between models")
        targets = targets.to(logits.device, non_blocking=True)
        if targets.dim() == 0 or len(logits) != len(targets):
            raise InputError(
                f"the batch has {len(logits)} predictions and targets of shape {list(targets.shape)}: the first dimension must be the batch"
            )
        if self._flat and logits.dim() != 2:
            raise InputError(
                f"the predictions have shape {list(logits.shape)}: {self.task.name} needs [batch, outputs]; task='positions' has more"
            )
        masks = {name: self._mask(name, mask, logits) for name, mask in present.items() if name in given.unimodal}
        # Trainers validate in inference mode, whose tensors could not be added to outside of it.
        with torch.inference_mode(mode=False):
            scorer, losses = self._counters(logits.device)
            losses.update(given, targets, masks)
            scorer.update(given, targets, masks)

    def compute(self) -> dict[str, float]:
        """Return the score by head, over all processes; NaN for a head that scored no sample.

        Where there are several processes, all of them must call this, as they must :meth:`losses` and :meth:`counts`.

        :raises InputError: when no process has counted any sample.
        """
        return {head: values[self.metric] for head, values in self._counted()[0].compute().items()}

    def losses(self) -> dict[str, float]:
        """Return the task's mean loss by head, over all processes; NaN for a head that scored no sample."""
        return self._counted()[1].compute()

    def counts(self) -> dict[str, int]:
        """Return by head how many samples it has scored, over all processes: those in which its modality is present."""
        samples = (self._scorer or self._made(processes.device())[0]).samples()
        return {head: round(number) for head, number in zip(self.heads, samples, strict=True)}

    def _counters(self, device: torch.device) -> tuple[Scorer, MeanLosses]:
        if self._scorer is None or self._losses is None:
            self._scorer, self._losses = self._made(device)
        return self._scorer, self._losses

    def _made(self, device: torch.device) -> tuple[Scorer, MeanLosses]:
        return Scorer(self.task, self.heads, (self.metric,), device), MeanLosses(self.task, self.heads, device)

    def _counted(self) -> tuple[Scorer, MeanLosses]:
        if self._scorer is None or self._losses is None:
            if processes.world_size() == 1:
                raise InputError("no sample was scored yet: call update(prediction, targets) with every batch first")
            return self._made(processes.device())  # another process may have counted something
        return self._scorer, self._losses

    def _read(self, given: Any, present: Mapping[str, Tensor] | None) -> tuple[Prediction, Mapping[str, Tensor]]:
        """Return a prediction of known heads, and its masks."""
        if isinstance(given, Mapping):
            if MULTIMODAL not in given:
                found = ", ".join(map(str, given)) or "nothing"
                raise InputError(f"the prediction has no {MULTIMODAL!r}, only {found}: add the joint logits")
            given = Prediction(given[MULTIMODAL], {name: logits for name, logits in given.items() if name != MULTIMODAL})
        if not isinstance(given, Prediction):
            raise InputError(f"the prediction is a {type(given).__name__}: give an equimodal.Prediction, or logits by head")
        masks = given.present if present is None else present
        for what, names in (("prediction", given.unimodal), ("presence masks", masks)):
            for name in names:
                if name not in self.heads[1:]:
                    raise InputError(f"unknown modality {name!r} in the {what}: {nearest(str(name), self.heads[1:])}")
        for name, logits in {MULTIMODAL: given.multimodal, **given.unimodal}.items():
            if not isinstance(logits, Tensor) or logits.dim() < 2:
                found = f"shape {list(logits.shape)}" if isinstance(logits, Tensor) else f"type {type(logits).__name__}"
                raise InputError(f"the prediction of {name!r} is of {found}: logits [batch, outputs] are needed")
            if logits.shape != given.multimodal.shape:
                raise InputError(
                    f"the predictions of {name!r} and {MULTIMODAL!r} have shapes {list(logits.shape)} and {list(given.multimodal.shape)}:"
                    " they must be the same"
                )
        return given, masks

    def _mask(self, name: str, mask: Any, logits: Tensor) -> Tensor:
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != logits.shape[:1]:
            raise InputError(f"the presence mask of {name!r} is no torch.bool tensor [{len(logits)}]")
        return mask.to(logits.device, non_blocking=True)
