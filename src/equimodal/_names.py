"""Dotted names of a model's parts, as they are before any wrapper: what patterns are matched against."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from equimodal.errors import InputError, nearest

__all__ = ["matching", "named_parts", "plain_modules", "resolved", "the_model"]

# Names that only wrappers use, wherever they stand: torch.compile, FullyShardedDataParallel, activation checkpointing, Fabric.
_ALWAYS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "_original_module")

# Names that models use as well: they count as a wrapper's in these classes and in what derives from them. The classes are known by name,
# so that no optional package is imported.
_WITHIN: dict[str, tuple[str, ...]] = {
    "module": ("DistributedDataParallel", "DataParallel", "AveragedModel", "DeepSpeedEngine"),
    "base_model": ("PeftModel", "PeftMixedModel"),
    "model": ("BaseTuner",),
    "base_layer": ("BaseTunerLayer",),
    "original_module": ("AuxiliaryTrainingWrapper", "ModulesToSaveWrapper"),
    "modules_to_save": ("AuxiliaryTrainingWrapper", "ModulesToSaveWrapper"),
}


def _adds(module: nn.Module, name: str) -> bool:
    """Tell whether a module is a wrapper that adds this name to what it wraps."""
    if name in _ALWAYS:
        return True
    classes = _WITHIN.get(name, ())
    return bool(classes) and any(kind.__name__ in classes for kind in type(module).__mro__)


def the_model(model: nn.Module) -> nn.Module:
    """Return the model itself, out of whatever wraps all of it.

    >>> from torch import nn
    >>> model = nn.Linear(2, 2)
    >>> the_model(nn.DataParallel(model)) is model
    True
    """
    while True:
        inner = next((child for name, child in model.named_children() if _adds(model, name)), None)
        if inner is None:
            return model
        model = inner


def plain_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield all modules with their dotted names, the model itself with an empty one; what wrappers add is left out of the names.

    A module that stands in two places comes with both names.
    """
    yield from _walk(model, "", ())


def _walk(module: nn.Module, name: str, above: tuple[nn.Module, ...]) -> Iterator[tuple[str, nn.Module]]:
    yield name, module
    for child_name, child in module._modules.items():  # unlike named_children, with both names of a child that has two
        if child is None or child in above:
            continue
        if not _adds(module, child_name):
            yield from _walk(child, f"{name}.{child_name}" if name else child_name, (*above, module))
        elif child_name == "modules_to_save":  # PEFT: one copy per adapter, whose name is no part of the model's
            for copy in child.children():
                yield from _walk(copy, name, (*above, module))
        else:
            yield from _walk(child, name, (*above, module))


def named_parts(model: nn.Module) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """Yield all modules and parameters below a model with their dotted names; see :func:`plain_modules`."""
    for name, module in plain_modules(model):
        if name:
            yield name, module
        for own, parameter in module.named_parameters(recurse=False):
            yield f"{name}.{own}" if name else own, parameter


def matching(model: nn.Module, pattern: str, modality: str) -> list[nn.Module | nn.Parameter]:
    """Return the modules and parameters whose dotted name a pattern matches.

    >>> from torch import nn
    >>> model = nn.ModuleDict({"audio": nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "image": nn.Linear(2, 2)})
    >>> matching(model, "audio.*", "audio")
    [Linear(in_features=2, out_features=2, bias=True), Parameter containing: ..., Parameter containing: ..., ReLU()]

    :param pattern: wildcards are those of :mod:`fnmatch`; ``*`` crosses dots.
    :param modality: whose pattern it is, for the error.
    :raises InputError: for a pattern that matches nothing, with the nearest name.
    """
    parts = dict.fromkeys(part for name, part in named_parts(model) if fnmatchcase(name, pattern))
    if parts:
        return list(parts)
    names = [name for name, _ in plain_modules(model) if name]
    close = difflib.get_close_matches(pattern, names, n=1)
    top = dict.fromkeys(name.partition(".")[0] for name in names)
    raise InputError(
        f"modality {modality!r}: nothing in {type(the_model(model)).__name__} is named {pattern!r}: {nearest(pattern, close or top)}"
    )


def resolved(model: nn.Module, part: Any, modality: str) -> Any:
    """Return what is given for a modality with every pattern replaced by the modules and parameters that it matches.

    :raises InputError: as :func:`matching` does.
    """
    if isinstance(part, str):
        return matching(model, part, modality)
    if isinstance(part, Mapping):
        return {role: resolved(model, item, modality) for role, item in part.items()}
    if isinstance(part, Iterable) and not isinstance(part, (nn.Module, Tensor, bytes)):
        return [resolved(model, item, modality) for item in part]
    return part
