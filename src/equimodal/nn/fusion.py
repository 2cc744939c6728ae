"""Fusions: from the features of all modalities to the multimodal logits."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from equimodal.errors import InputError, nearest
from equimodal.nn._checks import modality_names, positive_integer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FUSIONS", "Additive", "Concat", "Fusion", "Late", "Sum", "make_fusion"]


class Fusion(nn.Module):
    """A fusion of features whose sizes are known. Any other module that is called with the features by modality does as well.

    A fusion whose logits are a sum of one term per modality says so by :meth:`contributions`; a module of one's own may have that method
    too.

    :param feature_sizes: the size of every modality's feature, in the order of the modalities.
    :param num_outputs: how many logits (regression: values) to return.
    :raises InputError: for fewer than two modalities, or a size that is not a positive integer.
    """

    equal_sizes: ClassVar[bool] = False
    """Whether all features must have one size. A model then appends a projection to the encoders whose size differs."""

    of_heads: ClassVar[bool] = False
    """Whether it fuses the logits of the unimodal heads. A model then gives it those in place of the features."""

    def __init__(self, feature_sizes: Mapping[str, int], num_outputs: int) -> None:
        super().__init__()
        self.modalities = modality_names(feature_sizes)
        self.feature_sizes = {name: positive_integer(size, f"the feature size of {name!r}") for name, size in feature_sizes.items()}
        self.num_outputs = positive_integer(num_outputs, "num_outputs")
        if self.equal_sizes and len(set(self.feature_sizes.values())) > 1:
            sizes = ", ".join(f"{name}={size}" for name, size in self.feature_sizes.items())
            raise InputError(f"{type(self).__name__} needs features of one size and was given {sizes}: project them to one size first")

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return ``[batch, outputs]`` from ``[batch, features]`` of every modality."""
        raise NotImplementedError

    def contributions(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each modality's part ``[batch, outputs]`` of what ``forward`` returns; the parts add up to it, but for rounding.

        Only fusions whose logits are such a sum have parts.
        """
        raise NotImplementedError


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


FUSIONS: dict[str, type[Fusion]] = {"concat": Concat, "sum": Sum, "additive": Additive, "late": Late}
"""The fusions that have a name."""


def fusion_class(name: str) -> type[Fusion]:
    """Return the fusion of that name.

    :raises InputError: for an unknown name.
    """
    if name not in FUSIONS:
        raise InputError(f"unknown fusion {name!r}: {nearest(name, FUSIONS)}, or give a module")
    return FUSIONS[name]


def sliceable(fusion: nn.Module) -> bool:
    """Tell whether a fusion says how much of its logits comes from each modality.

    A subclass that replaces ``forward`` alone does not: the inherited parts are not those of its own logits.
    """
    for kind in type(fusion).__mro__:
        if "contributions" in vars(kind):
            return kind is not Fusion
        if "forward" in vars(kind):
            return False
    return False


def make_fusion(name: str, feature_sizes: Mapping[str, int], num_outputs: int) -> Fusion:
    """Build a fusion by name.

    >>> make_fusion("concat", {"audio": 3, "image": 2}, 10).linear
    Linear(in_features=5, out_features=10, bias=True)

    :param name: ``"concat"``, ``"sum"``, ``"additive"`` or ``"late"``.
    :param feature_sizes: the size of every modality's feature.
    :param num_outputs: how many logits (regression: values) to return.
    :raises InputError: for an unknown name, or what the fusion itself refuses.
    """
    return fusion_class(name)(feature_sizes, num_outputs)
