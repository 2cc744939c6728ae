"""What stands for a modality that is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.data.batch import map_tensors
from equimodal.diagnose.values import padded
from equimodal.errors import InputError
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.collecting import Collected
    from equimodal.diagnose.measure import Measure

__all__ = ["Filling"]


class Filling:
    """Makes zeros, means and other samples' values of the samples of one split.

    :param collected: the samples.
    :param fill: those whose means stand in.
    :param lenders: ``[permutations, samples]``, who lends to whom.
    :param measure: whose targets they have.
    :ivar notes: by quantity, what had to be done in another way.
    """

    def __init__(self, collected: Collected, fill: Collected, lenders: Tensor, measure: Measure) -> None:
        self.collected = collected
        self.measure = measure
        self.fill = fill
        self.lenders = lenders
        self.notes: dict[str, str] = {}
        self._means: dict[str, list[Tensor]] = {}

    def values(self, kind: str, modality: str, rows: slice, turn: int) -> Any:
        """Return what a batch is given instead of a modality.

        :param kind: zero, mean or permutation.
        :param rows: which samples the batch has.
        :param turn: which permutation.
        """
        if kind == "permutation":
            return self.collected.value(modality, self.lenders[turn, rows], beside=rows)
        own = self.collected.value(modality, rows)
        if kind == "zero":
            return map_tensors(lambda tensor: torch.zeros_like(tensor) if tensor.is_floating_point() else tensor, own)
        places = iter(self._means_of(modality))

        def replace(tensor: Tensor) -> Tensor:
            mean = next(places)
            # Of inputs that are padded batch by batch, as much as this batch has room for.
            return padded(mean, [1, *tensor.shape[1:]]).expand(tensor.shape) if tensor.is_floating_point() else tensor

        return map_tensors(replace, own)

    def _means_of(self, modality: str) -> list[Tensor]:
        if modality not in self._means:
            means = _tensors(self.fill.mean(modality))
            if self.fill is not self.collected and not all(bool(mean.isfinite().all()) for mean in means):
                self.notes[f"ablations.mean.{modality}"] = (
                    f"the mean of {modality!r} over the train split is NaN or infinite: that of the given samples stands in"
                )
                means = _tensors(self.collected.mean(modality))
            self._means[modality] = means
        return self._means[modality]

    def constant(self, samples: int) -> Tensor:
        """Return the logits of a model that knows how often each answer is right, and sees nothing."""
        targets = self.fill.targets
        outputs = self.collected.logits[MULTIMODAL].shape[1:]
        if targets.is_floating_point() and self.measure.task.name == "regression":
            said = targets.double().mean(dim=0).reshape(outputs)
        elif self.measure.classes:
            said = (targets.bincount(minlength=outputs[0]).double() + 1e-9).log()
        elif self.measure.task.name == "multilabel":
            said = targets.double().mean(dim=0).logit(eps=1e-9)
        else:
            raise InputError(f"no answer without any modality is known for {self.measure.task.name} targets")
        return said.expand(samples, *outputs)


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, value)  # type: ignore[func-returns-value]
    return found
