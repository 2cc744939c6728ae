"""Vanilla: the joint loss alone, with heads as detached probes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from equimodal.errors import InputError
from equimodal.groups import ParameterRegistry, modality_modules
from equimodal.methods.base import Method
from equimodal.nn.prediction import Routes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from equimodal.data.batch import Batch

__all__ = ["Vanilla"]


class Vanilla(Method):
    r"""Train the multimodal prediction alone; the unimodal heads read the features without touching them.

    .. math:: L = L_{AB}(\hat y_{AB}, y) + \sum_m L_m\bigl(h_m(\operatorname{sg}(z_m)), y\bigr)

    where sg stops the gradient, so that encoders and fusion learn from :math:`L_{AB}` alone and each head is a linear probe that shows
    what its encoder holds. Gradient clipping, where used, leaves the probes out of the norm.

    .. note::
        The paper's tables give unimodal scores for "Vanilla" without saying how its heads are trained. Its video head of 26.6 % on CREMA-D
        suggests that their gradients do not reach the encoders; hence ``reconstructed``. :class:`equimodal.methods.joint.Joint` is the
        other reading.
    """

    name: ClassVar[str] = "vanilla"
    title: ClassVar[str] = "Vanilla"
    paper: ClassVar[str] = "Guerra-Manzanares & Shamout, MILES: Modality-Informed Learning Rate Scheduler, IJCNN 2025"
    fidelity: ClassVar[Literal["exact", "reconstructed"]] = "reconstructed"

    def transform(self, features: dict[str, Tensor], batch: Batch) -> Routes:
        """Let the heads see detached features."""
        return Routes(features, {name: feature.detach() for name, feature in features.items()})

    def clipped(self, model: nn.Module) -> Iterable[nn.Parameter]:
        """Leave the probes out."""
        registry = ParameterRegistry(modality_modules(model))
        for modality in registry.modalities:
            if not registry.of(modality, "head"):
                raise InputError(
                    f"modality_modules() of {type(model).__name__} does not say which module is the head of {modality!r}: give "
                    "{'encoder': ..., 'head': ...}, because clipping leaves vanilla's probes out"
                )
        probes = {parameter for modality in registry.modalities for parameter in registry.of(modality, "head")}
        return [parameter for parameter in model.parameters() if parameter not in probes]
