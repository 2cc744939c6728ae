"""One mini-batch, as the loop hands it to models and methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["Batch", "map_tensors"]


def map_tensors(function: Callable[[Any], Any], value: Any, leaves: type | tuple[type, ...] = Tensor) -> Any:
    """Apply a function to every tensor of one modality's input, keeping its structure.

    :param value: a tensor, or a (named) tuple, list or mapping of such, e.g. ``Sequences(values, lengths)`` or a tokenizer's output.
    :param leaves: what counts as a tensor, for structures that hold something in their place.
    :returns: the same structure with every tensor replaced.
    """
    if isinstance(value, leaves):
        return function(value)
    if isinstance(value, Mapping):
        return {name: map_tensors(function, item, leaves) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, item, leaves) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(function, item, leaves) for item in value)
    return value


@dataclass(frozen=True)
class Batch:
    """Inputs, targets, presence masks and sample numbers of one mini-batch.

    :param inputs: one entry per modality, its first dimension the batch. A modality without an entry is absent for the whole batch.
    :param targets: as the task has them: ``[batch]`` class numbers (single-label, ordinal), ``[batch, outputs]`` zeros and ones
        (multilabel) or numbers (regression), ``[batch, *positions]`` class numbers (positions).
    :param present: for modalities that some samples lack, a boolean mask ``[batch]``; a modality without a mask is present in every sample.
    :param indices: ``[batch]`` numbers of the samples within their split, where the source of the batch knows them.
    """

    inputs: Mapping[str, Any]
    targets: Tensor
    present: Mapping[str, Tensor] = field(default_factory=dict)
    indices: Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def has(self, modality: str) -> Tensor:
        """Return which samples have a modality, a boolean mask ``[batch]`` beside the targets."""
        device = self.targets.device
        if modality not in self.inputs:
            return torch.zeros(len(self), dtype=torch.bool, device=device)
        mask = self.present.get(modality)
        return torch.ones(len(self), dtype=torch.bool, device=device) if mask is None else mask.to(device)

    def select(self, rows: Tensor) -> Batch:
        """Return some samples.

        :param rows: their places in the batch.
        """
        return self._mapped(lambda tensor: tensor.index_select(0, rows.to(tensor.device)))

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; copies from pinned memory do not block."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """Return the batch in page-locked memory, from which a GPU copies while it computes; what is on a device stays there."""
        return self._mapped(lambda tensor: tensor.pin_memory() if tensor.device.type == "cpu" else tensor)

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            {name: map_tensors(function, value) for name, value in self.inputs.items()},
            function(self.targets),
            {name: function(mask) for name, mask in self.present.items()},
            None if self.indices is None else function(self.indices),
        )
