"""Heads: from one modality's feature to its logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from equimodal.errors import InputError
from equimodal.nn._checks import known_modalities

if TYPE_CHECKING:
    from collections.abc import Mapping


def make_heads(
    feature_sizes: Mapping[str, int], num_outputs: int, given: Mapping[str, nn.Module], like: Mapping[str, nn.Module] | None = None
) -> dict[str, nn.Module]:
    """Return the head of every modality: the one that is given, else a linear layer.

    :param like: by modality, a module whose device and floating-point type the linear layer takes over.
    :raises InputError: for a head of an unknown modality, or one that is no module.
    """
    known_modalities(given, feature_sizes, "heads")
    heads: dict[str, nn.Module] = {}
    for modality, size in feature_sizes.items():
        if modality in given:
            if not isinstance(given[modality], nn.Module):
                raise InputError(f"the head of {modality!r} is a {type(given[modality]).__name__}: give a torch.nn.Module")
            heads[modality] = given[modality]
            continue
        reference = None if like is None else floating(like[modality])
        options = {} if reference is None else {"device": reference.device, "dtype": reference.dtype}
        heads[modality] = nn.Linear(size, num_outputs, **options)  # type: ignore[arg-type]
    return heads


def floating(module: nn.Module) -> Tensor | None:
    """Return the first parameter of floating-point numbers, if there is one."""
    return next((parameter for parameter in module.parameters() if parameter.is_floating_point()), None)


def classified(head: nn.Module, feature: Tensor, num_outputs: int, modality: str) -> Tensor:
    """Return the logits ``[batch, outputs]`` of a head, or ``[batch, outputs, *positions]``.

    :raises InputError: for a head that returns something else.
    """
    logits = head(feature)
    if not isinstance(logits, Tensor) or logits.shape[:2] != (len(feature), num_outputs):
        found = f"shape {list(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise InputError(f"the head of {modality!r} returned {found}: it must be [batch, outputs] = {[len(feature), num_outputs]}")
    return logits
