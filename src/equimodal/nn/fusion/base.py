"""What all fusions share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from equimodal.errors import InputError
from equimodal.nn._checks import modality_names, positive_integer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Fusion", "sliceable"]


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
