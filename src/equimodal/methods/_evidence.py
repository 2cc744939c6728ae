"""What all kinds of unimodal evidence share, and the one kind with a memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from equimodal import processes
from equimodal.errors import InputError
from equimodal.groups import modality_modules

if TYPE_CHECKING:
    from equimodal.data.batch import Batch
    from equimodal.nn.prediction import Prediction

__all__ = ["Evidence", "Prototype"]


class Evidence:
    """Unimodal logits of a model for the batches it is trained on. Built by :func:`equimodal.methods.evidence.make_evidence`.

    :param model: the model itself, not wrapped in ``DistributedDataParallel``.
    """

    kind: ClassVar[str]
    """Its name in :data:`equimodal.methods.evidence.EVIDENCE`."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        types = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
        self._type = reduce(torch.promote_types, types, torch.float32 if not types else types.pop())

    @classmethod
    def lacks(cls, model: nn.Module) -> str | None:
        """Return what the model lacks for this kind, in words, or None where it lacks nothing."""
        return None

    def logits(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return ``[batch, outputs]`` by modality, for the modalities in the batch, in the order of the model.

        They carry no gradient and have the precision of the weights, at least 32 bits, also under autocast. Rows of samples that lack
        the modality mean nothing: mask them with ``batch.present``. Weights are read as they are now, so call this before the
        optimizer's step, and once per batch.

        :param prediction: what the model returned for the batch.
        :param batch: the batch.
        :raises InputError: for a prediction, targets or inputs that this kind cannot use.
        """
        device = prediction.multimodal.device.type
        with torch.no_grad():
            if torch.is_autocast_enabled(device):
                with torch.autocast(device, enabled=False):
                    found = self._logits(prediction, batch)
            else:
                found = self._logits(prediction, batch)
        return {name: _full(logits) for name, logits in found.items()}

    def epoch_start(self) -> None:
        """Prepare for an epoch."""

    def epoch_end(self) -> None:
        """Learn from an epoch; where there are several processes, all of them call this."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes during a run: nothing, but for prototypes."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        :raises InputError: for the state of another kind; nothing changes then.
        """
        if state:
            raise InputError(f"evidence = {self.kind!r} has no state and is given one with {', '.join(map(str, state))}")

    def _logits(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError

    def _features(self, prediction: Prediction) -> dict[str, Tensor]:
        """Return the features in the type of the weights, which autocast may have left."""
        features = prediction.features
        if not features:
            raise InputError(
                f"evidence = {self.kind!r} needs the features and {type(self.model).__name__} returns none:"
                " give them as the third part of its Prediction, by modality [batch, features]"
            )
        kind = self._type
        return {name: feature if feature.dtype is kind else feature.to(kind) for name, feature in features.items()}


class Prototype(Evidence):
    """Minus the distance of a feature to the mean feature of each class, gathered while training (PMR)."""

    kind = "prototype"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        # By modality [classes, features + 1]: the sum of the features of each class, and last their number.
        self._sums: dict[str, Tensor] = {}  # of the running epoch, in this process
        self._earlier: dict[str, Tensor] = {}  # of the epoch before, in all processes

    def _logits(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        targets = batch.targets
        if targets.dim() != 1 or targets.is_floating_point():
            raise InputError(
                f"evidence = 'prototype' needs class numbers [batch] as targets and is given {targets.dtype} {list(targets.shape)}:"
                " choose 'head'"
            )
        classes = torch.arange(prediction.multimodal.shape[1], device=targets.device).unsqueeze(1) == targets
        found = {}
        for name, feature in self._features(prediction).items():
            if name in batch.inputs:
                feature = _full(feature)
                self._count(name, feature, classes, batch.present.get(name))
                found[name] = _minus_distances(feature, self._held(name, feature.device))
        return found

    def _count(self, name: str, feature: Tensor, classes: Tensor, mask: Tensor | None) -> None:
        if mask is not None:
            classes = classes & mask
            feature = feature.where(mask.unsqueeze(1), 0)  # 0 × NaN would spoil the sums
        # A product adds in a fixed order, which scattered additions on a GPU do not.
        sums = classes.to(feature.dtype) @ torch.cat([feature, feature.new_ones(len(feature), 1)], dim=1)
        earlier = self._sums.get(name)
        self._sums[name] = sums if earlier is None else earlier.to(sums.device) + sums

    def _held(self, name: str, device: torch.device) -> Tensor:
        if name not in self._earlier:
            return self._sums[name]
        held = self._earlier[name] = self._earlier[name].to(device)  # a state may come from elsewhere
        return held

    def epoch_start(self) -> None:
        """Take the sums of an epoch whose end was not told."""
        self.epoch_end()

    def epoch_end(self) -> None:
        """Make the epoch's sums, those of all processes, the prototypes of the next."""
        names = tuple(getattr(self.model, "modalities", None) or modality_modules(self.model) or self._sums)
        for name in names:  # the same in every process, unlike what each has seen
            sums = processes.all_sum_counts(self._sums.get(name))
            if sums is not None:
                self._earlier[name] = sums
        self._sums = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of the running epoch and of the one before."""
        return {"sums": dict(self._sums), "earlier": dict(self._earlier)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        :raises InputError: for the state of another kind, or a damaged one; nothing changes then.
        """
        parts = [state.get("sums"), state.get("earlier")]
        if len(state) != 2 or not all(isinstance(part, Mapping) and all(isinstance(v, Tensor) for v in part.values()) for part in parts):
            raise InputError(
                f"the state of evidence = 'prototype' holds {', '.join(map(str, state)) or 'nothing'}: 'sums' and 'earlier', each with one"
                " tensor per modality, are needed"
            )
        self._sums, self._earlier = dict(state["sums"]), dict(state["earlier"])


def _full(logits: Tensor) -> Tensor:
    """Return a tensor without its graph, in at least 32 bits."""
    if logits.requires_grad:
        logits = logits.detach()
    return logits.float() if logits.element_size() < 4 else logits


def _minus_distances(feature: Tensor, sums: Tensor) -> Tensor:
    """Return minus the distance ``[batch, classes]`` of every feature to the mean of every class.

    :param sums: ``[classes, features + 1]``, the sums and last the numbers.
    """
    counts = sums[:, -1]
    means = sums[:, :-1] / counts.clamp(min=1).unsqueeze(1)
    distances = torch.cdist(feature, means, compute_mode="donot_use_mm_for_euclid_dist")
    logits = (-distances).masked_fill(counts == 0, -torch.inf)
    # Without any prototype all classes are alike; minus infinity throughout would make NaN of them.
    return logits.where(counts.any(), 0)
