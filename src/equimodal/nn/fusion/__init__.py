"""Fusions: from the features of all modalities to the multimodal logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.errors import InputError, nearest
from equimodal.nn.fusion.base import Fusion, sliceable
from equimodal.nn.fusion.interacting import Attention, FiLM, Gated
from equimodal.nn.fusion.linear import Additive, Concat, Late, Sum

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FUSIONS",
    "Additive",
    "Attention",
    "Concat",
    "FiLM",
    "Fusion",
    "Gated",
    "Late",
    "Sum",
    "fusion_class",
    "make_fusion",
    "sliceable",
]

FUSIONS: dict[str, type[Fusion]] = {
    "concat": Concat,
    "sum": Sum,
    "additive": Additive,
    "late": Late,
    "gated": Gated,
    "film": FiLM,
    "attention": Attention,
}
"""The fusions that have a name."""


def fusion_class(name: str) -> type[Fusion]:
    """Return the fusion of that name.

    :raises InputError: for an unknown name.
    """
    if name not in FUSIONS:
        raise InputError(f"unknown fusion {name!r}: {nearest(name, FUSIONS)}, or give a module")
    return FUSIONS[name]


def make_fusion(name: str, feature_sizes: Mapping[str, int], num_outputs: int) -> Fusion:
    """Build a fusion by name.

    >>> make_fusion("concat", {"audio": 3, "image": 2}, 10).linear
    Linear(in_features=5, out_features=10, bias=True)

    :param name: ``"concat"``, ``"sum"``, ``"additive"``, ``"late"``, ``"gated"``, ``"film"`` or ``"attention"``.
    :param feature_sizes: the size of every modality's feature.
    :param num_outputs: how many logits (regression: values) to return.
    :raises InputError: for an unknown name, or what the fusion itself refuses.
    """
    return fusion_class(name)(feature_sizes, num_outputs)
