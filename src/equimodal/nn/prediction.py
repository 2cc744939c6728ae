"""What a multimodal model returns, and what may stand between its encoders and its heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from torch import Tensor

__all__ = ["Prediction", "Routes", "Transform"]


# Not frozen: Lightning and Fabric rebuild what a model returns field by field, and refuse frozen classes.
@dataclass(eq=False)
class Prediction:
    """The logits of the fusion and of every modality's own head, from one forward pass.

    A model of one's own joins by returning this; only ``multimodal`` and ``unimodal`` are needed then.

    >>> import torch
    >>> prediction = Prediction(torch.zeros(8, 10), {"audio": torch.zeros(8, 10), "image": torch.zeros(8, 10)})
    >>> list(prediction.unimodal)
    ['audio', 'image']

    :param multimodal: ``[batch, outputs]``, the logits (regression: the values) of the fusion.
    :param unimodal: by modality ``[batch, outputs]``, the logits of its own head; no entry for a modality that the whole batch lacks.
        Rows of samples that lack the modality hold the head's answer to a zero feature: mask them with ``present``.
    :param features: by modality ``[batch, features]``, what ``encode`` returned, zero where absent.
    :param present: for modalities in ``unimodal`` that some samples may lack, a boolean mask ``[batch]``, as given to the model.
    """

    multimodal: Tensor
    unimodal: dict[str, Tensor]
    features: dict[str, Tensor] = field(default_factory=dict)
    present: dict[str, Tensor] = field(default_factory=dict)


class Routes(NamedTuple):
    """The features that the fusion sees, and those that the unimodal heads see.

    >>> import torch
    >>> def probes(features):  # the heads watch, and leave the encoders alone
    ...     return Routes(features, {modality: feature.detach() for modality, feature in features.items()})
    >>> routes = probes({"audio": torch.ones(2, 3, requires_grad=True)})
    >>> routes.fusion["audio"].requires_grad, routes.heads["audio"].requires_grad
    (True, False)

    :param fusion: by modality ``[batch, features]``; every modality must be there.
    :param heads: by modality ``[batch, features]``; a modality left out gets no unimodal logits.
    """

    fusion: Mapping[str, Tensor]
    heads: Mapping[str, Tensor]


Transform: TypeAlias = Callable[[dict[str, Tensor]], Routes]
"""Stands between ``encode`` and ``fuse``: it is given the features of every modality and says who sees what."""
