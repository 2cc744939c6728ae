"""A data set held as tensors: batches by index, no worker processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from equimodal.data.batch import Batch, map_tensors
from equimodal.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TensorSet"]


class TensorSet(Dataset[Batch]):
    """Samples of several modalities held as tensors, so that a batch is one indexing operation on their device.

    >>> samples = TensorSet({"image": torch.zeros(5, 1, 8, 8), "audio": torch.zeros(5, 20)}, torch.arange(5))
    >>> len(samples), samples[torch.tensor([0, 3])].targets.tolist()
    (5, [0, 3])

    :param inputs: one entry per modality: a tensor ``[samples, ...]`` or a tuple or mapping of such tensors.
    :param targets: ``[samples]`` class numbers, or ``[samples, outputs]`` for multilabel targets and regression.
    :param present: for modalities that some samples lack, a boolean mask ``[samples]``.
    :raises InputError: when the lengths differ or a mask is of another type or of no known modality.
    """

    def __init__(self, inputs: Mapping[str, Any], targets: Tensor, present: Mapping[str, Tensor] | None = None) -> None:
        self.inputs = dict(inputs)
        self.targets = targets
        self.present = dict(present or {})
        for name, value in self.inputs.items():
            map_tensors(lambda tensor, name=name: self._checked(name, tensor), value)  # type: ignore[misc]
        for name, mask in self.present.items():
            if name not in self.inputs:
                raise InputError(f"a presence mask is given for {name!r}, which is not among the modalities {', '.join(self.inputs)}")
            if mask.dtype != torch.bool:
                raise InputError(f"the presence mask of {name!r} has type {mask.dtype}: make it torch.bool")
            self._checked(f"{name} presence mask", mask)

    def _checked(self, name: str, tensor: Tensor) -> Tensor:
        if len(tensor) != len(self.targets):
            raise InputError(f"{name!r} has {len(tensor)} samples and the targets have {len(self.targets)}: they must be equal")
        return tensor

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Any) -> Batch:
        """Select samples by an index tensor (a batch), a slice (a batch) or a number (one sample, without batch dimension)."""

        def select(tensor: Tensor) -> Tensor:
            return tensor[index]

        if isinstance(index, slice):
            indices = torch.arange(len(self), device=self.targets.device)[index]
        else:
            indices = torch.as_tensor(index, device=self.targets.device)
        return Batch(
            {name: map_tensors(select, value) for name, value in self.inputs.items()},
            self.targets[index],
            {name: mask[index] for name, mask in self.present.items()},
            indices,
        )

    def to(self, device: torch.device | str) -> TensorSet:
        """Return the data set on a device."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device)

        return TensorSet(
            {name: map_tensors(move, value) for name, value in self.inputs.items()},
            move(self.targets),
            {name: move(mask) for name, mask in self.present.items()},
        )

    def subset(self, indices: Tensor) -> TensorSet:
        """Return the samples of the given numbers, in that order."""
        chosen = self[indices]
        return TensorSet(chosen.inputs, chosen.targets, chosen.present)
