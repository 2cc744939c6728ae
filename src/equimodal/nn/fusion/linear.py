"""Fusions whose logits are a sum of one part per modality."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from equimodal.nn.fusion.base import Fusion

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Additive", "Concat", "Late", "Sum"]


class Concat(Fusion):
    """One linear layer on the concatenated features: ``g([z_A, z_B])`` (Eq. 1 of MILES).

    >>> fusion = Concat({"audio": 3, "image": 2}, num_outputs=10)
    >>> fusion({"audio": torch.zeros(4, 3), "image": torch.zeros(4, 2)}).shape
    torch.Size([4, 10])
    >>> fusion.linear.weight[:, fusion.columns["image"]].shape  # the weights that the image feature meets
    torch.Size([10, 2])
    """

    def __init__(self, feature_sizes: Mapping[str, int], num_outputs: int) -> None:
        super().__init__(feature_sizes, num_outputs)
        self.columns: dict[str, slice] = {}
        start = 0
        for name, size in self.feature_sizes.items():
            self.columns[name] = slice(start, start + size)
            start += size
        self.linear = nn.Linear(start, self.num_outputs)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return ``[batch, outputs]`` from ``[batch, features]`` of every modality."""
        logits: Tensor = self.linear(torch.cat([features[name] for name in self.modalities], dim=1))
        return logits

    def contributions(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``W_m z_m + b / M`` of each modality, with ``W_m`` the columns of the weight that its feature meets (OGM)."""
        # Few calls, because OGM makes them at every step.
        linear, share = self.linear, 1 / len(self.modalities)
        blocks = linear.weight.t().split_with_sizes(list(self.feature_sizes.values()))
        return {
            name: torch.addmm(linear.bias, features[name], block, beta=share) for name, block in zip(self.modalities, blocks, strict=True)
        }


class Sum(Fusion):
    """One linear layer on the sum of the features: ``g(z_A + z_B)``, the summation of MILES.

    >>> fusion = Sum({"audio": 3, "image": 3}, num_outputs=10)
    >>> fusion({"audio": torch.zeros(4, 3), "image": torch.zeros(4, 3)}).shape
    torch.Size([4, 10])

    :raises InputError: also when the sizes differ. :class:`~equimodal.nn.JointFusion` sees to equal sizes by itself.
    """

    equal_sizes = True

    def __init__(self, feature_sizes: Mapping[str, int], num_outputs: int) -> None:
        super().__init__(feature_sizes, num_outputs)
        self.linear = nn.Linear(self.feature_sizes[self.modalities[0]], self.num_outputs)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return ``[batch, outputs]`` from ``[batch, features]`` of every modality."""
        logits: Tensor = self.linear(reduce(torch.add, (features[name] for name in self.modalities)))
        return logits

    def contributions(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``W z_m + b / M`` of each modality."""
        weight, share = self.linear.weight, self.linear.bias / len(self.modalities)
        return {name: functional.linear(features[name], weight, share) for name in self.modalities}


class Additive(Fusion):
    """The sum of one linear layer per modality: ``Σ_m (W_m z_m + b_m)``, the summation of OGM.

    >>> fusion = Additive({"audio": 3, "image": 2}, num_outputs=10)
    >>> fusion({"audio": torch.zeros(4, 3), "image": torch.zeros(4, 2)}).shape
    torch.Size([4, 10])
    """

    def __init__(self, feature_sizes: Mapping[str, int], num_outputs: int) -> None:
        super().__init__(feature_sizes, num_outputs)
        self.linears = nn.ModuleDict({name: nn.Linear(size, self.num_outputs) for name, size in self.feature_sizes.items()})

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return ``[batch, outputs]`` from ``[batch, features]`` of every modality."""
        return reduce(torch.add, self.contributions(features).values())

    def contributions(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``W_m z_m + b_m`` of each modality (OGM's training; its evaluation halves the biases)."""
        return {name: self.linears[name](features[name]) for name in self.modalities}


class Late(Fusion):
    """The sum of the unimodal heads' own logits: ``Σ_m h_m(z_m)``, additive late fusion (Yao & Mihalcea, Findings of ACL 2022).

    It has no parameters: the heads are the model's, each belongs to its modality, and the multimodal loss trains them as well. An absent
    modality counts with its head's answer to a zero feature, the bias.

    >>> fusion = Late({"audio": 3, "image": 2}, num_outputs=10)
    >>> fusion({"audio": torch.ones(4, 10), "image": torch.ones(4, 10)})[0, 0]
    tensor(2.)

    :param feature_sizes: the modalities, and sizes as for any fusion, which play no part here.
    """

    of_heads = True

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return ``[batch, outputs]`` from the logits ``[batch, outputs]`` of the head of every modality."""
        return reduce(torch.add, (features[name] for name in self.modalities))

    def contributions(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits of each modality's head as they are given."""
        return {name: features[name] for name in self.modalities}
