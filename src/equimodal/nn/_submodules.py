"""Submodules and parameters of a model by their dotted names."""

from __future__ import annotations

from typing import Any

from torch import nn

from equimodal._names import matching, named_parts, plain_modules, the_model
from equimodal.errors import InputError, nearest
from equimodal.groups import leaves

__all__ = ["part_names", "submodule_path"]


def submodule_path(model: nn.Module, part: Any, modality: str) -> str:
    """Return the dotted name of a submodule, that of ``get_submodule``."""
    if isinstance(part, nn.Module):
        for path, module in model.named_modules():
            if module is part and path:
                return str(path)
        raise InputError(
            f"the {type(part).__name__} of {modality!r} is no submodule of {type(model).__name__}: give one, or its dotted name"
        )
    if not isinstance(part, str):
        raise InputError(f"modality {modality!r} is given {part!r}: give a submodule of the model, or its dotted name")
    inner: dict[str, nn.Module] = {name: module for name, module in plain_modules(model) if name}  # of two, the one further in
    if part not in inner:
        known = nearest(part, inner)
        if not known.startswith("did"):
            known = nearest(part, dict.fromkeys(name.partition(".")[0] for name in inner))
        raise InputError(f"modality {modality!r}: {type(the_model(model)).__name__} has no submodule {part!r}: {known}")
    outermost = next(module for name, module in plain_modules(model) if name == part)
    return next(str(path) for path, module in model.named_modules() if module is outermost)


def part_names(model: nn.Module, parts: Any, modality: str) -> list[str]:
    """Return the dotted names of what belongs to a modality beside its submodule; names, because they outlive copies."""
    if isinstance(parts, str):
        return part_names(model, matching(model, parts, modality), modality)
    found: list[nn.Module | nn.Parameter] = []
    for part in parts if isinstance(parts, (list, tuple)) else [parts]:
        found += matching(model, part, modality) if isinstance(part, str) else list(leaves(part, modality))
    names: list[str] = []
    known = {id(part): name for name, part in named_parts(model)}
    for part in dict.fromkeys(found):
        if id(part) not in known:
            raise InputError(f"encoders: a {type(part).__name__} of {modality!r} is no part of {type(model).__name__}")
        names.append(known[id(part)])
    return names
