"""Optimizer parameter groups tagged with their modality: which parameters belong to whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from equimodal._multipliers import (
    MODALITY_KEY,
    MULTIPLIER_KEY,
    LearningRateMultipliers,
    effective_rates,
    tagged_modalities,
    the_optimizer,
)
from equimodal._names import resolved, the_model
from equimodal._regroup import regroup
from equimodal.errors import InputError, nearest
from equimodal.scores import MULTIMODAL

__all__ = [
    "MODALITY_KEY",
    "MULTIPLIER_KEY",
    "LearningRateMultipliers",
    "ParameterRegistry",
    "effective_rates",
    "leaves",
    "modality_groups",
    "modality_modules",
    "parameter_owners",
    "regroup",
    "tagged_modalities",
    "the_optimizer",
]

Part = nn.Module | nn.Parameter | str | Iterable["Part"]


def leaves(part: Any, modality: str) -> Iterator[nn.Module | nn.Parameter]:
    """Yield the modules and parameters that are given for a modality, through mappings and lists.

    :raises InputError: for anything else in them.
    """
    if isinstance(part, (nn.Module, nn.Parameter)):
        yield part
    elif isinstance(part, Mapping):
        for item in part.values():
            yield from leaves(item, modality)
    elif isinstance(part, Iterable) and not isinstance(part, (str, bytes, Tensor)):
        for item in part:
            yield from leaves(item, modality)
    else:
        raise InputError(
            f"modality {modality!r} is given {type(part).__name__} {part!r}: give modules, parameters, names, or lists of them"
        )


def _parameters(part: Any, modality: str) -> Iterator[nn.Parameter]:
    for leaf in leaves(part, modality):
        if isinstance(leaf, nn.Module):
            yield from leaf.parameters()
        else:
            yield leaf


def parameter_owners(model: nn.Module, modalities: Mapping[str, Part]) -> dict[nn.Parameter, str]:
    """Return the modality of every parameter that belongs to one.

    :param model: the whole model.
    :param modalities: as for :func:`modality_groups`.
    :raises InputError: as :func:`modality_groups` does.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    owners: dict[nn.Parameter, str] = {}
    for modality, part in modalities.items():
        if modality == MULTIMODAL:
            raise InputError(f"{MULTIMODAL!r} is what belongs to no single modality: leave it out, and it counts as such")
        found = list(dict.fromkeys(_parameters(resolved(model, part, modality), modality)))
        if not found:
            raise InputError(f"modality {modality!r} has no parameters: give the modules that process it")
        for parameter in found:
            if parameter not in names:
                raise InputError(f"modality {modality!r} has a parameter of shape {tuple(parameter.shape)} that is not part of the model")
            if parameter in owners:
                raise InputError(
                    f"parameter {names[parameter]!r} belongs to both {owners[parameter]!r} and {modality!r}: "
                    f"narrow the pattern, or leave shared parameters out, and they count as {MULTIMODAL!r}"
                )
            owners[parameter] = modality
    return owners


def modality_modules(model: nn.Module) -> dict[str, Any]:
    """Return the modules that a model names for each of its modalities by its method ``modality_modules``; empty where it names none.

    Wrappers are looked through: ``DistributedDataParallel``, ``torch.compile``, PEFT. The model may give name patterns in place of modules,
    as :func:`modality_groups` takes them.

    >>> model = nn.ModuleDict({"audio": nn.Linear(4, 2), "audio_head": nn.Linear(2, 3)})
    >>> model.modality_modules = lambda: {"audio": {"encoder": model["audio"], "head": "audio_head"}}
    >>> modality_modules(nn.DataParallel(model))["audio"]["head"]
    [Linear(in_features=2, out_features=3, bias=True)]

    :raises InputError: for a pattern that matches nothing.
    """
    inner = the_model(model)
    name_them = getattr(inner, "modality_modules", None)
    return {modality: resolved(inner, part, modality) for modality, part in name_them().items()} if callable(name_them) else {}


