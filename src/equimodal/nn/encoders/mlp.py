"""A multi-layer perceptron for feature vectors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor, nn

from equimodal.errors import InputError
from equimodal.nn._checks import positive_integer, probability

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MLP"]


class MLP(nn.Module):
    """Linear layers, each followed by ReLU, the last one too, on an input that is flattened first: a vector or a picture.

    >>> import torch
    >>> MLP(64, hidden=[32], out_features=16)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 16])

    :param in_features: how many numbers one sample holds.
    :param hidden: the sizes of the hidden layers; an empty list leaves one layer.
    :param out_features: the size of the feature, which is behind a ReLU too.
    :param dropout: the share of each hidden layer's values to drop in training, at least 0 and below 1; the feature itself is left whole.
    :raises InputError: for a size that is not a positive integer, or a dropout out of range.
    """

    name = "mlp"

    def __init__(self, in_features: int, hidden: Sequence[int] = (128,), out_features: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        if not isinstance(hidden, (list, tuple)):
            raise InputError(f"MLP hidden is {hidden!r}: give a list of sizes, such as [128]")
        self.in_features = positive_integer(in_features, "MLP in_features")
        self.hidden = tuple(positive_integer(size, "a size in MLP hidden") for size in hidden)
        self.out_features = positive_integer(out_features, "MLP out_features")
        self.dropout = probability(dropout, "MLP dropout")
        layers: list[nn.Module] = [nn.Flatten()]
        size = self.in_features
        for width in self.hidden:
            layers += [nn.Linear(size, width), nn.ReLU()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            size = width
        self.layers = nn.Sequential(*layers, nn.Linear(size, self.out_features), nn.ReLU())

    def forward(self, value: Tensor) -> Tensor:
        """Return ``[batch, out_features]``.

        :param value: ``[batch, ...]``, ``in_features`` numbers per sample.
        :raises InputError: for another number of values per sample.
        """
        if value.dim() < 2 or math.prod(value.shape[1:]) != self.in_features:
            raise InputError(
                f"MLP expects {self.in_features} numbers per sample and was given shape {list(value.shape)}: set in_features to suit"
            )
        feature: Tensor = self.layers(value)
        return feature
