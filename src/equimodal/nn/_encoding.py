"""How one modality's input becomes its feature: sizes, absence, and the check of what an encoder returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from equimodal.data.batch import map_tensors
from equimodal.errors import InputError
from equimodal.nn._heads import floating

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Projected(nn.Module):
    """An encoder followed by a linear projection of its feature to another size; both belong to the modality.

    :param modality: its name, for error messages.
    :param encoder: any encoder with a feature of known size.
    :param in_features: the size of the encoder's feature.
    :param out_features: the size to project to.
    """

    def __init__(self, modality: str, encoder: nn.Module, in_features: int, out_features: int) -> None:
        super().__init__()
        self.modality = modality
        self.encoder = encoder
        self.projection = nn.Linear(in_features, out_features)
        self.out_features = out_features

    def forward(self, value: Any) -> Tensor:
        """Return ``[batch, out_features]``."""
        feature = as_feature(self.encoder(value), None, self.projection.in_features, self.modality)
        projected: Tensor = self.projection(feature)
        return projected


def read_feature_size(encoder: nn.Module) -> int | None:
    """Return the feature size that an encoder states, or nothing.

    Read in this order: ``out_features`` (torch, this package), ``num_features`` (timm), ``config.hidden_size`` and the last of
    ``config.hidden_sizes`` (transformers).
    """
    config = getattr(encoder, "config", None)
    hidden_sizes = getattr(config, "hidden_sizes", None) or [None]
    candidates = (
        getattr(encoder, "out_features", None),
        getattr(encoder, "num_features", None),
        getattr(config, "hidden_size", None),
        hidden_sizes[-1],
    )
    return next((size for size in candidates if isinstance(size, int) and not isinstance(size, bool) and size > 0), None)


def as_feature(output: Any, batch: int | None, size: int, modality: str) -> Tensor:
    """Return what an encoder gave as ``[batch, size]``, or say what is wrong with it; without a batch, any number of rows will do."""
    if not isinstance(output, Tensor):
        raise InputError(
            f"the encoder of {modality!r} returned a {type(output).__name__}: it must return a tensor [batch, features]"
            " (equimodal.nn.TransformersBackbone does so for models of transformers)"
        )
    feature: Tensor = output.flatten(1) if output.dim() == 4 and output.shape[2:] == (1, 1) else output
    if feature.dim() != 2 or feature.shape[1] != size or batch not in (None, feature.shape[0]):
        expected = f"[{'batch' if batch is None else batch}, {size}]"
        raise InputError(f"the encoder of {modality!r} returned shape {list(feature.shape)}: it must be [batch, features] = {expected}")
    return feature


def check_masks(present: Mapping[str, Tensor], modalities: Iterable[str], batch: int) -> None:
    """Refuse a mask that is not boolean or not one value per sample."""
    for modality in modalities:
        mask = present.get(modality)
        if mask is None:
            continue
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            raise InputError(f"the presence mask of {modality!r} has type {kind}: give a tensor of torch.bool")
        if mask.shape != (batch,):
            raise InputError(f"the presence mask of {modality!r} has shape {list(mask.shape)}: it must be [batch] = [{batch}]")


def zero_feature(head: nn.Module, size: int, batch: int) -> Tensor:
    """Return the feature ``[batch, features]`` of an absent modality, of the type and on the device of its head."""
    like = head.weight if isinstance(head, nn.Linear) else floating(head)
    return torch.zeros(batch, size) if like is None else like.new_zeros(batch, size)


def encode_present(encoder: nn.Module, head: nn.Module, size: int, value: Any, mask: Tensor | None, batch: int, modality: str) -> Tensor:
    """Encode the samples that have the modality; the others get a zero feature and never reach the encoder.

    :param head: the modality's head, which tells the type and device of a zero feature.
    :param size: the size of the feature.
    :param mask: boolean ``[batch]``, or nothing where every sample has the modality. Reading it synchronises with the device that holds it.
    """
    rows = None if mask is None else mask.nonzero().squeeze(1)
    if rows is None or len(rows) == batch:
        return as_feature(encoder(value), batch, size, modality)
    if len(rows) == 0:
        return zero_feature(head, size, batch)
    some = encoder(map_tensors(lambda tensor: tensor.index_select(0, rows.to(tensor.device)), value))
    feature = as_feature(some, len(rows), size, modality)
    everyone: Tensor = feature.new_zeros(batch, size).index_copy(0, rows.to(feature.device), feature)
    return everyone
