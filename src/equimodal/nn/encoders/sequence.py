"""A small encoder for streams of variable length, such as sensor readings or features of words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from equimodal.errors import InputError
from equimodal.nn._checks import positive_integer

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SequenceEncoder", "Sequences"]


class Sequences(NamedTuple):
    """Sequences of different lengths, padded to one.

    :param values: ``[batch, time, features]``; what stands beyond a sequence's end does not matter.
    :param lengths: ``[batch]``, integers.
    """

    values: Tensor
    lengths: Tensor

    @classmethod
    def pad(cls, sequences: Sequence[Tensor]) -> Sequences:
        """Pad sequences ``[time, features]`` with zeros to the longest.

        >>> Sequences.pad([torch.ones(3, 2), torch.ones(5, 2)]).values.shape
        torch.Size([2, 5, 2])
        """
        values = nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)
        return cls(values, torch.tensor([len(sequence) for sequence in sequences], device=values.device))


class SequenceEncoder(nn.Module):
    """Two convolutions along time, the mean and the maximum over time, and a linear layer; ReLU after every layer.

    Steps beyond a sequence's end are set to zero before every convolution and left out of the mean and the maximum, so the amount of
    padding and what it holds have no influence. Nothing is read back from the device.

    >>> encoder = SequenceEncoder(6)
    >>> encoder(Sequences.pad([torch.zeros(120, 6), torch.zeros(180, 6)])).shape
    torch.Size([2, 64])

    :param in_features: how many numbers one time step holds.
    :param channels: the width of the convolutions.
    :param out_features: the size of the feature.
    :param kernel_size: how many time steps a convolution spans; odd, so that it is centred.
    :raises InputError: for a size that is not a positive integer, or an even kernel.
    """

    name = "sequence"

    def __init__(self, in_features: int, channels: int = 64, out_features: int = 64, kernel_size: int = 5) -> None:
        super().__init__()
        self.in_features = positive_integer(in_features, "SequenceEncoder in_features")
        self.channels = positive_integer(channels, "SequenceEncoder channels")
        self.out_features = positive_integer(out_features, "SequenceEncoder out_features")
        self.kernel_size = positive_integer(kernel_size, "SequenceEncoder kernel_size")
        if self.kernel_size % 2 == 0:
            raise InputError(f"SequenceEncoder kernel_size is {kernel_size}: give an odd number, such as {self.kernel_size + 1}")
        padding = self.kernel_size // 2
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, self.channels, self.kernel_size, padding=padding) for size in (self.in_features, self.channels)
        )
        self.linear = nn.Linear(2 * self.channels, self.out_features)

    def forward(self, value: Tensor | Sequences | tuple[Tensor, Tensor]) -> Tensor:
        """Return ``[batch, out_features]``.

        :param value: :class:`Sequences`, or ``[batch, time, in_features]`` where every sequence has full length. A length beyond
            the padded size counts as the full size; a sequence of length 0 counts as zeros.
        :raises InputError: for values or lengths of another shape, or lengths that are not integers.
        """
        values, lengths = (value, None) if isinstance(value, Tensor) else value
        if values.dim() != 3 or values.shape[2] != self.in_features or values.shape[1] == 0:
            raise InputError(f"SequenceEncoder expects [batch, time, {self.in_features}] and was given shape {list(values.shape)}")
        valid = self._valid(values, lengths)
        hidden = torch.where(valid, values.transpose(1, 2), 0)
        for convolution in self.convolutions:
            hidden = torch.where(valid, convolution(hidden).relu(), 0)
        mean = hidden.sum(dim=2) / valid.sum(dim=2).clamp(min=1)
        # Behind a ReLU nothing is below the zeros of the padding, so they cannot win the maximum.
        feature: Tensor = self.linear(torch.cat([mean, hidden.amax(dim=2)], dim=1))
        return feature.relu()

    @staticmethod
    def _valid(values: Tensor, lengths: Tensor | None) -> Tensor:
        batch, time = values.shape[:2]
        if lengths is None:
            return torch.ones(batch, 1, time, dtype=torch.bool, device=values.device)
        if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
            raise InputError(
                f"lengths have shape {list(lengths.shape)} and type {lengths.dtype}: give integers of shape [batch] = [{batch}]"
            )
        return (torch.arange(time, device=values.device) < lengths.unsqueeze(1)).unsqueeze(1)
