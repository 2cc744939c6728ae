"""One optimizer step: precision, accumulation, clipping and several devices, so that methods need not know of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from equimodal.errors import InputError, nearest
from equimodal.groups import MODALITY_KEY, ParameterRegistry
from equimodal.nn._checks import takes
from equimodal.nn.prediction import Prediction
from equimodal.processes import all_sum
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch.optim import Optimizer

    from equimodal.data.batch import Batch
    from equimodal.methods.base import Method
    from equimodal.nn.prediction import Routes
    from equimodal.scoring import Scorer
    from equimodal.train.batches import Share, Source

__all__ = ["TrainingStep", "forward"]


def forward(model: nn.Module, batch: Batch, transform: Any = None) -> Prediction:
    """Run a model on a batch, passing only what the batch and the method ask for, so that plain models need no extra arguments."""
    options: dict[str, Any] = {}
    if batch.present:
        if not takes(model, "present"):
            masked = ", ".join(batch.present)
            raise InputError(f"some samples lack {masked}: {type(model).__name__}.forward needs an argument present for the masks")
        options["present"] = batch.present
    if transform is not None:
        options["transform"] = transform
    prediction = model(batch.inputs, **options)
    if not isinstance(prediction, Prediction):
        raise InputError(
            f"the model returned a {type(prediction).__name__} and no equimodal.Prediction(multimodal, unimodal): return one, or let"
            " equimodal.probe(model, ...) add heads to it and return one"
        )
    return prediction


class TrainingStep:
    """What a method drives in ``update``; the same object serves every step of a run.

    :param model: the model, wrapped in DistributedDataParallel where there are several processes.
    :param optimizer: its optimizer.
    :param method: the method; the loop asks what it overrides, never its name.
    :param clip: the largest norm of the gradient, or None.
    :param autocast: the type to compute in, or None.

    ``steps`` counts the optimizer's steps of the epoch.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, method: Method, device: torch.device, clip: float | None, autocast: torch.dtype | None
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.method = method
        self.device = device
        self.clip = clip
        self.autocast = autocast
        inner = model.module if isinstance(model, DistributedDataParallel) else model
        self.parameters = ParameterRegistry(inner)
        self.batches: Sequence[Batch] = ()
        self._inner = inner
        self._shares: dict[int, Share] = {}
        self._world_total = 0
        self._transforms = method.transforms()
        if self._transforms and not takes(inner, "transform"):
            raise InputError(
                f"{method!r} changes what stands between encoders and fusion: {type(inner).__name__}.forward needs an argument transform, "
                "as that of equimodal.nn.JointFusion"
            )
        self._scorer: Scorer | None = None
        self._source: Source | None = None
        self._losses: dict[str, tuple[Tensor, Any]] = {}
        self._trained = torch.zeros((), device=device)
        self.steps = 0

    def start_epoch(self, scorer: Scorer, source: Source | None = None) -> None:
        """Count scores, losses and steps anew.

        :param source: what the batches come from; it is shown the predictions.
        """
        self._scorer, self._source = scorer, source
        self.steps = 0
        self._losses = {}
        self._trained = torch.zeros((), device=self.device)

    def take(self, shares: Sequence[Share]) -> None:
        """Take the micro-batches of the next step."""
        self.batches = [share.batch for share in shares]
        self._shares = {id(share.batch): share for share in shares}
        self._world_total = sum(share.total for share in shares)

    def counted(self, batch: Batch) -> int:
        """Return how many of a micro-batch's samples count: none where this process only keeps the others company."""
        return self._shares[id(batch)].counted

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def forward(self, batch: Batch) -> Prediction:
        """Run the model on one micro-batch and count its predictions."""
        if isinstance(self.model, DistributedDataParallel):
            # Gradients are averaged over processes once per step, with the last micro-batch.
            self.model.require_backward_grad_sync = batch is self.batches[-1]
        transform = (lambda features: self._transform(features, batch)) if self._transforms else None
        if self.autocast is None:
            prediction = forward(self.model, batch, transform)
        else:
            with torch.autocast(self.device.type, dtype=self.autocast):
                prediction = forward(self.model, batch, transform)
            # Losses and scores need the full precision.
            full = {modality: logits.float() for modality, logits in prediction.unimodal.items()}
            prediction = dataclasses.replace(prediction, multimodal=prediction.multimodal.float(), unimodal=full)
        if self._source is not None:
            self._source.saw(prediction)
        if self._scorer is not None and self.counted(batch):
            self._scorer.update(prediction, batch.targets, batch.present)
        return prediction

    def _transform(self, features: dict[str, Tensor], batch: Batch) -> Routes:
        return self.method.transform(features, batch)

    def backward(self, loss: Tensor, batch: Batch) -> None:
        """Add the gradient of a micro-batch's mean loss, weighted by its share of the step's samples over all processes."""
        share = self._shares[id(batch)]
        # DistributedDataParallel divides by the number of processes what should be a sum of shares.
        processes = self.model.process_group.size() if isinstance(self.model, DistributedDataParallel) else 1
        weight = share.counted * processes / self._world_total
        self._trained.add_(loss.detach(), alpha=share.counted)
        (loss if weight == 1.0 else loss * weight).backward()  # type: ignore[no-untyped-call]

    def report(self, losses: Mapping[str, Tensor], batch: Batch) -> None:
        """Count a micro-batch's mean losses by head, each for the samples that have its modality."""
        counted = self.counted(batch)
        for head, loss in losses.items():
            mask = batch.present.get(head)
            weight = counted if mask is None or not counted else mask.sum()
            total, weights = self._losses.get(head, (0.0, 0))
            self._losses[head] = total + loss.detach() * weight, weights + weight

    def step(self, only: str | None = None) -> None:
        """Clip and take the optimizer's step, on one modality's parameters alone where ``only`` names it; the others keep their gradients.

        :raises InputError: for a modality that no parameter group carries.
        """
        kept: list[tuple[nn.Parameter, Tensor | None]] = []
        if only is not None:
            tags = {group.get(MODALITY_KEY, MULTIMODAL) for group in self.optimizer.param_groups}
            if only not in tags:
                raise InputError(f"no parameter group carries modality {only!r}: {nearest(only, tags)}")
            for group in self.optimizer.param_groups:
                if group.get(MODALITY_KEY, MULTIMODAL) != only:
                    kept += [(parameter, parameter.grad) for parameter in group["params"]]
            for parameter, _ in kept:
                parameter.grad = None
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.method.clipped(self._inner), self.clip)
        self.optimizer.step()
        self.steps += 1
        for parameter, gradient in kept:
            parameter.grad = gradient

    def mean_losses(self, heads: Sequence[str]) -> dict[str, float]:
        """Return the epoch's mean loss by head over all processes; NaN where no sample has the modality."""
        pairs = [self._losses.get(head, (0.0, 0)) for head in heads]
        rows = [[torch.as_tensor(value, dtype=torch.float64, device=self.device) for value in pair] for pair in pairs]
        totals = all_sum(torch.stack([torch.stack(row) for row in rows])).cpu()
        return {head: float(total / weight) for head, (total, weight) in zip(heads, totals, strict=True)}

    def trained_loss(self) -> float:
        """Return the sum of the trained loss over the epoch's samples and all processes."""
        return float(all_sum(self._trained.clone()))
