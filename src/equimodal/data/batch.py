"""One mini-batch, as the loop hands it to models and methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["Batch", "map_tensors"]


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply a function to every tensor of one modality's input, keeping its structure.

    :param value: a tensor, or a (named) tuple, list or mapping of such, e.g. ``Sequences(values, lengths)`` or a tokenizer's output.
    :returns: the same structure with every tensor replaced.
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {name: map_tensors(function, item) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, item) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(function, item) for item in value)
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
