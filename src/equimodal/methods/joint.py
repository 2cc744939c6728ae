"""Joint: all heads trained together (Eq. 3), no balancing."""

from __future__ import annotations

from typing import ClassVar, Literal

from equimodal.methods._heads import HeadsMethod

__all__ = ["Joint"]


class Joint(HeadsMethod):
    r"""Train the multimodal prediction and every unimodal head together, at one learning rate (Eq. 3).

    .. math:: L = L_{AB}(\hat y_{AB}, y) + \sum_m L_m(\hat y_m, y)

    All weights are 1, and the gradient of :math:`L_m` flows into encoder *m*. This is MILES without its scheduler (μ = 1): the difference
    between the two is the scheduler's, the difference to :class:`equimodal.methods.vanilla.Vanilla` that of the unimodal losses.
    """

    name: ClassVar[str] = "joint"
    title: ClassVar[str] = "Joint"
    paper: ClassVar[str] = "Guerra-Manzanares & Shamout, MILES: Modality-Informed Learning Rate Scheduler, IJCNN 2025"
    fidelity: ClassVar[Literal["exact", "reconstructed"]] = "exact"
