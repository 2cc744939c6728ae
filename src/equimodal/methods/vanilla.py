"""Vanilla: the joint loss alone, with heads as detached probes."""

from __future__ import annotations

from typing import ClassVar, Literal

from equimodal.methods._heads import Heads, HeadsMethod

__all__ = ["Vanilla"]


class Vanilla(HeadsMethod):
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

    heads: Heads = "probes"