def modality_groups(
    model: nn.Module,
    modalities: Mapping[str, Part] | None = None,
    *,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    no_decay: bool = False,
    trainable_only: bool = False,
    **options: Any,
) -> list[dict[str, Any]]:
    """Return optimizer parameter groups, each tagged with its modality under ``group["modality"]``.

    Every parameter of the model stands in exactly one group: those of the named modules under their modality, what is left over under
    ``"multimodal"``. Frozen parameters are kept, so that they may be unfrozen later: optimizers pass over what has no gradient.

    >>> import torch
    >>> model = nn.ModuleDict({"audio": nn.Linear(4, 2), "image": nn.Linear(8, 2), "fusion": nn.Linear(4, 3)})
    >>> groups = modality_groups(model, {"audio": model["audio"], "image": model["image"]}, lr=0.1, overrides={"audio": {"lr": 0.01}})
    >>> [(group["modality"], group["lr"]) for group in groups]
    [('multimodal', 0.1), ('audio', 0.01), ('image', 0.1)]
    >>> optimizer = torch.optim.SGD(groups)

    Parts may be named instead. A pattern takes a parameter when it matches its dotted name, or that of a module which holds it. Wildcards
    are those of :mod:`fnmatch`, and ``*`` crosses dots: ``"text_model"`` and ``"text_model.*"`` take all of the text model,
    ``"*.vision_*"`` every ``vision_…`` below the first level.

    >>> groups = modality_groups(model, {"audio": "audio", "image": ["im*.weight", "image.bias"]}, lr=0.1)
    >>> [(group["modality"], [name for name, _ in group["params"]]) for group in groups][2]
    ('image', ['image.weight', 'image.bias'])

    Names are those of the model itself: what ``DistributedDataParallel`` (``module``), ``torch.compile`` (``_orig_mod``),
    ``FullyShardedDataParallel`` (``_fsdp_wrapped_module``), Fabric and PEFT (``base_model.model``, ``base_layer``, ``modules_to_save``)
    put between is left out, so that the same patterns serve the plain and the wrapped model. Adapters of PEFT belong to the module that
    they adapt.

    :param model: the whole model, wrapped or not.
    :param modalities: by modality, its modules, parameters or name patterns (one, or a list). Which of them are encoders and which heads
        makes no difference here. By default what ``model.modality_modules()`` says, as for :class:`equimodal.nn.JointFusion`.
    :param overrides: by modality (or ``"multimodal"``), options of its groups that differ from the rest, such as ``{"audio": {"lr":
        1e-4}}``.
    :param no_decay: split every group in two, the second with ``weight_decay=0`` for parameters of fewer than two dimensions (biases and
        normalisation), as is usual with AdamW.
    :param trainable_only: leave out what is frozen now (``requires_grad=False``), which the optimizer then does not hold: for PEFT, where
        little is trained. By default it is kept.
    :param options: options of all groups, such as ``lr`` and ``weight_decay``.
    :returns: a list for any ``torch.optim`` optimizer; the multimodal group comes first where there is one. Parameters carry their names,
        so that optimizers keep them in ``group["param_names"]``.
    :raises InputError: for an overlap between two modalities (a shared parameter too), a modality without parameters, or without any to
        train under ``trainable_only``, a parameter from outside the model, a pattern that matches nothing, or an override for an unknown
        modality or without names.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is a {type(model).__name__}: give the torch.nn.Module whose parameters are to be grouped")
    if modalities is None:
        modalities = _named_by_itself(model)
    if not hasattr(modalities, "items"):
        raise InputError(f"modalities are given as {modalities!r}: give a mapping, such as {{'audio': 'audio_encoder'}}")
    owners = parameter_owners(model, modalities)
    known = (MULTIMODAL, *modalities)
    overrides = overrides or {}
    _check_overrides(overrides, known)
    members: dict[str, list[tuple[str, nn.Parameter]]] = {name: [] for name in known}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or not trainable_only:
            members[owners.get(parameter, MULTIMODAL)].append((name, parameter))
    frozen = next((modality for modality in modalities if not members[modality]), None)
    if frozen is not None:
        raise InputError(f"all parameters of modality {frozen!r} are frozen: unfreeze some, or leave the modality out")
    groups = []
    for modality in known:
        settings = {**options, **overrides.get(modality, {})}
        splits = [(members[modality], settings)]
        if no_decay:
            matrices = [(name, parameter) for name, parameter in members[modality] if parameter.dim() >= 2]
            vectors = [(name, parameter) for name, parameter in members[modality] if parameter.dim() < 2]
            splits = [(matrices, settings), (vectors, {**settings, "weight_decay": 0.0})]
        groups += [{"params": named, MODALITY_KEY: modality, **chosen} for named, chosen in splits if named]
    return groups


def _check_overrides(overrides: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name, options in overrides.items():
        if name not in known:
            raise InputError(f"override for unknown modality {name!r}: {nearest(name, known)}")
        if not isinstance(options, Mapping):
            raise InputError(f"override for {name!r} is {options!r}: give options by name, such as {{'lr': 1e-4}}")


def _named_by_itself(model: nn.Module) -> dict[str, Any]:
    modalities = modality_modules(model)
    if not modalities:
        raise InputError(
            f"{type(the_model(model)).__name__} does not name its modalities in modality_modules(): pass names of modules, patterns or "
            f"modules, such as {{'audio': 'audio_*', 'image': model.vision}}{_named_by_a_part(model)}"
        )
    return modalities


class ParameterRegistry:
    """Which parameters belong to which modality, and in which role.

    >>> model = nn.ModuleDict({"audio": nn.Linear(4, 2), "head": nn.Linear(2, 3)})
    >>> registry = ParameterRegistry({"audio": {"encoder": model["audio"], "head": model["head"]}})
    >>> [tuple(parameter.shape) for parameter in registry.of("audio", "encoder")]
    [(2, 4), (2,)]

    :param modules: by modality and role (``"encoder"``, ``"head"``), the module; or a model, wrapped or not, that says so in
        ``modality_modules()``, as :class:`equimodal.nn.JointFusion` does. Modules that are given without roles count as encoders.
    :param model: the model that name patterns in ``modules`` are matched against; see :func:`modality_groups`.
    :raises InputError: for what names no module or parameter.
    """

    def __init__(self, modules: nn.Module | Mapping[str, Any], model: nn.Module | None = None) -> None:
        if isinstance(modules, nn.Module) and type(modules) is not nn.ModuleDict:  # a model may be made from one
            modules = modality_modules(modules)
        if model is not None:
            modules = {modality: resolved(model, parts, modality) for modality, parts in modules.items()}
        self._parameters: dict[str, dict[str, list[nn.Parameter]]] = {}
        for modality, parts in modules.items():
            roles = parts if isinstance(parts, Mapping) else {"encoder": parts}
            self._parameters[modality] = {role: list(dict.fromkeys(_parameters(part, modality))) for role, part in roles.items()}

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in the model's order."""
        return tuple(self._parameters)

    def of(self, modality: str, role: str = "encoder") -> list[nn.Parameter]:
        """Return the parameters of a modality in a role; none where the model has no such part."""
        return self._parameters[modality].get(role, [])


def _named_by_a_part(model: nn.Module) -> str:
    """Return a hint where a part of a model names the modalities that the model does not."""
    parts = [name for name, child in the_model(model).named_children() if modality_modules(child)]
    return f"; its part {parts[0]!r} names them: pass model.{parts[0]}.modality_modules()" if parts else ""
