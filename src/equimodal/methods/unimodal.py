"""Unimodal: one modality alone (Table I)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from equimodal.errors import InputError, nearest
from equimodal.groups import modality_modules
from equimodal.methods.base import Criterion, Method
from equimodal.tasks import single_label_loss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

__all__ = ["Unimodal"]


class Unimodal(Method):
    """Train one modality's encoder and head alone, as the reference of Table I; the other encoders are never run.

    The multimodal score of such a run is that of its only head.

    :param modality: the modality to train. There is no default: which one is the question asked.
    """

    name: ClassVar[str] = "unimodal"
    title: ClassVar[str] = "Unimodal"
    paper: ClassVar[str] = "Guerra-Manzanares & Shamout, MILES: Modality-Informed Learning Rate Scheduler, IJCNN 2025 (Table I)"
    fidelity: ClassVar[Literal["exact", "reconstructed"]] = "exact"

    def __init__(self, modality: str) -> None:
        self.modality = modality

    @classmethod
    def example(cls, modalities: Sequence[str]) -> Self:
        """Return the method for the first modality."""
        return cls(modalities[0])

    def build(self, model: nn.Module, criterion: Criterion = single_label_loss) -> nn.Module:
        """Return the part of the model that processes this modality.

        :raises InputError: for an unknown modality, or a model that cannot be taken apart.
        """
        self.criterion = criterion
        only = getattr(model, "only", None)
        if only is None:
            raise InputError(f"{type(model).__name__} has no method only(modality): unimodal training needs an equimodal.nn.JointFusion")
        known: tuple[str, ...] = tuple(getattr(model, "modalities", None) or modality_modules(model))
        if self.modality not in known:
            raise InputError(f"unknown modality {self.modality!r}: {nearest(self.modality, known)}")
        part: nn.Module = only(self.modality)
        return part

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the one head's loss."""
        return losses[self.modality]
