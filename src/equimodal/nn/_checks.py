"""Checks that several modules of this package share. Each raises a one-line :class:`~equimodal.errors.InputError`."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from equimodal.data.batch import map_tensors
from equimodal.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable


def positive_integer(value: Any, what: str) -> int:
    """Return the value as an ``int`` of at least 1."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise InputError(f"{what} is {value!r}: give a positive integer")
    return number


def probability(value: Any, what: str) -> float:
    """Return the value as a ``float`` of at least 0 and below 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise InputError(f"{what} is {value!r}: give a number of at least 0 and below 1")
    return float(value)


def modality_names(names: Iterable[Any]) -> tuple[str, ...]:
    """Return the names as a tuple of at least two, each fit to name a modality and a submodule."""
    names = tuple(names)
    reserved = nn.ModuleDict()
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise InputError(f"{name!r} cannot name a modality: use letters, digits and underscores, a letter first, such as 'audio'")
        if name == "multimodal":
            raise InputError("'multimodal' cannot name a modality, as it names what belongs to all of them: choose another name")
        if hasattr(reserved, name):
            raise InputError(
                f"{name!r} cannot name a modality, as it is an attribute of torch.nn.ModuleDict: choose another, such as '{name}_'"
            )
    if len(names) < 2:
        raise InputError(f"{len(names)} modalities given ({', '.join(names) or 'none'}): give two or more")
    return names


def by_modality(inputs: Any, modalities: Iterable[str]) -> None:
    """Refuse inputs that are no mapping, without showing what they hold."""
    if not isinstance(inputs, Mapping):
        found = f"a tensor of shape {list(inputs.shape)}" if isinstance(inputs, Tensor) else f"a {type(inputs).__name__}"
        wanted = ", ".join(f"{name!r}: tensor" for name in modalities)
        raise InputError(f"the inputs are {found}: give them by modality, {{{wanted}}}")


def known_modalities(names: Iterable[str], modalities: Iterable[str], what: str) -> None:
    """Refuse names that are not modalities.

    :param what: what the names belong to, such as ``"inputs"``.
    """
    modalities = tuple(modalities)
    for name in names:
        if name not in modalities:
            raise InputError(f"unknown modality {name!r} in {what}: {nearest(str(name), modalities)}")


def takes(model: nn.Module, argument: str) -> bool:
    """Tell whether a model's ``forward`` has an argument of that name, or takes any."""
    parameters = inspect.signature(model.forward).parameters
    return argument in parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def samples(inputs: Mapping[str, Any]) -> int:
    """Return the number of samples that every tensor of every modality's input holds."""
    found: dict[int, str] = {}
    for modality, value in inputs.items():
        lengths: set[int] = set()
        map_tensors(lambda tensor, lengths=lengths: _note_length(tensor, lengths), value)  # type: ignore[misc]
        if not lengths:
            raise InputError(f"the input of {modality!r} holds no tensor but a {type(value).__name__}: leave out a modality that is absent")
        if -1 in lengths:
            raise InputError(f"the input of {modality!r} holds a tensor without dimensions: the first dimension must be the batch")
        if len(lengths) > 1:
            raise InputError(f"the tensors of {modality!r} hold {' and '.join(map(str, sorted(lengths)))} samples: they must be equal")
        found.setdefault(lengths.pop(), modality)
    if len(found) > 1:
        described = " and ".join(f"{number} ({modality!r})" for number, modality in found.items())
        raise InputError(f"the inputs hold different numbers of samples, {described}: they must be equal")
    return next(iter(found))


def _note_length(tensor: Tensor, lengths: set[int]) -> Tensor:
    lengths.add(tensor.shape[0] if tensor.dim() else -1)
    return tensor
