"""From the small types in which samples are stored to what encoders take, batch by batch, on the batch's device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.data.batch import map_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AsLong", "Scaled", "Standardise", "mean_and_std"]

_ALIKE = 1e-13
"""A variance below this share of the mean square is what rounding leaves of values that are all alike."""


class Scaled:
    """Multiply by a number, as 32-bit floats: bytes from 0 to 255 become numbers from 0 to 1 with ``1 / 255``.

    >>> Scaled(1 / 255)(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([0., 1.])

    :param factor: the number.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, value: Any) -> Any:
        """Return the modality's value, scaled; numbers such as lengths stay."""
        return map_tensors(lambda tensor: tensor.float() * self.factor if _is_data(tensor) else tensor, value)

    def __repr__(self) -> str:
        return f"Scaled({self.factor!r})"


class Standardise:
    """Subtract a mean and divide by a standard deviation, as 32-bit floats; of a structure, its first tensor alone.

    >>> Standardise(torch.tensor([[[1.0]], [[2.0]]]), torch.tensor([[[2.0]], [[4.0]]]))(torch.zeros(5, 2, 3, 3))[0, :, 0, 0]
    tensor([-0.5000, -0.5000])

    :param mean: broadcast against one sample: ``[channels, 1, 1]`` for pictures, ``[features]`` for vectors and sequences.
    :param std: likewise; where it is 0, and the values all alike, they are only shifted.
    """

    def __init__(self, mean: Tensor | Sequence[float] | float, std: Tensor | Sequence[float] | float) -> None:
        self.mean = torch.as_tensor(mean, dtype=torch.float32)
        spread = torch.as_tensor(std, dtype=torch.float32)
        self.std = torch.where(spread > 0, spread, torch.ones_like(spread))
        # One copy per device: making a tensor anew for every batch would wait for the device.
        self._held: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __call__(self, value: Any) -> Any:
        """Return the modality's value, standardised."""
        if not isinstance(value, Tensor):  # Sequences(values, lengths)
            first, *others = value
            return type(value)(self(first), *others) if hasattr(value, "_fields") else type(value)([self(first), *others])
        mean, std = self._on(value.device)
        return (value.float() - mean) / std

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device not in self._held:
            self._held[device] = self.mean.to(device), self.std.to(device)
        return self._held[device]

    def __getstate__(self) -> dict[str, Any]:
        return {"mean": self.mean, "std": self.std, "_held": {}}

    def __repr__(self) -> str:
        return f"Standardise({self.mean.tolist()!r}, {self.std.tolist()!r})"


class AsLong:
    """Widen stored whole numbers, such as tokens, to the 64 bits that embeddings take.

    >>> AsLong()({"input_ids": torch.tensor([7], dtype=torch.int32)})
    {'input_ids': tensor([7])}
    """

    def __call__(self, value: Any) -> Any:
        """Return the modality's value in 64 bits."""
        return map_tensors(lambda tensor: tensor.long(), value)

    def __repr__(self) -> str:
        return "AsLong()"


def mean_and_std(count: Tensor | int, total: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation from sums in 64 bits, as 32-bit floats; exactly 0 where the values are all alike.

    :param count: how many values; 0 counts as 1.
    :param total: their sum.
    :param squares: the sum of their squares.
    """
    held = torch.as_tensor(count, dtype=torch.float64).clamp(min=1)
    mean, power = total / held, squares / held
    variance = power - mean.square()
    return mean.float(), torch.where(variance > _ALIKE * power, variance, 0.0).sqrt().float()


def _is_data(tensor: Tensor) -> bool:
    """Tell data from lengths and numbers: what is scaled is bytes and floats."""
    return tensor.dtype == torch.uint8 or tensor.is_floating_point()
